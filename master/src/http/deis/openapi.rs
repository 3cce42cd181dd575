//! What this API can be asked, for `/v2/openapi.json`. Bodies of answers are those of the Deis controller, version 1.

use super::gate::OPEN;
use crate::http::openapi::{Described, Row, rows};

/// What any operation may be refused with.
const REFUSALS: &[u16] = &[400, 401, 403, 404, 405, 408, 413, 429, 500, 503, 507];

/// The page of a list.
const PAGE: &str = "page?: string";

/// All operations.
#[rustfmt::skip]
const OPERATIONS: &[Row] = &[
    ("post", "/v1/auth/register", "Register a user", "", Some("username: string, password: string, email?: string, first_name?: string, last_name?: string"), &[201]),
    ("post", "/v1/auth/login", "Log in", "", Some("username: string, password: string"), &[200]),
    ("post", "/v1/auth/passwd", "Change one's password", "", Some("password: string, new_password: string"), &[200]),
    ("delete", "/v1/auth/cancel", "Delete one's account", "", None, &[204]),
    ("get", "/v1/keys", "List one's SSH keys", PAGE, None, &[200]),
    ("post", "/v1/keys", "Add an SSH key", "", Some("id: string, public: string"), &[201]),
    ("get", "/v1/keys/{id}", "One SSH key", "", None, &[200]),
    ("delete", "/v1/keys/{id}", "Remove an SSH key", "", None, &[204]),
    ("get", "/v1/admin/perms", "List the superusers", PAGE, None, &[200]),
    ("post", "/v1/admin/perms", "Make a user a superuser", "", Some("username: string"), &[201]),
    ("delete", "/v1/admin/perms/{user}", "Make a superuser a user", "", None, &[204]),
    ("post", "/v1/hooks/push", "Record a push, as builders do", "", Some("receive_user: string, receive_repo: string"), &[200, 201]),
    ("post", "/v1/hooks/config", "The variables of an app, as builders ask", "", Some("receive_user: string, receive_repo: string"), &[200]),
    ("post", "/v1/hooks/build", "Release what was built, as builders do", "", Some("receive_user: string, receive_repo: string, image: string"), &[200]),
    ("get", "/v1/apps", "List the apps", PAGE, None, &[200]),
    ("post", "/v1/apps", "Create an app", "", Some("id?: string"), &[201]),
    ("get", "/v1/apps/{app}", "One app", "", None, &[200]),
    ("delete", "/v1/apps/{app}", "Destroy an app", "", None, &[204]),
    ("get", "/v1/apps/{app}/config", "The configuration of an app", "", None, &[200]),
    ("post", "/v1/apps/{app}/config", "Change the configuration: a null takes a value away", "", Some("values?: any, memory?: any, cpu?: any, tags?: any"), &[201]),
    ("get", "/v1/apps/{app}/builds", "List what was deployed", PAGE, None, &[200]),
    ("post", "/v1/apps/{app}/builds", "Deploy an image or a template", "", Some("image: string, sha?: string, procfile?: any, dockerfile?: string"), &[201]),
    ("get", "/v1/apps/{app}/builds/{uuid}", "What was deployed once", "", None, &[200]),
    ("get", "/v1/apps/{app}/releases", "List the releases", PAGE, None, &[200]),
    ("post", "/v1/apps/{app}/releases/rollback", "Make an earlier release the newest", "", Some("version?: any"), &[201]),
    ("get", "/v1/apps/{app}/releases/{version}", "One release", "", None, &[200]),
    ("get", "/v1/apps/{app}/containers", "List the processes of an app", PAGE, None, &[200]),
    ("get", "/v1/apps/{app}/containers/{type}", "List the processes of a type", PAGE, None, &[200]),
    ("get", "/v1/apps/{app}/containers/{type}/{num}", "One process", "", None, &[200]),
    ("post", "/v1/apps/{app}/scale", "Say how many of each process type run", "", Some(""), &[204]),
    ("post", "/v1/apps/{app}/run", "Run a command to its end", "", Some("command: string"), &[200]),
    ("get", "/v1/apps/{app}/logs", "The last lines of the log", "log_lines?: string", None, &[200, 204]),
    ("get", "/v1/apps/{app}/domains", "List the domains", PAGE, None, &[200]),
    ("post", "/v1/apps/{app}/domains", "Add a domain", "", Some("domain: string"), &[201]),
    ("delete", "/v1/apps/{app}/domains/{domain}", "Remove a domain", "", None, &[204]),
    ("get", "/v1/apps/{app}/perms", "List who shares an app", "", None, &[200]),
    ("post", "/v1/apps/{app}/perms", "Share an app", "", Some("username: string"), &[201]),
    ("delete", "/v1/apps/{app}/perms/{user}", "Share an app no more", "", None, &[204]),
    ("post", "/v1/apps/{app}/perms/{user}", "The same", "", None, &[204]),
];

/// The operations with their proofs.
pub(in crate::http) fn described() -> Vec<Described> {
    let proofs = |_: &str, path: &str| -> &'static [&'static str] {
        match path {
            open if OPEN.contains(&open) => &[""],
            hook if hook.starts_with(super::hooks::HOOKS) => &["deis_builder", "signature"],
            _ => &["deis", "signature"],
        }
    };
    rows(OPERATIONS, REFUSALS, proofs)
}
