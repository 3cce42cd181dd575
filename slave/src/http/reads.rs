//! What can be read of a slave without the secret.

use super::api::{Api, Ids};
use super::error::ApiError;
use crate::coordinator::WorkView;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use clusterrunner_common::api::{ExecutorView, SlaveStatusBody, SlaveStatusView, VersionBody};
use clusterrunner_common::http::clusterrunner::routes::Reached;
use clusterrunner_common::http::clusterrunner::version::ApiVersion;
use clusterrunner_common::ids::ExecutorIndex;
use serde::Serialize;
use serde_json::{Value, json};

/// `{"executors": [...]}`.
#[derive(Serialize)]
pub(super) struct ExecutorsBody {
    executors: Vec<ExecutorView>,
}

/// `{"executor": ...}`.
#[derive(Serialize)]
pub(super) struct ExecutorBody {
    executor: ExecutorView,
}

pub(super) async fn status(State(api): State<Api>) -> Json<SlaveStatusBody> {
    let WorkView {
        executors,
        current_build,
        is_stopping,
    } = api.work.view();
    Json(SlaveStatusBody {
        slave: SlaveStatusView {
            is_alive: !is_stopping && !api.stop.is_cancelled(),
            master_url: api.master_url,
            current_build_id: current_build,
            slave_id: api.registration.id(),
            executors,
            session_id: api.session,
        },
    })
}

pub(super) async fn version(version: ApiVersion) -> Json<VersionBody> {
    Json(VersionBody {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api_version: version.number(),
    })
}

/// The latest events: `?since_id` or `?since_timestamp`.
pub(super) async fn events(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    version: ApiVersion,
    reached: Reached,
) -> Response {
    api.events
        .answer(query.as_deref(), reached.children(version))
        .await
}

/// What the original says to a GET of a subjob.
pub(super) async fn nothing_to_read() -> Json<Value> {
    Json(json!({"comment": "not implemented"}))
}

pub(super) async fn executors(State(api): State<Api>) -> Json<ExecutorsBody> {
    Json(ExecutorsBody {
        executors: api.work.view().executors,
    })
}

pub(super) async fn executor(
    State(api): State<Api>,
    Ids(wanted): Ids<ExecutorIndex>,
) -> Result<Json<ExecutorBody>, ApiError> {
    let executors = api.work.view().executors;
    let found = executors.into_iter().find(|executor| executor.id == wanted);
    match found {
        Some(executor) => Ok(Json(ExecutorBody { executor })),
        None => Err(ApiError::UnknownExecutor(wanted)),
    }
}
