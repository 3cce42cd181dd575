//! The routes, without a slash at their end.

use super::{Api, builds, code, statuses, stopping, versions};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use std::sync::Arc;

/// The builds of a project.
const BUILDS: &str = "/api/v1/{user}/{project}/builds";

/// A build.
const BUILD: &str = "/api/v1/{user}/{project}/builds/{build}";

/// A project.
const PROJECT: &str = "/api/v1/{user}/{project}";

/// All routes.
pub(super) fn routes() -> Router<Arc<Api>> {
    let of_build = |rest: &str| format!("{BUILD}{rest}");
    let of_project = |rest: &str| format!("{PROJECT}{rest}");
    Router::new()
        .route("/api/v1/versions/{part}", get(versions::version))
        .route("/api/v1/log_handler", get(versions::log_handler))
        .route(
            &of_project("/repo/upload"),
            put(code::upload).layer(DefaultBodyLimit::disable()),
        )
        .route(&of_project("/repo/download"), get(code::download))
        .route(BUILDS, get(builds::of_project))
        .route(BUILD, get(builds::build))
        .route(
            &of_build("/statuses"),
            get(statuses::list).post(statuses::post),
        )
        .route(&of_build("/statuses/{uuid}"), get(statuses::one))
        .route(&of_build("/stop"), post(stopping::stop))
}
