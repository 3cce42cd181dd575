//! Tokens of users: a gate lets those in that a daemon knows, on the routes where a token is enough.

use super::{BODY_DIGEST_HEADER, Closed, Gate, SIGNATURE_HEADER};
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, Method, header};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// What knows the tokens of users.
pub trait Tokens: fmt::Debug + Send + Sync {
    /// Notes the holder of a token among the extensions of the request that shows it.
    fn note_holder<'a>(
        &'a self,
        token: &'a str,
        extensions: &'a mut Extensions,
    ) -> Pin<Box<dyn Future<Output = Result<(), UnknownToken>> + Send + 'a>>;
}

/// Why a token opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownToken {
    /// It is nobody's: never given, revoked, expired, or of a user that is deactivated.
    #[error(
        "The token in the header Authorization is not valid: it was revoked, has expired, or belongs to no active user."
    )]
    Nobodys,
    /// The daemon is going down.
    #[error("{0}")]
    Unavailable(String),
}

/// The tokens that open a gate, and where.
#[derive(Clone)]
pub(super) struct Known {
    tokens: Arc<dyn Tokens>,
    takes_token: fn(&Method, &str) -> bool,
    shows_more: Arc<dyn ShowsMore>,
}

/// Which reads show more to those who prove who they are, by method and path without a slash at its end.
pub(super) trait ShowsMore: Fn(&Method, &str) -> bool + Send + Sync {}

impl<F: Fn(&Method, &str) -> bool + Send + Sync> ShowsMore for F {}

impl Gate {
    /// The same gate; on the routes that `takes_token` names (by method and path without a slash at its end) and for
    /// all reads the token of a user is enough. Where all may read, a signature is looked at where a read `shows_more`
    /// to those who prove who they are, and nowhere else. For a gate that guards nothing yet.
    ///
    /// # Panics
    /// When the gate is in use already.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "whoever sets a gate up is its only owner so far"
    )]
    pub fn with_tokens(
        mut self: Arc<Self>,
        tokens: Arc<dyn Tokens>,
        takes_token: fn(&Method, &str) -> bool,
        shows_more: impl Fn(&Method, &str) -> bool + Send + Sync + 'static,
    ) -> Arc<Self> {
        let gate = Arc::get_mut(&mut self).expect("a gate is set up before it is used");
        gate.tokens = Some(Known {
            tokens,
            takes_token,
            shows_more: Arc::new(shows_more),
        });
        self
    }

    /// Whether users are what a read is about.
    pub(super) fn is_about_users(&self, method: &Method, path: &str) -> bool {
        let known = self.tokens.as_ref();
        known.is_some_and(|known| (known.takes_token)(method, path))
    }

    /// Whether a read shows more to those who prove who they are.
    pub(super) fn shows_more(&self, method: &Method, path: &str) -> bool {
        let known = self.tokens.as_ref();
        known.is_some_and(|known| (known.shows_more)(method, path))
    }

    /// The token of a request that brings no other proof, where tokens are known here.
    pub(super) fn shown_token(&self, request: &Request) -> Option<(Known, String)> {
        let known = self.tokens.as_ref()?;
        let headers = request.headers();
        // Mostly there is none, and nothing else is looked for.
        let token = token_of(headers)?;
        let other = [SIGNATURE_HEADER, BODY_DIGEST_HEADER];
        let has_other = other.iter().any(|proof| headers.contains_key(*proof));
        (!has_other).then(|| (known.clone(), token.to_owned()))
    }
}

impl Known {
    /// Opens a request that changes something.
    pub(super) async fn open(&self, token: &str, request: &mut Request) -> Result<(), Closed> {
        self.note(token, request).await?;
        match (self.takes_token)(request.method(), request.uri().path()) {
            true => Ok(()),
            false => Err(Closed::TokenNotEnough),
        }
    }

    /// Notes the holder of a token.
    pub(super) async fn note(
        &self,
        token: &str,
        request: &mut Request,
    ) -> Result<(), UnknownToken> {
        let extensions = request.extensions_mut();
        self.tokens.note_holder(token, extensions).await
    }
}

/// The token in the header `Authorization`, after `Bearer` or `token` in any case.
#[must_use]
pub fn token_of(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    let is_known = ["bearer", "token"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    is_known.then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_token_stands_after_its_scheme() {
        for (given, expected) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Token abc", Some("abc")),
            ("Basic abc", None),
            ("abc", None),
            ("Bearerabc", None),
        ] {
            let value = HeaderValue::from_static(given);
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
            assert_eq!(token_of(&headers), expected, "{given}");
        }
    }
}
