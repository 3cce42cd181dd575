//! Superusers: who they are, who becomes one and who is one no more.

use super::Api;
use super::auth::user_name;
use super::body::Fields;
use super::callers::Superuser;
use super::error::DeisError;
use super::pages::{List, Page};
use super::shapes::users::SuperuserView;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use clusterrunner_common::ids::UserId;
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::command::{AccountCommand, UserOrder};
use clusterrunner_core::actor::Actor;
use std::sync::Arc;

/// All superusers.
pub(super) async fn superusers(
    State(api): State<Arc<Api>>,
    _: Superuser,
    page: Page,
) -> Result<Json<List<SuperuserView>>, DeisError> {
    let look = move |cluster: &Cluster| {
        let users = cluster.accounts().users();
        let superusers: Vec<_> = users.filter(|user| user.is_superuser).collect();
        page.map_all(&superusers, |user| SuperuserView::of(user))
    };
    Ok(Json(api.cluster.read(look).await??))
}

/// Makes a user a superuser.
pub(super) async fn grant(
    State(api): State<Arc<Api>>,
    Superuser(by): Superuser,
    fields: Fields,
) -> Result<StatusCode, DeisError> {
    change(&api, by, user_name(&fields)?, true).await?;
    Ok(StatusCode::CREATED)
}

/// Makes a superuser a user like others.
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    Superuser(by): Superuser,
    Path(name): Path<String>,
) -> Result<StatusCode, DeisError> {
    change(&api, by, name, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn change(api: &Api, by: Actor, name: String, is_superuser: bool) -> Result<(), DeisError> {
    let user = named(api, name).await?;
    let order = Box::new(UserOrder {
        is_superuser: Some(is_superuser),
        ..UserOrder::default()
    });
    let change = AccountCommand::Change { user, order };
    api.accounts.tell(by, change).await?;
    Ok(())
}

/// The user with a name.
pub(super) async fn named(api: &Api, name: String) -> Result<UserId, DeisError> {
    let look = move |cluster: &Cluster| Some(cluster.accounts().named(&name)?.id);
    api.cluster.read(look).await?.ok_or(DeisError::NotFound)
}
