//! The page: the farm in a browser. This family sends its files, which are compiled in, and nothing else: what the page
//! shows it asks the API of ClusterRunner for, as every other client does.

mod files;
#[cfg(test)]
mod tests;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::http::clusterrunner::rules::{etag_of, is_known};
use files::{ASSETS, File, INDEX};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;

/// Where the page is, with all of its addresses below.
pub(super) const TOP: &str = "/ui";

/// The page takes scripts, styles and data from its own origin, runs no script and no style that stands in HTML, and is
/// shown in no frame. So what a build prints can not become a script, whatever the page makes of it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The service that answers with the files of the page. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Page(Arc<Etags>);

/// A new version of the master has other files under the same names, so browsers ask each time.
#[derive(Debug)]
struct Etags {
    index: HeaderValue,
    /// In the order of [`ASSETS`].
    assets: Vec<HeaderValue>,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// The page, from elsewhere.
    Top,
    /// The page at one of its addresses, such as `/ui/builds/12`. Which of them there are only the page knows.
    Index,
    /// The asset with this place in [`ASSETS`].
    Asset(usize),
    Nothing,
}

impl Default for Page {
    fn default() -> Self {
        Self(Arc::new(Etags {
            index: etag_of(INDEX.bytes),
            assets: ASSETS.iter().map(|(_, file)| etag_of(file.bytes)).collect(),
        }))
    }
}

impl Page {
    fn answer(&self, method: &Method, path: &str, asked: &HeaderMap) -> Response {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let allow = [(ALLOW, "GET, HEAD")];
            let error = "The page takes only GET and HEAD.\n";
            return (StatusCode::METHOD_NOT_ALLOWED, allow, error).into_response();
        }
        let mut response = match found(path) {
            Found::Top => {
                let top = [(LOCATION, HeaderValue::from_static("/ui/"))];
                (StatusCode::SEE_OTHER, top).into_response()
            }
            Found::Index => file(&INDEX, &self.0.index, asked),
            Found::Asset(place) => file(&ASSETS[place].1, &self.0.assets[place], asked),
            Found::Nothing => {
                let error = "The page has no such file.\n";
                (StatusCode::NOT_FOUND, error).into_response()
            }
        };
        if *method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }
}

impl Service<Request> for Page {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let answer = self.answer(request.method(), request.uri().path(), request.headers());
        ready(Ok(protected(answer)))
    }
}

fn found(path: &str) -> Found {
    let Some(below) = path.strip_prefix(TOP) else {
        return Found::Top;
    };
    match below.strip_prefix("/assets") {
        Some("" | "/") => Found::Nothing,
        Some(name) if name.starts_with('/') => {
            let mut assets = ASSETS.iter();
            let place = assets.position(|(asset, _)| *asset == &name[1..]);
            place.map_or(Found::Nothing, Found::Asset)
        }
        Some(_) | None if below.starts_with('/') => Found::Index,
        Some(_) | None => Found::Top,
    }
}

/// A file, or 304 where the browser has it already.
fn file(file: &File, etag: &HeaderValue, asked: &HeaderMap) -> Response {
    let headers = [
        (ETAG, etag.clone()),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    let is_known =
        asked.contains_key(IF_NONE_MATCH) && etag.to_str().is_ok_and(|etag| is_known(asked, etag));
    if is_known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let kind = [(CONTENT_TYPE, HeaderValue::from_static(file.kind))];
    (headers, kind, Bytes::from_static(file.bytes)).into_response()
}

/// An answer with the headers that say what a browser may do with it.
fn protected(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
