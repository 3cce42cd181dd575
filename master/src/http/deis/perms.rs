//! Who works on an app beside its owner.

use super::Api;
use super::admin::named;
use super::auth::user_name;
use super::body::Fields;
use super::error::DeisError;
use super::granted::{ChoosingUsers, Granted, SeeingUsers};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::command::ProjectCommand;
use clusterrunner_core::command::Command;
use serde_json::{Value, json};
use std::sync::Arc;

/// The names of the collaborators.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    granted: Granted<SeeingUsers>,
) -> Result<Json<Value>, DeisError> {
    let look = move |cluster: &Cluster| {
        let project = cluster.project(granted.project)?;
        let users = project.collaborators.iter();
        let users = users.filter_map(|id| cluster.accounts().user(*id));
        let names: Vec<&str> = users.map(|user| user.name.as_str()).collect();
        Some(json!({"users": names}))
    };
    let users = api.cluster.read(look).await?;
    users.map(Json).ok_or(DeisError::NotFound)
}

/// Lets a user do all with an app but delete it and choose who works on it.
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    granted: Granted<ChoosingUsers>,
    fields: Fields,
) -> Result<StatusCode, DeisError> {
    let project = granted.project;
    let user = named(&api, user_name(&fields)?).await?;
    let command = ProjectCommand::AddCollaborator { project, user };
    let by = granted.asking.actor();
    api.cluster
        .command(Command::Project { by, command })
        .await?;
    Ok(StatusCode::CREATED)
}

/// Lets a user do no more with an app than strangers.
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    granted: Granted<ChoosingUsers>,
    Path((_, name)): Path<(String, String)>,
) -> Result<StatusCode, DeisError> {
    let project = granted.project;
    let user = named(&api, name).await;
    let user = user.map_err(|error| match error {
        DeisError::NotFound => DeisError::SilentlyNotFound,
        error => error,
    })?;
    let command = ProjectCommand::RemoveCollaborator { project, user };
    let by = granted.asking.actor();
    let events = api
        .cluster
        .command(Command::Project { by, command })
        .await?;
    match events.is_empty() {
        true => Err(DeisError::SilentlyNotFound),
        false => Ok(StatusCode::NO_CONTENT),
    }
}
