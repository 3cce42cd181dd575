//! What holds for every request and every answer of this API, whatever the route: tolerant paths, the session
//! check, the version, `child_routes`, ETags, HEAD and OPTIONS, and CORS.

use super::routes::{Reached, Routes};
use super::version::ApiVersion;
use crate::http::around::{Answering, Inside};
use crate::http::cors::AllowedOrigins;
use crate::http::{RequestLine, SentMethod, refusal};
use crate::ids::SessionId;
use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::{self, Either};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tower::Service;

/// Headers by which a caller says which life of the process it means; the first one given counts.
const EXPECTED_SESSION_HEADERS: [HeaderName; 2] =
    [SESSION_ID, HeaderName::from_static("expected-session-id")];

/// The life of the process, in every answer.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("session-id");

/// The version that an answer speaks.
const API_VERSION: HeaderName = HeaderName::from_static("api-version");

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

/// How many hexadecimal digits an ETag has: enough that two answers never share one.
const ETAG_DIGITS: usize = 40;

/// Is told of every answer: the method, the route (none if there is no such route), the status, and how
/// long it took to the head of the answer.
pub type Observer =
    Arc<dyn Fn(&Method, Option<&Reached>, StatusCode, std::time::Duration) + Send + Sync>;

/// An extension of answers whose JSON is made while it is sent: it has no ETag, and brings its child
/// routes along.
#[derive(Clone, Copy, Debug)]
pub struct Streamed;

/// The rules, and what they need to know of a daemon.
#[derive(Clone)]
pub struct Rules {
    /// The life of the process.
    pub session: SessionId,
    /// Its routes.
    pub routes: Routes,
    /// Whose web pages may read it.
    pub origins: AllowedOrigins,
    /// Who is told of each answer.
    pub observer: Option<Observer>,
}

impl Rules {
    /// Puts the rules around all of `router`, a router or what stands around one, before it chooses a
    /// route.
    pub fn around<S: Inside>(self, router: S) -> Ruled<S> {
        let rules = Arc::new(Applied {
            session_header: HeaderValue::from_str(&self.session.0).ok(),
            rules: self,
        });
        Ruled {
            rules,
            inside: router,
        }
    }
}

/// What [`Rules::around`] makes.
#[derive(Clone)]
pub struct Ruled<S> {
    rules: Arc<Applied>,
    inside: S,
}

impl<S: Inside> Service<Request> for Ruled<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answering {
        let rules = Arc::clone(&self.rules);
        let mut request = tidy_path(request);
        let asked = rules.begin(&mut request);
        // Requests and answers are large: what is not done in the future is not moved along with it.
        let inside = match rules.answer_at_once(&asked, request.headers()) {
            Some(response) => Either::Left(future::ready(Ok(response))),
            None => Either::Right(self.inside.call(request)),
        };
        Box::pin(async move {
            let Ok(response) = inside.await;
            Ok(rules.end(&asked, response).await)
        })
    }
}

/// The rules at work.
struct Applied {
    rules: Rules,
    session_header: Option<HeaderValue>,
}

/// What an answer depends on of a request, which the handler gets.
struct Asked {
    began: Instant,
    method: Method,
    reached: Option<Reached>,
    version: ApiVersion,
    /// Every `If-None-Match`; mostly none.
    known: HeaderMap,
    origin: Option<HeaderValue>,
}

