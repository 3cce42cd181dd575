//! What a separate program that receives pushes, such as the builder of the original, tells the master. The program shows
//! a key of its own and names the user that pushes.

use super::Api;
use super::body::Fields;
use super::builds::new_build;
use super::error::DeisError;
use super::granted::released;
use super::hosts::Hosts;
use super::settling::settled;
use super::shapes::apps::ConfigView;
use super::times;
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{ProjectId, UserId};
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Caller, Subject, UserCaller, access};
use clusterrunner_core::accounts::users::Role;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::apps::command::AppCommand;
use clusterrunner_core::command::Command;
use serde_json::{Value, json};
use std::sync::Arc;

/// The header with the key.
pub(super) const BUILDER_HEADER: &str = "x-deis-builder-auth";

/// Where these routes are.
pub(super) const HOOKS: &str = "/v1/hooks/";

/// The most characters that are looked at.
const LONGEST: usize = 4096;

/// The program that shows its key. Only the gate says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Builder;

impl FromRequestParts<Arc<Api>> for Builder {
    type Rejection = DeisError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, DeisError> {
        let builder = parts.extensions.get().copied();
        builder.ok_or(DeisError::Forbidden)
    }
}

/// A user that pushes to an app, and may.
struct Pusher {
    user: UserId,
    name: String,
    project: ProjectId,
    id: String,
}

impl Pusher {
    async fn of(api: &Api, fields: &Fields) -> Result<Self, DeisError> {
        fields.require(&["receive_user", "receive_repo"])?;
        let name = fields.required("receive_user", LONGEST)?;
        let id = fields.required("receive_repo", LONGEST)?;
        let look = move |cluster: &Cluster| {
            let app = cluster.app_of_id(&id).ok_or(DeisError::NotFound)?;
            let user = cluster.accounts().named(&name);
            let user = user.filter(|user| !user.is_deactivated);
            let user = user.ok_or(DeisError::NotFound)?;
            let caller = Caller::User(UserCaller {
                id: user.id,
                is_superuser: user.is_superuser,
                role: Role::Admin,
            });
            let project = cluster.project(app.project).ok_or(DeisError::NotFound)?;
            match access(caller, Subject::App(project), true) >= Access::Use {
                true => Ok(Self {
                    user: user.id,
                    name: user.name.clone(),
                    project: app.project,
                    id: app.id.clone(),
                }),
                false => Err(DeisError::Forbidden),
            }
        };
        api.cluster.read(look).await?
    }
}

/// A push begins. What is told of it is told back; what becomes of it, the build says.
pub(super) async fn push(
    State(api): State<Arc<Api>>,
    _: Builder,
    fields: Fields,
) -> Result<(StatusCode, Json<Value>), DeisError> {
    let pusher = Pusher::of(&api, &fields).await?;
    let text = |name: &str| {
        let text = fields.text(name, LONGEST);
        text.map(Option::unwrap_or_default)
    };
    let now = times::shown(Timestamp::now());
    tracing::info!(
        user.id = pusher.user.0,
        project.id = pusher.project.0,
        "a user pushes"
    );
    let told = json!({
        "owner": pusher.name,
        "app": pusher.id,
        "sha": text("sha")?,
        "fingerprint": text("fingerprint")?,
        "receive_user": pusher.name,
        "receive_repo": pusher.id,
        "ssh_connection": text("ssh_connection")?,
        "ssh_original_command": text("ssh_original_command")?,
        "created": now,
        "updated": now,
    });
    Ok((StatusCode::CREATED, Json(told)))
}

/// The config that the build of a push may use.
pub(super) async fn config(
    State(api): State<Arc<Api>>,
    _: Builder,
    fields: Fields,
) -> Result<Json<ConfigView>, DeisError> {
    let pusher = Pusher::of(&api, &fields).await?;
    let look = move |cluster: &Cluster| {
        let app = cluster.app(pusher.project)?;
        Some(ConfigView::of(cluster, app, app.config_of(app.newest())))
    };
    let view = api.cluster.read(look).await?;
    view.map(Json).ok_or(DeisError::NotFound)
}

/// What was pushed is built, and is deployed.
pub(super) async fn build(
    State(api): State<Arc<Api>>,
    _: Builder,
    hosts: Hosts,
    fields: Fields,
) -> Result<Json<Value>, DeisError> {
    let pusher = Pusher::of(&api, &fields).await?;
    let build = Box::new(new_build(&fields)?);
    let command = AppCommand::Build {
        project: pusher.project,
        build,
    };
    let by = Actor::User(pusher.user);
    let events = api.cluster.command(Command::App { by, command }).await?;
    let facts: Vec<_> = events.into_iter().map(|event| event.fact).collect();
    let version = released(&facts)?;
    settled(&api, pusher.project).await?;
    Ok(Json(json!({
        "release": {"version": version},
        "domains": [hosts.of_app(&pusher.id)],
    })))
}
