//! Users: registering, logging in, changing a password, leaving.

use super::Api;
use super::body::{Fields, REQUIRED};
use super::callers::ByUser;
use super::error::DeisError;
use super::shapes::users::UserView;
use crate::http::accounts::{AccountError, Demand, First, Registrant};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use clusterrunner_common::http::peer::Peer;
use clusterrunner_core::Cluster;
use clusterrunner_core::accounts::command::{AccountCommand, UserOrder};
use clusterrunner_core::actor::Actor;
use serde_json::{Value, json};
use std::sync::Arc;

/// The most characters of a new user's name.
const LONGEST_NAME: usize = 30;

/// The most characters of any other text that is looked at; longer ones are wrong anyway.
const LONGEST: usize = 4096;

/// What clients tell users of a name that is none.
const NO_NAME: &str = "Enter a valid username.";

/// Registers a stranger. The first user of the farm becomes a superuser; nobody becomes one by asking for it.
pub(super) async fn register(
    State(api): State<Arc<Api>>,
    Peer(from): Peer,
    headers: HeaderMap,
    fields: Fields,
) -> Result<(StatusCode, Json<UserView>), DeisError> {
    fields.require(&["username", "password"])?;
    let optional = |name: &str| {
        let text = fields.text(name, LONGEST);
        text.map(Option::unwrap_or_default)
    };
    let new = Registrant {
        name: name(&fields)?,
        password: fields.required("password", LONGEST)?,
        email: optional("email")?,
        first_name: optional("first_name")?,
        last_name: optional("last_name")?,
        is_superuser: false,
        demand: Demand::Any,
    };
    let is_of_page = headers.contains_key(header::ORIGIN);
    let accounts = &api.accounts;
    let user = accounts.register(new, from, is_of_page, First::Superuser);
    let user = user.await?;
    let look = move |cluster: &Cluster| cluster.accounts().user(user).map(UserView::of);
    let view = api.cluster.read(look).await?;
    Ok((StatusCode::CREATED, Json(view.ok_or(DeisError::NotFound)?)))
}

/// What else a name may have, the core knows.
fn name(fields: &Fields) -> Result<String, DeisError> {
    let name = fields.required("username", LONGEST)?;
    match name.chars().count() <= LONGEST_NAME {
        true => Ok(name),
        false => Err(DeisError::field("username", NO_NAME)),
    }
}

/// Answers the user's token for a name and a password.
pub(super) async fn log_in(
    State(api): State<Arc<Api>>,
    Peer(from): Peer,
    fields: Fields,
) -> Result<Json<Value>, DeisError> {
    fields.require(&["username", "password"])?;
    let name = fields.required("username", LONGEST)?;
    let password = fields.required("password", LONGEST)?;
    let logged_in = api.accounts.log_in(&name, password, from).await?;
    Ok(Json(json!({"token": logged_in.token})))
}

/// Gives the caller another password. The token stays.
pub(super) async fn change_password(
    State(api): State<Arc<Api>>,
    ByUser(user): ByUser,
    Peer(from): Peer,
    fields: Fields,
) -> Result<Json<Value>, DeisError> {
    fields.require(&["password", "new_password"])?;
    let present = fields.required("password", LONGEST)?;
    let new = fields.required("new_password", LONGEST)?;
    let look = move |cluster: &Cluster| Some(cluster.accounts().user(user)?.name.clone());
    let name = api.cluster.read(look).await?.ok_or(DeisError::NotFound)?;
    api.accounts.check_present(&name, present, from).await?;
    let by = Actor::User(user);
    let password = Some((new, Demand::Any));
    let change = api
        .accounts
        .change(by, user, UserOrder::default(), password);
    change.await.map_err(|error| match error {
        AccountError::Password(wrong) => DeisError::field("new_password", wrong.to_string()),
        error => error.into(),
    })?;
    Ok(Json(json!({"status": "password set"})))
}

/// Deletes the caller with all that is the caller's.
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    ByUser(user): ByUser,
) -> Result<StatusCode, DeisError> {
    let delete = AccountCommand::Delete { user };
    api.accounts.tell(Actor::User(user), delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The name of a user in a body.
pub(super) fn user_name(fields: &Fields) -> Result<String, DeisError> {
    let name = fields.text("username", LONGEST)?;
    let name = name.filter(|name| !name.is_empty());
    name.ok_or_else(|| DeisError::field("username", REQUIRED))
}
