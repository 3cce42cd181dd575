//! Whether the master is well, for programs that watch it.

use super::Api;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::http::refusal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A master whose journal does not come to an answer within this time takes no work.
const PATIENCE: Duration = Duration::from_secs(5);

const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// The process answers.
pub(super) async fn alive() -> ([(HeaderName, &'static str); 1], Json<Value>) {
    (NO_STORE, Json(json!({"status": "ok"})))
}

/// The journal and the disk can take work.
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Response {
    match reason_against(&api).await {
        None => (NO_STORE, Json(json!({"status": "ok"}))).into_response(),
        Some(reason) => {
            (NO_STORE, refusal(StatusCode::SERVICE_UNAVAILABLE, reason)).into_response()
        }
    }
}

async fn reason_against(api: &Api) -> Option<String> {
    if let Err(short) = api.space.check(0) {
        return Some(format!("{short}."));
    }
    // A look has its turn between two writes to the journal, and has none when the journal has failed.
    let looked = timeout(PATIENCE, api.cluster.read(|_| ())).await;
    match looked {
        Ok(Ok(())) => None,
        Ok(Err(gone)) => Some(format!("{gone}.")),
        Err(_) => Some(format!(
            "The journal has not come to an end of its last writing for {} s.",
            PATIENCE.as_secs()
        )),
    }
}
