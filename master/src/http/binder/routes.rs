//! The routes, without a slash at their end.

use super::{Api, applications, builds, health, preload, templates};
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;

/// All routes.
pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/builds", get(builds::all).post(builds::start))
        // The name of no template.
        .route("/builds/repo", post(builds::start).get(builds::none))
        .route("/builds/{name}", get(builds::one))
        .route("/templates", get(templates::all))
        .route("/templates/{name}", get(templates::one))
        .route(
            "/applications",
            get(applications::all).post(applications::launch),
        )
        .route(
            "/applications/{template}",
            get(applications::of_template).post(applications::launch_named),
        )
        .route(
            "/applications/{template}/{id}",
            get(applications::one).delete(applications::stop),
        )
        .route(
            "/preload/{template}",
            get(preload::state).post(preload::begin),
        )
        .route("/health", get(health::health))
}
