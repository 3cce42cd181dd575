//! What peers of the original send in place of a bound signature, and the form around some bodies.

use crate::auth::signature::SignedBy;
use crate::ids::{PublicKey, TokenId};
use axum::extract::{FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{Uri, header};
use serde::Deserialize;
use std::convert::Infallible;

/// How the sender of a request showed that it may send it; a handler takes it as an extractor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A signature of this very request with the secret, good once.
    Bound,
    /// The same with the key of a daemon, which the gate knows.
    Key(PublicKey),
    /// The same under a token with which slaves join.
    JoinToken(TokenId),
    /// A digest of the body alone: a stranger who saw the request could send it again.
    BodyDigest,
    /// The token for reads.
    ReadToken,
    /// The token of a user, whom the request names among its extensions.
    UserToken,
    /// The session of a browser, whose holder the request names among its extensions.
    Session,
    /// None at all, where the original asks for none.
    Nothing,
}

impl Proof {
    /// Whether it is only good enough for a peer of the original.
    #[must_use]
    pub fn is_weak(self) -> bool {
        match self {
            Self::Bound | Self::Key(_) => false,
            Self::JoinToken(_)
            | Self::BodyDigest
            | Self::ReadToken
            | Self::UserToken
            | Self::Session
            | Self::Nothing => true,
        }
    }
}

impl From<SignedBy> for Proof {
    fn from(by: SignedBy) -> Self {
        match by {
            SignedBy::Secret => Self::Bound,
            SignedBy::Key(key) => Self::Key(key),
            SignedBy::JoinToken(token) => Self::JoinToken(token),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Proof {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let proof = parts.extensions.get().copied();
        // What did not pass the gate has proved nothing.
        Ok(proof.unwrap_or(Self::Nothing))
    }
}

/// The form in which the original's slave wraps the body of a call that it does not sign.
#[derive(Deserialize)]
struct Wrapped {
    #[serde(rename = "__encoded_body__")]
    body: String,
}

/// Whether the body may be such a form: only unsigned ones are, as in the original.
pub(super) fn may_be_form(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_form = content_type.is_some_and(|value| {
        value
            .as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    is_form && request.extensions().get() == Some(&Proof::Nothing)
}

/// The JSON text in the form; `None` where there is no such form.
pub(super) fn unwrapped(form: &[u8]) -> Option<String> {
    let form = std::str::from_utf8(form).ok()?;
    // The query of an address has the encoding of a form.
    let uri = format!("/?{form}").parse::<Uri>().ok()?;
    let Query(Wrapped { body }) = Query::try_from_uri(&uri).ok()?;
    Some(body)
}
