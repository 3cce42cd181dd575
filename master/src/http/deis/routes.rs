//! The routes, without a slash at their end.

use super::{
    Api, admin, apps, auth, builds, config, containers, domains, hooks, keys, logs, perms,
    releases, run,
};
use axum::Router;
use axum::routing::{delete, get, post};
use std::sync::Arc;

/// All routes.
pub(super) fn routes() -> Router<Arc<Api>> {
    of_users().merge(of_apps())
}

/// Users, their SSH keys, and who manages them.
fn of_users() -> Router<Arc<Api>> {
    Router::new()
        .route("/v1/auth/register", post(auth::register))
        .route("/v1/auth/login", post(auth::log_in))
        .route("/v1/auth/passwd", post(auth::change_password))
        .route("/v1/auth/cancel", delete(auth::cancel))
        .route("/v1/keys", get(keys::list).post(keys::add))
        .route("/v1/keys/{*id}", get(keys::key).delete(keys::remove))
        .route("/v1/admin/perms", get(admin::superusers).post(admin::grant))
        .route("/v1/admin/perms/{user}", delete(admin::revoke))
        .route("/v1/hooks/push", post(hooks::push))
        .route("/v1/hooks/config", post(hooks::config))
        .route("/v1/hooks/build", post(hooks::build))
}

/// Apps and what belongs to them.
fn of_apps() -> Router<Arc<Api>> {
    let of_app = |rest: &str| format!("/v1/apps/{{app}}{rest}");
    Router::new()
        .route("/v1/apps", get(apps::list).post(apps::create))
        .route(&of_app(""), get(apps::app).delete(apps::delete))
        .route(&of_app("/config"), get(config::newest).post(config::change))
        .route(&of_app("/builds"), get(builds::list).post(builds::create))
        .route(&of_app("/builds/{uuid}"), get(builds::build))
        .route(&of_app("/releases"), get(releases::list))
        .route(&of_app("/releases/rollback"), post(releases::roll_back))
        .route(&of_app("/releases/{version}"), get(releases::release))
        .route(&of_app("/containers"), get(containers::list))
        .route(&of_app("/containers/{type}"), get(containers::of_type))
        .route(&of_app("/containers/{type}/{num}"), get(containers::one))
        .route(&of_app("/scale"), post(containers::scale))
        .route(&of_app("/run"), post(run::run))
        .route(&of_app("/logs"), get(logs::last))
        .route(&of_app("/domains"), get(domains::list).post(domains::add))
        .route(&of_app("/domains/{domain}"), delete(domains::remove))
        .route(&of_app("/perms"), get(perms::list).post(perms::add))
        .route(
            &of_app("/perms/{user}"),
            delete(perms::remove).post(perms::remove),
        )
}
