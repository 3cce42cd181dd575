//! Stopping a build.

use super::Api;
use super::error::PolyaxonError;
use super::granted::{GrantedBuild, Using};
use axum::extract::State;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use std::sync::Arc;

/// Ends a build; one that is over stays as it is.
pub(super) async fn stop(
    State(api): State<Arc<Api>>,
    build: GrantedBuild<Using>,
) -> Result<(), PolyaxonError> {
    let by = Actor::User(build.of.caller.id);
    let build = build.build;
    api.cluster
        .command(Command::CancelBuild { by, build })
        .await?;
    Ok(())
}
