//! Looks at a build wherever it is: in the cluster, or put away.

use super::error::ApiError;
use crate::core::Cluster;
use crate::core::builds::build::{Build, Subjob};
use crate::core::command::Refusal;
use crate::http::clusterrunner::Api;
use crate::journal::EndedBuild;
use clusterrunner_common::ids::{BuildId, SubjobId};

/// What `look` sees of a build, `None` if it is put away.
pub(super) async fn live<T: Send + 'static>(
    api: &Api,
    id: BuildId,
    look: impl FnOnce(&Cluster, &Build) -> Result<T, ApiError> + Send + 'static,
) -> Result<Option<T>, ApiError> {
    let found = api.cluster.read(move |cluster| match cluster.build(id) {
        Some(build) => look(cluster, build).map(Some),
        None if cluster.is_ended(id) => Ok(None),
        None if cluster.is_forgotten(id) => Err(Refusal::ForgottenBuild(id).into()),
        None => Err(Refusal::UnknownBuild(id).into()),
    });
    found.await?
}

/// A build that is put away.
pub(super) async fn ended(api: &Api, id: BuildId) -> Result<EndedBuild, ApiError> {
    let found = api.ended.build(id).await?;
    // It went after the look at the cluster.
    Ok(found.ok_or(Refusal::ForgottenBuild(id))?)
}

/// A subjob of a build that is put away.
pub(super) async fn ended_subjob(
    api: &Api,
    id: BuildId,
    subjob: SubjobId,
) -> Result<(EndedBuild, Subjob), ApiError> {
    let number = subjob.0 as usize;
    let wanted = move |length: usize| number.min(length)..(number + 1).min(length);
    let found = api.ended.subjobs(id, wanted).await?;
    let (build, mut subjobs) = found.ok_or(Refusal::ForgottenBuild(id))?;
    let (_, found) = subjobs.pop().ok_or(Refusal::UnknownSubjob(subjob))?;
    Ok((build, found))
}
