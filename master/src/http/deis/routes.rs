//! The routes, without a slash at their end.

use super::{Api, admin, auth, keys};
use axum::Router;
use axum::routing::{delete, get, post};
use std::sync::Arc;

/// All routes.
pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/v1/auth/register", post(auth::register))
        .route("/v1/auth/login", post(auth::log_in))
        .route("/v1/auth/passwd", post(auth::change_password))
        .route("/v1/auth/cancel", delete(auth::cancel))
        .route("/v1/keys", get(keys::list).post(keys::add))
        .route("/v1/keys/{*id}", get(keys::key).delete(keys::remove))
        .route("/v1/admin/perms", get(admin::superusers).post(admin::grant))
        .route("/v1/admin/perms/{user}", delete(admin::revoke))
}
