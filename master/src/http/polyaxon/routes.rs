//! The routes, without a slash at their end.

use super::{
    Api, bookmarks, builds, changing, code, log_stream, logs, projects, statuses, stopping,
    submitting, users, versions,
};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use std::sync::Arc;

/// The builds of a project.
const BUILDS: &str = "/api/v1/{user}/{project}/builds";

/// A build.
const BUILD: &str = "/api/v1/{user}/{project}/builds/{build}";

/// A project.
const PROJECT: &str = "/api/v1/{user}/{project}";

/// A build, for the web sockets of clients before version 0.5.
const BUILD_OF_SOCKETS: &str = "/ws/v1/{user}/{project}/builds/{build}";

/// The same behind proxies that take the first part away.
const BUILD_BEHIND_PROXIES: &str = "/v1/{user}/{project}/builds/{build}";

/// Projects, who works on them, and what users mark.
fn of_projects() -> Router<Arc<Api>> {
    let of_build = |rest: &str| format!("{BUILD}{rest}");
    let of_project = |rest: &str| format!("{PROJECT}{rest}");
    Router::new()
        .route("/api/v1/projects", post(projects::create))
        .route("/api/v1/bookmarks/{user}/{kind}", get(bookmarks::list))
        .route("/api/v1/{user}", get(projects::list))
        .route(
            PROJECT,
            get(projects::project)
                .patch(projects::change)
                .put(projects::change)
                .delete(projects::delete),
        )
        .route(&of_project("/collaborators"), get(projects::collaborators))
        .route(
            &of_project("/collaborators/{collaborator}"),
            put(projects::share).delete(projects::unshare),
        )
        .route(
            &of_project("/bookmark"),
            post(bookmarks::mark_project).delete(bookmarks::unmark_project),
        )
        .route(
            &of_project("/unbookmark"),
            post(bookmarks::unmark_project).delete(bookmarks::unmark_project),
        )
        .route(
            &of_build("/bookmark"),
            post(bookmarks::mark_build).delete(bookmarks::unmark_build),
        )
        .route(
            &of_build("/unbookmark"),
            post(bookmarks::unmark_build).delete(bookmarks::unmark_build),
        )
}

/// All routes.
pub(super) fn routes() -> Router<Arc<Api>> {
    let of_build = |rest: &str| format!("{BUILD}{rest}");
    let mut sockets = Router::new();
    for build in [BUILD_OF_SOCKETS, BUILD_BEHIND_PROXIES] {
        sockets = sockets
            .route(&format!("{build}/logs"), get(log_stream::logs))
            .route(&format!("{build}/resources"), get(log_stream::resources));
    }
    let of_project = |rest: &str| format!("{PROJECT}{rest}");
    of_projects()
        .route("/api/v1/versions/{part}", get(versions::version))
        .route("/api/v1/log_handler", get(versions::log_handler))
        .route("/api/v1/users", get(users::me))
        .route("/api/v1/users/token", post(users::log_in))
        .route(
            "/api/v1/users/logout",
            get(users::log_out).post(users::log_out),
        )
        .route("/api/v1/users/activate/{name}", post(users::activate))
        .route("/api/v1/users/delete/{name}", delete(users::delete))
        .route("/api/v1/superusers/grant/{name}", post(users::grant))
        .route("/api/v1/superusers/revoke/{name}", post(users::revoke))
        .route(
            &of_project("/repo/upload"),
            put(code::upload).layer(DefaultBodyLimit::disable()),
        )
        .route(&of_project("/repo/download"), get(code::download))
        .route(BUILDS, get(builds::of_project).post(submitting::submit))
        .route(
            BUILD,
            get(builds::build)
                .patch(changing::describe)
                .put(changing::describe)
                .delete(changing::delete),
        )
        .route(
            &of_build("/statuses"),
            get(statuses::list).post(statuses::post),
        )
        .route(&of_build("/statuses/{uuid}"), get(statuses::one))
        .route(&of_build("/stop"), post(stopping::stop))
        .route(&of_build("/logs"), get(logs::so_far))
        .route(&of_build("/logs/stream"), get(log_stream::logs))
        .route(&of_build("/resources"), get(log_stream::resources))
        .merge(sockets)
}

/// Whether a path is one of a web socket, where tokens may come in the query, and are refused in other words.
pub(super) fn is_socket(path: &str) -> bool {
    if path.starts_with("/ws/") {
        return true;
    }
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    matches!(
        parts[..],
        ["api", "v1", _, _, "builds", _, "logs", "stream"]
            | ["api", "v1", _, _, "builds", _, "resources"]
            | ["v1", _, _, "builds", _, "logs" | "resources"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_web_sockets_are_known() {
        for path in [
            "/ws/v1/ann/hill/builds/1/logs",
            "/api/v1/ann/hill/builds/1/logs/stream",
            "/api/v1/ann/hill/builds/1/resources",
            "/v1/ann/hill/builds/1/logs",
        ] {
            assert!(is_socket(path), "{path}");
        }
        for path in [
            "/api/v1/ann/hill/builds/1/logs",
            "/api/v1/ann/hill",
            "/v1/ann/hill/builds/1",
            "/wsx/v1",
            "/",
        ] {
            assert!(!is_socket(path), "{path}");
        }
    }
}
