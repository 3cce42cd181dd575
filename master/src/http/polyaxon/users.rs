//! Users: logging in, and what superusers do about others.

use super::Api;
use super::body::{Body, Fields};
use super::error::PolyaxonError;
use super::granted::Asking;
use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use clusterrunner_common::http::peer::Peer;
use clusterrunner_common::ids::UserId;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use clusterrunner_core::accounts::command::{AccountCommand, UserOrder};
use clusterrunner_core::actor::Actor;
use serde_json::{Value, json};
use std::sync::Arc;

/// The most characters of a name or a password that is looked at; longer ones are wrong anyway.
const LONGEST: usize = 4096;

/// A user that the path names, for a superuser that asks.
#[derive(Debug)]
pub(super) struct OfSuperuser {
    by: Actor,
    user: UserId,
}

impl FromRequestParts<Arc<Api>> for OfSuperuser {
    type Rejection = PolyaxonError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, PolyaxonError> {
        let Asking(caller) = Asking::from_request_parts(parts, api).await?;
        if access(Caller::User(caller), Subject::Accounts, true) < Access::Admin {
            return Err(PolyaxonError::Forbidden);
        }
        let name = Path::<String>::from_request_parts(parts, api).await;
        let Path(name) = name.map_err(|_| PolyaxonError::NotFound)?;
        let look = move |cluster: &Cluster| Some(cluster.accounts().named(&name)?.id);
        let user = api.cluster.read(look).await?;
        Ok(Self {
            by: Actor::User(caller.id),
            user: user.ok_or(PolyaxonError::NotFound)?,
        })
    }
}

/// Answers the user's token for a name and a password.
pub(super) async fn log_in(
    State(api): State<Arc<Api>>,
    Peer(from): Peer,
    Body(fields): Body,
) -> Result<Json<Value>, PolyaxonError> {
    let name = required(&fields, "username")?;
    let password = required(&fields, "password")?;
    let logged_in = api.accounts.log_in(&name, password, from).await?;
    Ok(Json(json!({"token": logged_in.token})))
}

fn required(fields: &Fields, name: &str) -> Result<String, PolyaxonError> {
    match fields.text(name, LONGEST)? {
        Some(text) if text.is_empty() => {
            Err(PolyaxonError::field(name, "This field may not be blank."))
        }
        Some(text) => Ok(text),
        None => Err(PolyaxonError::field(name, "This field is required.")),
    }
}

/// The user that asks.
pub(super) async fn me(
    State(api): State<Arc<Api>>,
    Asking(caller): Asking,
) -> Result<Json<Value>, PolyaxonError> {
    let look = move |cluster: &Cluster| {
        let user = cluster.accounts().user(caller.id)?;
        // The clients refuse a text that is no address.
        let email = Some(&user.email).filter(|email| !email.is_empty());
        Some(json!({
            "username": user.name,
            "email": email,
            "is_superuser": user.is_superuser,
        }))
    };
    let user = api.cluster.read(look).await?;
    // Deleted since the token was looked up.
    user.map(Json).ok_or(PolyaxonError::InvalidToken)
}

/// There is no session to end: the client forgets its token.
pub(super) async fn log_out(_: Asking) {}

/// Lets a user log in again.
pub(super) async fn activate(
    State(api): State<Arc<Api>>,
    of: OfSuperuser,
) -> Result<(), PolyaxonError> {
    let order = UserOrder {
        is_active: Some(true),
        ..UserOrder::default()
    };
    change(&api, of, order).await
}

/// Makes a user a superuser.
pub(super) async fn grant(
    State(api): State<Arc<Api>>,
    of: OfSuperuser,
) -> Result<(), PolyaxonError> {
    change(&api, of, superuser(true)).await
}

/// Makes a superuser a user like others.
pub(super) async fn revoke(
    State(api): State<Arc<Api>>,
    of: OfSuperuser,
) -> Result<(), PolyaxonError> {
    change(&api, of, superuser(false)).await
}

fn superuser(is_superuser: bool) -> UserOrder {
    UserOrder {
        is_superuser: Some(is_superuser),
        ..UserOrder::default()
    }
}

async fn change(
    api: &Api,
    OfSuperuser { by, user }: OfSuperuser,
    order: UserOrder,
) -> Result<(), PolyaxonError> {
    let order = Box::new(order);
    let change = AccountCommand::Change { user, order };
    api.accounts.tell(by, change).await?;
    Ok(())
}

/// Deletes a user with all that is the user's.
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    OfSuperuser { by, user }: OfSuperuser,
) -> Result<StatusCode, PolyaxonError> {
    let delete = AccountCommand::Delete { user };
    api.accounts.tell(by, delete).await?;
    Ok(StatusCode::NO_CONTENT)
}
