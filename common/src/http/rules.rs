//! What holds for every request and every answer of both daemons, whatever the route: the session
//! check, the version, `child_routes`, ETags, HEAD and OPTIONS, and CORS.

use super::SentMethod;
use super::around::{Inside, answered, around};
use super::cors::AllowedOrigins;
use super::refusal;
use super::routes::{Reached, Routes};
use super::version::ApiVersion;
use crate::ids::SessionId;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Headers by which a caller says which life of the process it means; the first one given counts.
const EXPECTED_SESSION_HEADERS: [&str; 2] = ["session-id", "expected-session-id"];

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
    pub fn around<S: Inside>(self, router: S) -> Router {
        let rules = Arc::new(Applied {
            session_header: HeaderValue::from_str(&self.session.0).ok(),
            rules: self,
        });
        Router::new().fallback_service(around(router, move |request, inside| {
            let rules = Arc::clone(&rules);
            async move { rules.observed(request, inside).await }
        }))
    }
}

/// The rules at work.
struct Applied {
    rules: Rules,
    session_header: Option<HeaderValue>,
}

/// What an answer depends on of a request's headers, which the handler gets.
struct Asked {
    /// Every `If-None-Match`; mostly none.
    known: HeaderMap,
    origin: Option<HeaderValue>,
}

impl Asked {
    fn of(headers: &HeaderMap) -> Self {
        let mut known = HeaderMap::new();
        for value in headers.get_all(header::IF_NONE_MATCH) {
            known.append(header::IF_NONE_MATCH, value.clone());
        }
        let origin = headers.get(header::ORIGIN).cloned();
        Self { known, origin }
    }
}

impl Applied {
    async fn observed(&self, request: Request, next: impl Inside) -> Response {
        let reached = self.rules.routes.find(request.uri().path());
        let Some(observer) = &self.rules.observer else {
            return self.apply(request, reached, next).await;
        };
        let (method, began) = (request.method().clone(), std::time::Instant::now());
        let response = self.apply(request, reached.clone(), next).await;
        observer(
            &method,
            reached.as_ref(),
            response.status(),
            began.elapsed(),
        );
        response
    }

    async fn apply(
        &self,
        mut request: Request,
        reached: Option<Reached>,
        next: impl Inside,
    ) -> Response {
        let version = version(&request, reached.as_ref());
        let asked = Asked::of(request.headers());
        let method = request.method().clone();
        if method == Method::HEAD {
            request.extensions_mut().insert(SentMethod(Method::HEAD));
            *request.method_mut() = Method::GET;
        }
        request.extensions_mut().insert(version);
        if let Some(reached) = &reached {
            request.extensions_mut().insert(reached.clone());
        }
        let mut response = match self.stranger(request.headers()) {
            Some(given) => refusal(
                StatusCode::PRECONDITION_FAILED,
                format!("Specified session id: {given} has expired and is invalid."),
            ),
            None if method == Method::OPTIONS && reached.is_some() => {
                Json(json!({})).into_response()
            }
            None => answered(next, request).await,
        };
        if response.extensions().get::<Streamed>().is_some() {
            response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        } else if is_json(&response) {
            let is_read = matches!(method, Method::GET | Method::HEAD);
            let children = reached.as_ref().filter(|_| is_read);
            let children = children.map(|reached| reached.children(version));
            response = finished(response, children, is_read, &asked.known).await;
        }
        let headers = response.headers_mut();
        // Its text is shared, not copied.
        if let Some(session) = &self.session_header {
            headers.insert(HeaderName::from_static("session-id"), session.clone());
        }
        let number = HeaderValue::from(version.number());
        headers.insert(HeaderName::from_static("api-version"), number);
        self.rules.origins.answer(asked.origin.as_ref(), headers);
        if method == Method::HEAD {
            // The headers, the length among them, stay those of a GET.
            *response.body_mut() = Body::empty();
        }
        response
    }

    /// The session that the caller means, if it is another one.
    fn stranger(&self, headers: &HeaderMap) -> Option<String> {
        let mut given = EXPECTED_SESSION_HEADERS.into_iter();
        let given = given.find_map(|name| headers.get(name))?.as_bytes();
        (given != self.rules.session.0.as_bytes())
            .then(|| String::from_utf8_lossy(given).into_owned())
    }
}

fn version(request: &Request, reached: Option<&Reached>) -> ApiVersion {
    let accepts = request.headers().get_all(header::ACCEPT);
    let mut accepts = accepts.iter().filter_map(|accept| accept.to_str().ok());
    accepts
        .find_map(ApiVersion::accepted)
        .unwrap_or_else(|| match reached {
            Some(reached) => reached.version(),
            None => ApiVersion::of_path(request.uri().path()),
        })
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
