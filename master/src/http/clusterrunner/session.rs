//! Signing in to the page and out: `/v2/session`.

use super::error::ApiError;
use super::requests::is_operator;
use super::{Api, shapes};
use crate::coordinator::Gone;
use crate::http::accounts::AccountError;
use crate::http::caller::actor;
use crate::http::sessions::{Holder, LINK_LASTS, Session};
use crate::http::tokens;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use clusterrunner_common::api::accounts::{SessionBody, SessionLink, SessionUser, SignIn};
use clusterrunner_common::auth::gate::{
    Proof, Signed, UnknownSession, is_of_this_origin, token_of,
};
use clusterrunner_common::http::peer::Peer;
use clusterrunner_core::access::{Caller, SecretProof};
use clusterrunner_core::accounts::sign_ins::{SignInFact, SignedInWith};
use clusterrunner_core::accounts::users::Role;
use serde::Deserialize;
use std::sync::Arc;

/// The name of who is signed in with the farm's secret; no user has it.
const OPERATOR: &str = "clusterrunner";

const FORMS: &str = "The body must have either 'username' and 'password', or 'token', or 'link'.";

const OTHER_ORIGIN: &str = "A web page of another origin can not sign in here.";

const BY_SESSION: &str = "A session makes no links: this needs the farm's secret (header ClusterRunner-Signature) or the \
                          token of a user (header `Authorization: Bearer`).";

/// No fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

type WithCookie = ([(HeaderName, String); 2], Json<SessionBody>);

/// Who is signed in.
pub(super) async fn show(session: Option<Extension<Session>>) -> impl IntoResponse {
    let body = session.map(|Extension(session)| body_of(&session));
    // It has the token for changes in it.
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    (no_store, Json(body.unwrap_or_default()))
}

/// Signs in.
pub(super) async fn begin(
    State(api): State<Arc<Api>>,
    Peer(from): Peer,
    headers: HeaderMap,
    Signed(given): Signed<SignIn>,
) -> Result<WithCookie, ApiError> {
    if !is_of_this_origin(&headers) {
        return Err(ApiError::Forbidden(OTHER_ORIGIN));
    }
    let (holder, signed_in_with) = match (given.username, given.password, given.token, given.link) {
        (Some(name), Some(password), None, None) => {
            let logged_in = api.accounts.log_in(&name, password, from).await?;
            (Holder::Password(tokens::digest(&logged_in.token)), None)
        }
        (None, None, Some(token), None) => {
            let token = token.trim().to_owned();
            match api.accounts.is_token(&token, from).await? {
                true => (
                    Holder::Token(tokens::digest(&token)),
                    Some(SignedInWith::Token),
                ),
                false => return Err(ApiError::SignIn("The token is not valid.")),
            }
        }
        (None, None, None, Some(link)) => {
            let follow = || api.sessions.follow(&link);
            let holder = api.accounts.trying(&link, from, follow).await?;
            let holder = holder.ok_or(ApiError::SignIn(
                "The link was followed before or is too old: `clusterrunner open` makes another one.",
            ))?;
            (holder, Some(SignedInWith::Link))
        }
        _ => return Err(ApiError::invalid(FORMS)),
    };
    let (cookie, session) = api.sessions.begin(holder).await?;
    // A log-in with a password is noted already.
    if let Some(signed_in_with) = signed_in_with {
        let by = actor(session.caller);
        let signed_in = SignInFact::SignedIn(signed_in_with);
        api.accounts.note_sign_in(by, signed_in).await?;
    }
    Ok((with(cookie), Json(body_of(&session))))
}

/// Signs out.
pub(super) async fn end(
    State(api): State<Arc<Api>>,
    session: Option<Extension<Session>>,
    proof: Proof,
    _: Signed<Nothing>,
) -> WithCookie {
    // Without the token for changes only the cookie goes.
    let session = session.filter(|_| proof == Proof::Session);
    let cookie = api.sessions.end(session.as_deref());
    if let Some(Extension(session)) = session {
        let by = actor(session.caller);
        let noted = api.accounts.note_sign_in(by, SignInFact::SignedOut).await;
        if noted.is_err() {
            tracing::info!(
                "somebody signed out as the master went down, which the audit log does not say"
            );
        }
    }
    (with(cookie), Json(SessionBody::default()))
}

/// Makes a link that signs in once, with the rights of who asks.
pub(super) async fn link(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    session: Option<Extension<Session>>,
    headers: HeaderMap,
    _: Signed<Nothing>,
) -> Result<Json<SessionLink>, ApiError> {
    if session.is_some() {
        return Err(ApiError::Forbidden(BY_SESSION));
    }
    let holder = match caller {
        Caller::Secret(SecretProof::BoundSignature) => Holder::Secret,
        Caller::User(_) => {
            let token = token_of(&headers).ok_or(ApiError::WhoAsks)?;
            Holder::Token(tokens::digest(token))
        }
        Caller::Secret(SecretProof::BodyDigest)
        | Caller::BinderKey
        | Caller::ReadToken
        | Caller::SlaveKey(_)
        | Caller::JoinToken(_)
        | Caller::Slave
        | Caller::Nobody => return Err(ApiError::WhoAsks),
    };
    let by = actor(caller);
    api.accounts.note_sign_in(by, SignInFact::LinkMade).await?;
    Ok(Json(SessionLink {
        link: api.sessions.link(holder),
        expires_in: LINK_LASTS.as_secs(),
    }))
}

fn with(cookie: String) -> [(HeaderName, String); 2] {
    [
        (header::SET_COOKIE, cookie),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ]
}

fn body_of(session: &Session) -> SessionBody {
    let (is_superuser, role) = match session.caller {
        Caller::User(user) => (user.is_superuser, user.role),
        _ => (true, Role::Admin),
    };
    let user = SessionUser {
        is_operator: is_operator(session.caller),
        name: session
            .user_name
            .clone()
            .unwrap_or_else(|| OPERATOR.to_owned()),
        is_superuser,
        role: shapes::role(role),
    };
    SessionBody {
        user: Some(user),
        csrf_token: Some(session.csrf_token.clone()),
        expires: Some(session.expires.as_unix_seconds()),
    }
}

impl From<UnknownSession> for ApiError {
    fn from(error: UnknownSession) -> Self {
        match error {
            // What was found a moment ago is not there any more.
            UnknownSession::Ended => Self::Account(AccountError::WrongCredentials),
            UnknownSession::Unavailable(_) => Self::Gone(Gone),
        }
    }
}
