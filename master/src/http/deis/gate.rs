//! Who asks: every request but a few brings the token of a user, or is signed with the farm's secret.

use super::error::{BadToken, DeisError};
use super::hooks::{BUILDER_HEADER, Builder, HOOKS};
use super::{Api, VERSION};
use crate::http::shared_key::SharedKey;
use crate::http::tokens;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::auth::gate::Proof;
use clusterrunner_common::auth::strangers::proof_holds;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_core::access::{Caller, SecretProof};
use std::sync::Arc;

/// The header by which the command line says which version it speaks.
pub(super) const VERSION_HEADER: &str = "x-deis-version";

/// What needs no token.
pub(super) const OPEN: [&str; 2] = ["/v1/auth/register", "/v1/auth/login"];

/// Lets requests through whose caller is known, and tells the handlers who asks.
pub(super) async fn pass(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Response {
    if is_builder(&api, &request) {
        request.extensions_mut().insert(Builder);
        proof_holds(request.extensions());
    }
    let caller = match shown(&request) {
        Ok(Shown::Token(token)) => {
            let holder = holder(&api, token).await;
            holder.inspect(|_| proof_holds(request.extensions()))
        }
        Ok(Shown::Caller(caller)) => Ok(caller),
        Err(error) => Err(error),
    };
    match caller {
        Ok(caller) => {
            if caller != Caller::Nobody {
                proof_holds(request.extensions());
            }
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// What a request shows of its caller.
enum Shown {
    Token(String),
    Caller(Caller),
}

fn shown(request: &Request) -> Result<Shown, DeisError> {
    if let Some(version) = request.headers().get(VERSION_HEADER)
        && version != VERSION
    {
        let version = String::from_utf8_lossy(version.as_bytes()).into_owned();
        return Err(DeisError::Version(version));
    }
    // Only a gate that has found the signature good says so.
    if let Some(Proof::Bound) = request.extensions().get() {
        let proof = SecretProof::BoundSignature;
        return Ok(Shown::Caller(Caller::Secret(proof)));
    }
    let is_builder = request.extensions().get::<Builder>().is_some();
    if is_builder || OPEN.contains(&request.uri().path()) {
        return Ok(Shown::Caller(Caller::Nobody));
    }
    Ok(Shown::Token(token(request.headers())?.to_owned()))
}

/// Whether a program that receives pushes shows its key.
fn is_builder(api: &Api, request: &Request) -> bool {
    let shown = request.headers().get(BUILDER_HEADER);
    let shown = shown.and_then(|shown| shown.to_str().ok());
    let key = api.apps.builder_key.as_ref();
    request.uri().path().starts_with(HOOKS)
        && shown.is_some_and(|shown| key.is_some_and(|key| SharedKey::new(key).is(shown)))
}

async fn holder(api: &Api, token: String) -> Result<Caller, DeisError> {
    let user = tokens::holder(&token, &api.cluster, Timestamp::now()).await?;
    Ok(Caller::User(user.ok_or(BadToken::Unknown)?))
}

/// The token in the head of a request.
fn token(headers: &HeaderMap) -> Result<&str, BadToken> {
    let value = headers.get(header::AUTHORIZATION);
    let value = value.and_then(|value| value.to_str().ok());
    let mut words = value.unwrap_or_default().split_ascii_whitespace();
    let scheme = words.next().unwrap_or_default();
    // `Bearer` is what the farm's other APIs want, and our own client sends.
    let schemes = ["token", "bearer"];
    if !schemes.iter().any(|one| scheme.eq_ignore_ascii_case(one)) {
        return Err(BadToken::Missing);
    }
    match (words.next(), words.next()) {
        (Some(token), None) => Ok(token),
        (None, _) => Err(BadToken::Empty),
        (Some(_), Some(_)) => Err(BadToken::Spaces),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_behind_its_scheme() {
        for (value, expected) in [
            ("token abc", Ok("abc")),
            ("TOKEN  abc ", Ok("abc")),
            ("Bearer abc", Ok("abc")),
            ("token", Err(BadToken::Empty)),
            ("token a b", Err(BadToken::Spaces)),
            ("Basic abc", Err(BadToken::Missing)),
            ("tokens abc", Err(BadToken::Missing)),
            ("", Err(BadToken::Missing)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(token(&headers), expected, "{value}");
        }
        assert_eq!(token(&HeaderMap::new()), Err(BadToken::Missing));
    }
}
