//! Builds wherever they are: in the cluster, or archived.

use crate::coordinator::{ClusterHandle, Gone};
use crate::journal::{EndedBuild, EndedBuilds, JournalError};
use clusterrunner_common::ids::{BuildId, SubjobId};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::subjob::Subjob;
use clusterrunner_core::refusal::Refusal;
use std::ops::Range;

/// The builds of the farm. Clones share them.
#[derive(Clone, Debug)]
pub struct Builds {
    /// The way to those that are not archived.
    pub cluster: ClusterHandle,
    /// Those that are.
    pub archived: EndedBuilds,
}

/// Why a build can not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such build, or no such subjob of it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The master is going down.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// It is archived, and its record can not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Builds {
    /// What `look` sees of a build; `None` if it is archived.
    ///
    /// # Errors
    /// There is no such build, or `look` fails.
    pub async fn live<T, E>(
        &self,
        id: BuildId,
        look: impl FnOnce(&Cluster, &Build) -> Result<T, E> + Send + 'static,
    ) -> Result<Option<T>, E>
    where
        T: Send + 'static,
        E: From<ReadError> + Send + 'static,
    {
        let found = self.cluster.read(move |cluster| match cluster.build(id) {
            _ if cluster.is_deleted(id) => Err(ReadError::from(Refusal::ForgottenBuild(id)).into()),
            Some(build) => look(cluster, build).map(Some),
            None if cluster.is_ended(id) => Ok(None),
            None if cluster.is_forgotten(id) => {
                Err(ReadError::from(Refusal::ForgottenBuild(id)).into())
            }
            None => Err(ReadError::from(Refusal::UnknownBuild(id)).into()),
        });
        found.await.map_err(ReadError::from)?
    }

    /// Whether there is such a build.
    ///
    /// # Errors
    /// There is no such build.
    pub async fn check(&self, id: BuildId) -> Result<(), ReadError> {
        self.live(id, |_, _| Ok::<_, ReadError>(())).await?;
        Ok(())
    }

    /// A build that is archived.
    ///
    /// # Errors
    /// It was forgotten meanwhile, or its record can not be read.
    pub async fn archived(&self, id: BuildId) -> Result<EndedBuild, ReadError> {
        let found = self.archived.build(id).await?;
        Ok(found.ok_or(Refusal::ForgottenBuild(id))?)
    }

    /// What one of the two sees of a build, wherever it is.
    ///
    /// # Errors
    /// There is no such build, or its record can not be read.
    pub async fn seen<T: Send + 'static>(
        &self,
        id: BuildId,
        of_live: impl FnOnce(&Cluster, &Build) -> T + Send + 'static,
        of_archived: impl FnOnce(&EndedBuild) -> T,
    ) -> Result<T, ReadError> {
        let look =
            move |cluster: &Cluster, build: &Build| Ok::<_, ReadError>(of_live(cluster, build));
        match self.live(id, look).await? {
            Some(seen) => Ok(seen),
            None => Ok(of_archived(&self.archived(id).await?)),
        }
    }

    /// A build that is archived, with some of its subjobs: those with the numbers that are chosen by how many there are.
    ///
    /// # Errors
    /// As [`Builds::archived`].
    pub async fn archived_subjobs(
        &self,
        id: BuildId,
        numbers: impl FnOnce(usize) -> Range<usize> + Send + 'static,
    ) -> Result<(EndedBuild, Vec<(SubjobId, Subjob)>), ReadError> {
        let found = self.archived.subjobs(id, numbers).await?;
        Ok(found.ok_or(Refusal::ForgottenBuild(id))?)
    }

    /// A subjob of a build that is archived.
    ///
    /// # Errors
    /// As [`Builds::archived`], or there is no such subjob.
    pub async fn archived_subjob(
        &self,
        id: BuildId,
        subjob: SubjobId,
    ) -> Result<(EndedBuild, Subjob), ReadError> {
        let number = subjob.0 as usize;
        let wanted = move |length: usize| number.min(length)..(number + 1).min(length);
        let (build, mut subjobs) = self.archived_subjobs(id, wanted).await?;
        let (_, found) = subjobs.pop().ok_or(Refusal::UnknownSubjob(subjob))?;
        Ok((build, found))
    }
}