impl Asked {
    fn is_read(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

impl Applied {
    /// Notes what is asked for, and tells the handler.
    fn begin(&self, request: &mut Request) -> Asked {
        let began = Instant::now();
        let reached = self.rules.routes.find(request.uri().path());
        let headers = request.headers();
        let mut known = HeaderMap::new();
        for value in headers.get_all(header::IF_NONE_MATCH) {
            known.append(header::IF_NONE_MATCH, value.clone());
        }
        let origin = headers.get(header::ORIGIN).cloned();
        let accepted = accepted_version(headers);
        let version = accepted.unwrap_or_else(|| match &reached {
            Some(reached) => reached.version(),
            None => ApiVersion::of_path(request.uri().path()),
        });
        let method = request.method().clone();
        if method == Method::HEAD {
            request.extensions_mut().insert(SentMethod(Method::HEAD));
            *request.method_mut() = Method::GET;
        }
        if let Some(accepted) = accepted {
            request.extensions_mut().insert(accepted);
        }
        if let Some(reached) = &reached {
            request.extensions_mut().insert(reached.clone());
        }
        Asked {
            began,
            method,
            reached,
            version,
            known,
            origin,
        }
    }

    /// The answer that needs no handler.
    fn answer_at_once(&self, asked: &Asked, headers: &HeaderMap) -> Option<Response> {
        if let Some(given) = self.stranger(headers) {
            return Some(refusal(
                StatusCode::PRECONDITION_FAILED,
                format!("Specified session id: {given} has expired and is invalid."),
            ));
        }
        (asked.method == Method::OPTIONS && asked.reached.is_some())
            .then(|| Json(json!({})).into_response())
    }

    /// Makes an answer what the rules say.
    async fn end(&self, asked: &Asked, mut response: Response) -> Response {
        if response.extensions().get::<Streamed>().is_some() {
            response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        } else if is_json(&response) {
            let children = asked.reached.as_ref().filter(|_| asked.is_read());
            let children = children.map(|reached| reached.children(asked.version));
            response = finished(response, children, asked.is_read(), &asked.known).await;
        }
        let headers = response.headers_mut();
        // Its text is shared, not copied.
        if let Some(session) = &self.session_header {
            headers.insert(SESSION_ID, session.clone());
        }
        headers.insert(API_VERSION, asked.version.header());
        self.rules.origins.answer(asked.origin.as_ref(), headers);
        if asked.method == Method::HEAD {
            // The headers, the length among them, stay those of a GET.
            *response.body_mut() = Body::empty();
        }
        if let Some(observer) = &self.rules.observer {
            let (method, reached) = (&asked.method, asked.reached.as_ref());
            observer(method, reached, response.status(), asked.began.elapsed());
        }
        response
    }

    /// The session that the caller means, if it is another one.
    fn stranger(&self, headers: &HeaderMap) -> Option<String> {
        let mut given = EXPECTED_SESSION_HEADERS.into_iter();
        let given = given.find_map(|name| headers.get(&name))?.as_bytes();
        (given != self.rules.session.0.as_bytes())
            .then(|| String::from_utf8_lossy(given).into_owned())
    }
}

/// Takes a slash off the end of the path, so that `/v1/build/1/` is `/v1/build/1`, and keeps the
/// request line as it was for the signature where that makes it another one.
fn tidy_path(mut request: Request) -> Request {
    let path = request.uri().path();
    let tidy = path.trim_end_matches('/');
    if tidy.len() == path.len() || tidy.is_empty() {
        return request;
    }
    let uri = request.uri().clone();
    let line = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let line = RequestLine(line.to_owned());
    let shortened = match uri.query() {
        Some(query) => format!("{tidy}?{query}"),
        None => tidy.to_owned(),
    };
    let mut parts = uri.into_parts();
    parts.path_and_query = shortened.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
        request.extensions_mut().insert(line);
    }
    request
}

/// The version that the headers of a request ask for.
fn accepted_version(headers: &HeaderMap) -> Option<ApiVersion> {
    let accepts = headers.get_all(header::ACCEPT).iter();
    let mut accepts = accepts.filter_map(|accept| accept.to_str().ok());
    accepts.find_map(ApiVersion::accepted)
}

fn is_json(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

/// A JSON answer with its child routes and its ETag, or 304 where the caller has it already. One that
/// comes with an ETag is whole.
async fn finished(
    mut response: Response,
    children: Option<&str>,
    is_read: bool,
    asked: &HeaderMap,
) -> Response {
    if !response.headers().contains_key(header::ETAG) {
        let (mut parts, body) = response.into_parts();
        let body = match to_bytes(body, usize::MAX).await {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "an answer could not be made");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        };
        let body = match children {
            Some(children) => with_children(&body, children),
            None => body,
        };
        let length = body.len().into();
        parts.headers.insert(header::CONTENT_TYPE, JSON);
        parts.headers.insert(header::CONTENT_LENGTH, length);
        if is_read && parts.status == StatusCode::OK {
            parts.headers.insert(header::ETAG, etag_of(&body));
        }
        response = Response::from_parts(parts, Body::from(body));
    }
    let etag = response.headers().get(header::ETAG);
    let is_known = !asked.is_empty()
        && etag.is_some_and(|etag| etag.to_str().is_ok_and(|etag| is_known(asked, etag)));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(header::CONTENT_TYPE);
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::empty();
    }
    response
}

/// The whole of a JSON answer that a handler has ready, with the child routes in it.
#[must_use]
pub fn whole(body: Bytes, etag: HeaderValue) -> Response {
    let mut response = Response::new(Body::empty());
    let length = body.len().into();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::ETAG, etag);
    *response.body_mut() = Body::from(body);
    response
}

/// The ETag of the answer with this body.
///
/// # Panics
/// Never: digits and quotes may stand in a header.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "digits and quotes may stand in a header"
)]
pub fn etag_of(body: &[u8]) -> HeaderValue {
    let digest = hex::encode(Sha256::digest(body));
    let etag = HeaderValue::try_from(format!("\"{}\"", &digest[..ETAG_DIGITS]));
    etag.expect("digits and quotes may stand in a header")
}

/// Puts `child_routes` behind the members of a JSON object, which may be very long.
#[must_use]
pub fn with_children(body: &[u8], children: &str) -> Bytes {
    let Some(members) = body.strip_suffix(b"}") else {
        return Bytes::copy_from_slice(body);
    };
    let comma: &[u8] = if members == b"{" { b"" } else { b"," };
    let children = format!("\"child_routes\":{children}}}");
    [members, comma, children.as_bytes()].concat().into()
}

/// Whether the `If-None-Match` headers of a request name an ETag; weak ones count, as the standard
/// has it.
#[must_use]
pub fn is_known(asked: &HeaderMap, etag: &str) -> bool {
    let known = asked.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = known.flat_map(|known| known.to_str().unwrap_or_default().split(','));
    tags.any(|tag| {
        let tag = tag.trim().trim_start_matches("W/");
        tag == "*" || tag == etag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_tidy(given: &str, expected: &str) {
        let request = Request::builder().uri(given).body(Body::empty()).unwrap();
        let tidied = tidy_path(request);
        assert_eq!(tidied.uri().to_string(), expected);
        let line = tidied.extensions().get::<RequestLine>();
        assert_eq!(line.map_or(expected, |line| &line.0), given);
    }

    #[test]
    fn a_slash_at_the_end_of_a_path_makes_no_difference() {
        check_tidy("/v1/build/1/", "/v1/build/1");
        check_tidy("/v1/build/1/?a=b/", "/v1/build/1?a=b/");
        check_tidy("/v1/build", "/v1/build");
        check_tidy("/", "/");
    }
}
