//! The master's HTTP interface: routes, and what they share.

mod builds;
mod console;
mod downloads;
mod error;
mod reads;
mod slaves;
#[cfg(test)]
mod tests;
mod uploads;

use crate::coordinator::ClusterHandle;
use crate::results::Results;
use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use clusterrunner_common::caller::Caller;
use clusterrunner_common::http::refusal;
use clusterrunner_common::ids::SessionId;
use clusterrunner_common::signed::Gate;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// What handlers need.
#[derive(Clone, Debug)]
pub struct Api {
    /// The way to the cluster.
    pub cluster: ClusterHandle,
    /// Where results lie.
    pub results: Results,
    /// For the consoles of running atoms, which slaves have.
    pub caller: Caller,
    /// The life of this process.
    pub session: SessionId,
    /// Whether builds may name repositories of this machine by path.
    pub allow_local_sources: bool,
}

/// The requests for which the documented digest of the body alone is enough: submitting a build
/// and changing one.
pub fn takes_body_digest(method: &Method, path: &str) -> bool {
    let path = path.strip_prefix("/v1").unwrap_or(path);
    match *method {
        Method::POST => path == "/build",
        Method::PUT => path
            .strip_prefix("/build/")
            .is_some_and(|id| !id.contains('/')),
        _ => false,
    }
}

/// All routes, behind the gate. The documentation's paths without a version answer as their `/v1`
/// forms do.
pub fn router(api: Api, gate: &Arc<Gate>) -> Router {
    let builds = Router::new()
        .route("/build", get(reads::builds).post(builds::submit))
        .route("/build/{build}", get(reads::build).put(builds::change))
        .route("/build/{build}/result", get(downloads::redirect))
        .route("/build/{build}/artifacts.tar.gz", get(downloads::tar))
        .route("/build/{build}/artifacts.zip", get(downloads::zip))
        .route("/build/{build}/subjob", get(reads::subjobs))
        .route("/build/{build}/subjob/{subjob}", get(reads::subjob))
        .route("/build/{build}/subjob/{subjob}/atom", get(reads::atoms))
        .route(
            "/build/{build}/subjob/{subjob}/atom/{atom}",
            get(reads::atom),
        )
        .route(
            "/build/{build}/subjob/{subjob}/atom/{atom}/console",
            get(console::console),
        )
        .route("/queue", get(reads::queue))
        .route("/version", get(reads::version));
    let slaves = Router::new()
        .route("/slave", get(reads::slaves).post(slaves::connect))
        .route("/slave/shutdown", post(slaves::shut_down_some))
        .route("/slave/{slave}/shutdown", post(slaves::shut_down))
        .route("/slave/{slave}", get(reads::slave).put(slaves::report))
        .route("/slave/{slave}/heartbeat", post(slaves::heartbeat))
        .route(
            "/build/{build}/subjob/{subjob}/result",
            post(uploads::receive).layer(DefaultBodyLimit::disable()),
        );
    let session = api.session.clone();
    let router = Router::new()
        .route("/v1", get(reads::master))
        .nest("/v1", builds.clone().merge(slaves))
        .merge(builds)
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "There is no such route.") })
        .method_not_allowed_fallback(|method: Method| async move {
            let error = format!("This route does not take {method}.");
            refusal(StatusCode::METHOD_NOT_ALLOWED, error)
        })
        .with_state(api);
    gate.guard(router)
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let session = session.clone();
            async move { with_session(&session, request, next).await }
        }))
}

/// Refuses a request that is meant for an earlier life of this process, before anything else, and
/// says on every answer which life this is.
async fn with_session(session: &SessionId, request: Request, next: Next) -> Response {
    let expected = ["session-id", "expected-session-id"]
        .into_iter()
        .find_map(|name| request.headers().get(name))
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let mut response = match expected {
        Some(expected) if expected != session.0 => refusal(
            StatusCode::PRECONDITION_FAILED,
            format!("Specified session id: {expected} has expired and is invalid."),
        ),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&session.0) {
        headers.insert("session-id", value);
    }
    headers.insert("api-version", HeaderValue::from_static("1"));
    response
}

/// The ids in a path; anything that is no number is refused as JSON.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(ids)) => Ok(Self(ids)),
            Err(error) => {
                let message = format!("Ids in a path are whole numbers: {}.", error.body_text());
                Err(refusal(StatusCode::BAD_REQUEST, message))
            }
        }
    }
}
