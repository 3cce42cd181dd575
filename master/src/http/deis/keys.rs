//! SSH keys: who may push to repositories of apps.

use super::Api;
use super::body::Fields;
use super::callers::{ByUser, OfUser};
use super::error::DeisError;
use super::pages::{List, Page};
use super::shapes::keys::KeyView;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use clusterrunner_common::ids::UserId;
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::command::AccountCommand;
use clusterrunner_core::accounts::ssh_keys::NewSshKey;
use clusterrunner_core::actor::Actor;
use std::sync::Arc;

/// The most characters that are looked at; the core knows what a key may have.
const LONGEST: usize = 64 << 10;

/// The caller's keys.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    OfUser(user): OfUser,
    page: Page,
) -> Result<Json<List<KeyView>>, DeisError> {
    let look = move |cluster: &Cluster| {
        let keys = cluster.accounts().keys_of(user).into_iter();
        let keys: Vec<_> = keys.collect();
        page.map_all(&keys, |key| KeyView::of(cluster, key))
    };
    Ok(Json(api.cluster.read(look).await??))
}

/// Adds a key.
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    ByUser(user): ByUser,
    fields: Fields,
) -> Result<(StatusCode, Json<KeyView>), DeisError> {
    fields.require(&["id", "public"])?;
    let id = fields.required("id", LONGEST)?;
    let public = fields.required("public", LONGEST)?.trim().to_owned();
    let key = Box::new(NewSshKey {
        id: id.clone(),
        public,
    });
    let add = AccountCommand::AddKey { user, key };
    api.accounts.tell(Actor::User(user), add).await?;
    Ok((StatusCode::CREATED, shown(&api, user, id).await?))
}

/// One key.
pub(super) async fn key(
    State(api): State<Arc<Api>>,
    OfUser(user): OfUser,
    Path(id): Path<String>,
) -> Result<Json<KeyView>, DeisError> {
    shown(&api, user, id).await
}

/// Removes a key.
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    ByUser(user): ByUser,
    Path(id): Path<String>,
) -> Result<StatusCode, DeisError> {
    let remove = AccountCommand::RemoveKey { user, id };
    api.accounts.tell(Actor::User(user), remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn shown(api: &Api, user: UserId, id: String) -> Result<Json<KeyView>, DeisError> {
    let look = move |cluster: &Cluster| {
        let key = cluster.accounts().key_named(user, &id)?;
        Some(KeyView::of(cluster, key))
    };
    let view = api.cluster.read(look).await?;
    view.map(Json).ok_or(DeisError::NotFound)
}
