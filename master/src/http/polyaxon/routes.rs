//! The routes, without a slash at their end.

use super::{Api, stopping, versions};
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

/// A build.
const BUILD: &str = "/api/v1/{user}/{project}/builds/{build}";

/// All routes.
pub(super) fn routes() -> Router<Arc<Api>> {
    let of_build = |rest: &str| format!("{BUILD}{rest}");
    Router::new()
        .route("/api/v1/versions/{part}", get(versions::version))
        .route(&of_build("/stop"), post(stopping::stop))
}
