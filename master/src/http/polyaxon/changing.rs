//! Describing builds, and deleting them.

use super::Api;
use super::body::Body;
use super::builds::shown;
use super::error::PolyaxonError;
use super::granted::{GrantedBuild, Owning, Using};
use super::said;
use super::shapes::builds::BuildView;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::details::NewDetails;
use clusterrunner_core::command::Command;
use std::sync::Arc;

/// Says something else of a build. What is not given stays.
pub(super) async fn describe(
    State(api): State<Arc<Api>>,
    granted: GrantedBuild<Using>,
    Body(fields): Body,
) -> Result<Json<BuildView>, PolyaxonError> {
    let details = NewDetails {
        name: said::text(&fields, "name")?,
        description: said::text(&fields, "description")?,
        tags: said::tags(&fields)?,
    };
    let command = Command::DescribeBuild {
        by: Actor::User(granted.of.caller.id),
        build: granted.build,
        details,
        merge: said::merge(&fields)?,
    };
    api.cluster.command(command).await?;
    Ok(Json(shown(&api, &granted).await?))
}

/// Deletes a build with all that is of it. One that runs is stopped first.
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    granted: GrantedBuild<Owning>,
) -> Result<StatusCode, PolyaxonError> {
    let by = Actor::User(granted.of.caller.id);
    let build = granted.build;
    api.cluster
        .command(Command::DeleteBuild { by, build })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
