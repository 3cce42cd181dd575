//! Waiting until what was asked for has come about.

use super::Api;
use crate::coordinator::Gone;
use crate::read::settling;
use clusterrunner_common::ids::ProjectId;

/// Waits until an app has settled, or as long as requests wait. What has not settled by then is seen in the list of
/// containers.
pub(super) async fn settled(api: &Api, project: ProjectId) -> Result<(), Gone> {
    settling::settled((&api.cluster, &api.feed), api.apps.deploy_wait, project).await
}
