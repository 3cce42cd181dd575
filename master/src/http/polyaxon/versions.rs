//! What versions of the clients this API serves.

use super::error::PolyaxonError;
use axum::Json;
use axum::extract::Path;
use serde_json::{Value, json};

/// The newest version of the clients that this API was tried with.
const LATEST: &str = "0.6.1";

/// A higher one would make older clients refuse to work.
const OLDEST: &str = "0.0.1";

/// The version of one part of the platform.
pub(super) async fn version(Path(part): Path<String>) -> Result<Json<Value>, PolyaxonError> {
    match part.as_str() {
        "cli" | "platform" | "lib" => Ok(Json(
            json!({"latest_version": LATEST, "min_version": OLDEST}),
        )),
        "chart" => Ok(Json(json!({"version": LATEST}))),
        _ => Err(PolyaxonError::NotFound),
    }
}

/// Where clients of 2018 would send their own errors: nowhere. They do not take null for any of these.
pub(super) async fn log_handler() -> Json<Value> {
    Json(json!({
        "dsn": "",
        "environment": "production",
        "tags": {"version": env!("CARGO_PKG_VERSION")},
    }))
}
