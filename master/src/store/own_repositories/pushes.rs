//! What pushes do with a repository beside what git does.

use super::{OwnCodeError, OwnRepositories, Writer};
use clusterrunner_common::disk::beneath::remove_all;
use clusterrunner_common::git::{CodeError, CommitId, OwnRepository};
use clusterrunner_common::ids::ProjectId;
use std::io;
use std::path::PathBuf;
use tokio::task::spawn_blocking;

impl OwnRepositories {
    /// Makes the repository of a project where it is not there, and says where it is. `has_code`: the journal knows of a
    /// commit. Where it knows of none, branches are left of a project whose journal was lost: they are not this
    /// project's, and go.
    ///
    /// # Errors
    /// See [`OwnCodeError`].
    pub async fn ready_for_git(
        &self,
        writer: &Writer,
        has_code: bool,
    ) -> Result<PathBuf, OwnCodeError> {
        let directory = self.directory_of(writer.project);
        self.done_in(writer.project, move |repository| {
            if !has_code && directory.exists() && !repository.is_empty()? {
                tracing::warn!(
                    directory = %directory.display(),
                    "a repository has branches of a project that is not known any more; it begins anew"
                );
                remove_all(&directory)?;
            }
            repository.make()?;
            Ok(directory)
        })
        .await
    }

    /// How many refs a project's repository has.
    ///
    /// # Errors
    /// See [`OwnCodeError`].
    pub async fn number_of_refs(&self, project: ProjectId) -> Result<u64, OwnCodeError> {
        self.done_in(project, |repository| Ok(repository.number_of_refs()?))
            .await
    }

    /// Makes a branch the one that clones check out.
    ///
    /// # Errors
    /// See [`OwnCodeError`].
    pub async fn show_first(&self, writer: &Writer, branch: String) -> Result<(), OwnCodeError> {
        self.done_in(writer.project, move |repository| {
            Ok(repository.show_first(&branch)?)
        })
        .await
    }

    /// The push of a commit is over.
    ///
    /// # Errors
    /// See [`OwnCodeError`].
    pub async fn end_push(&self, writer: &Writer, commit: CommitId) -> Result<(), OwnCodeError> {
        self.done_in(writer.project, move |repository| {
            Ok(repository.end_push(&commit)?)
        })
        .await
    }

    pub(super) async fn done_in<T: Send + 'static>(
        &self,
        project: ProjectId,
        work: impl FnOnce(OwnRepository) -> Result<T, OwnCodeError> + Send + 'static,
    ) -> Result<T, OwnCodeError> {
        let repository = OwnRepository::at(self.directory_of(project));
        let done = spawn_blocking(move || work(repository)).await;
        done.map_err(io::Error::other)?
    }
}

impl From<CodeError> for OwnCodeError {
    fn from(error: CodeError) -> Self {
        Self::Failed(error.to_string())
    }
}
