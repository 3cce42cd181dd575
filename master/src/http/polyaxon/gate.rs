//! Who asks: every request but a few brings the token of a user.

use super::Api;
use super::error::PolyaxonError;
use super::routes;
use crate::http::tokens;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::auth::strangers::proof_holds;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_core::access::Caller;
use std::sync::Arc;

/// What needs no token: paths, and what is below them.
const OPEN: [&str; 3] = [
    "/api/v1/versions",
    "/api/v1/log_handler",
    "/api/v1/users/token",
];

/// Lets requests through whose token stands for a user, and tells the handlers who asks.
pub(super) async fn pass(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Response {
    let is_socket = routes::is_socket(request.uri().path());
    let in_query = || {
        request
            .uri()
            .query()
            .filter(|_| is_socket)
            .and_then(token_in)
    };
    let token = token(request.headers()).or_else(in_query);
    let caller = match caller(&api, token.map(str::to_owned)).await {
        Ok(caller) => {
            proof_holds(request.extensions());
            caller
        }
        Err(_) if is_open(request.uri().path()) => Caller::Nobody,
        Err(PolyaxonError::NotAuthenticated | PolyaxonError::InvalidToken) if is_socket => {
            return PolyaxonError::NotAuthorized.into_response();
        }
        Err(error) => return error.into_response(),
    };
    if caller != Caller::Nobody {
        proof_holds(request.extensions());
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

async fn caller(api: &Api, token: Option<String>) -> Result<Caller, PolyaxonError> {
    let token = token.ok_or(PolyaxonError::NotAuthenticated)?;
    let user = tokens::holder(&token, &api.cluster, Timestamp::now()).await?;
    Ok(Caller::User(user.ok_or(PolyaxonError::InvalidToken)?))
}

/// The token in the head of a request.
fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let known = ["token", "bearer"];
    let is_known = known.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    is_known.then(|| token.trim())
}

/// The token in a query: browsers can not send headers with a request for a web socket.
fn token_in(query: &str) -> Option<&str> {
    let mut pairs = query.split('&');
    pairs.find_map(|pair| pair.strip_prefix("token="))
}

fn is_open(path: &str) -> bool {
    OPEN.iter().any(|open| {
        let below = path.strip_prefix(open);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_under_several_names() {
        for (value, expected) in [
            ("token abc", Some("abc")),
            ("Token abc", Some("abc")),
            ("Bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(token(&headers), expected, "{value}");
        }
    }

    #[test]
    fn a_query_may_have_a_token_among_other_things() {
        assert_eq!(token_in("token=abc"), Some("abc"));
        assert_eq!(token_in("a=b&token=abc&token=d"), Some("abc"));
        assert_eq!(token_in("tokens=abc"), None);
    }

    #[test]
    fn few_paths_are_open() {
        assert!(is_open("/api/v1/versions/cli") && is_open("/api/v1/users/token"));
        assert!(!is_open("/api/v1/users") && !is_open("/api/v1/versionsx/a/builds"));
    }
}
