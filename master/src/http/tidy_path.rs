//! Every route is there with and without a slash at its end, and slashes that follow each other count as one.

use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use clusterrunner_common::http::around::{Answering, Inside};
use std::convert::Infallible;
use std::task::{Context, Poll};
use tower::Service;

/// The routes of an API, which see tidy paths only.
#[derive(Clone)]
pub(crate) struct Tidy<S>(pub(super) S);

impl<S: Inside<Future: 'static>> Service<Request> for Tidy<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answering {
        Box::pin(self.0.call(tidied(request)))
    }
}

/// The answer to a method that a route does not have: all that OPTIONS asks for is in the header `Allow`, and the others
/// are refused.
pub(super) fn other_method<E: IntoResponse>(
    method: Method,
    refused: impl FnOnce(Method) -> E,
) -> Response {
    match method {
        Method::OPTIONS => StatusCode::OK.into_response(),
        other => refused(other).into_response(),
    }
}

/// The request with a path that has no slash too many.
fn tidied(mut request: Request) -> Request {
    let uri = request.uri();
    let path = tidy(uri.path());
    if path == uri.path() {
        return request;
    }
    let line = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(line).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    request
}

fn tidy(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty());
    let tidy: String = parts.flat_map(|part| ["/", part]).collect();
    if tidy.is_empty() {
        "/".to_owned()
    } else {
        tidy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_too_many_do_not_matter() {
        for (path, expected) in [
            ("/api/v1/a/b/builds/1/", "/api/v1/a/b/builds/1"),
            ("/api/v1/a/b//builds/1/logs", "/api/v1/a/b/builds/1/logs"),
            ("/api/v1/a", "/api/v1/a"),
            ("//", "/"),
        ] {
            assert_eq!(tidy(path), expected);
        }
    }

    #[test]
    fn a_query_stays_as_it_is() {
        let request = Request::builder().uri("/api/v1/a//?query=x//y");
        let request = tidied(request.body(axum::body::Body::empty()).unwrap());
        assert_eq!(request.uri(), "/api/v1/a?query=x//y");
    }
}
