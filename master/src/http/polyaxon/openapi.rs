//! What this API can be asked, for `/v2/openapi.json`. Bodies of answers are those of Polyaxon, version 1.

use crate::http::openapi::{Described, Row, rows};

/// What any operation may be refused with.
const REFUSALS: &[u16] = &[400, 401, 403, 404, 405, 408, 409, 413, 429, 500, 503, 507];

/// The page of a list.
const PAGE: &str = "limit?: integer, offset?: integer";

/// The page of a list of builds, and which of them.
const BUILDS: &str = "limit?: integer, offset?: integer, sort?: string, query?: string";

/// What may be said of a build.
const BUILD: Option<&str> = Some("name?: any, description?: any, tags?: any, merge?: any");

/// What may be said of a project.
const PROJECT: Option<&str> =
    Some("name?: any, description?: any, tags?: any, is_public?: any, git_url?: any");

/// All operations.
#[rustfmt::skip]
const OPERATIONS: &[Row] = &[
    ("get", "/api/v1/versions/{part}", "Which versions go together", "", None, &[200]),
    ("get", "/api/v1/log_handler", "Where errors of clients go: nowhere", "", None, &[200]),
    ("get", "/api/v1/users", "Who asks", "", None, &[200]),
    ("post", "/api/v1/users/token", "Log in", "", Some("username: string, password: string"), &[200]),
    ("get", "/api/v1/users/logout", "Log out", "", None, &[200]),
    ("post", "/api/v1/users/logout", "Log out", "", None, &[200]),
    ("post", "/api/v1/users/activate/{name}", "Let a user log in", "", None, &[200]),
    ("delete", "/api/v1/users/delete/{name}", "Delete a user", "", None, &[204]),
    ("post", "/api/v1/superusers/grant/{name}", "Make a user a superuser", "", None, &[200]),
    ("post", "/api/v1/superusers/revoke/{name}", "Make a superuser a user", "", None, &[200]),
    ("post", "/api/v1/projects", "Create a project", "", PROJECT, &[201]),
    ("get", "/api/v1/bookmarks/{user}/{kind}", "What a user has marked", PAGE, None, &[200]),
    ("get", "/api/v1/{user}", "List the projects of a user", PAGE, None, &[200]),
    ("get", "/api/v1/{user}/{project}", "One project", "", None, &[200]),
    ("patch", "/api/v1/{user}/{project}", "Change a project", "", PROJECT, &[200]),
    ("put", "/api/v1/{user}/{project}", "Change a project", "", PROJECT, &[200]),
    ("delete", "/api/v1/{user}/{project}", "Delete a project", "", None, &[204]),
    ("get", "/api/v1/{user}/{project}/collaborators", "List who shares a project", "", None, &[200]),
    ("put", "/api/v1/{user}/{project}/collaborators/{collaborator}", "Share a project", "", None, &[204]),
    ("delete", "/api/v1/{user}/{project}/collaborators/{collaborator}", "Share a project no more", "", None, &[204]),
    ("post", "/api/v1/{user}/{project}/bookmark", "Mark a project", "", None, &[201]),
    ("delete", "/api/v1/{user}/{project}/bookmark", "Mark a project no more", "", None, &[204]),
    ("post", "/api/v1/{user}/{project}/unbookmark", "Mark a project no more", "", None, &[204]),
    ("delete", "/api/v1/{user}/{project}/unbookmark", "Mark a project no more", "", None, &[204]),
    ("put", "/api/v1/{user}/{project}/repo/upload", "Upload code, as a form with an archive", "", None, &[200]),
    ("get", "/api/v1/{user}/{project}/repo/download", "The code as an archive", "commit?: string", None, &[200]),
    ("get", "/api/v1/{user}/{project}/builds", "List the builds of a project", BUILDS, None, &[200]),
    ("post", "/api/v1/{user}/{project}/builds", "Submit a build", "", Some("config?: any, name?: any, description?: any, tags?: any"), &[201]),
    ("get", "/api/v1/{user}/{project}/builds/{build}", "One build", "", None, &[200]),
    ("patch", "/api/v1/{user}/{project}/builds/{build}", "Describe a build", "", BUILD, &[200]),
    ("put", "/api/v1/{user}/{project}/builds/{build}", "Describe a build", "", BUILD, &[200]),
    ("delete", "/api/v1/{user}/{project}/builds/{build}", "Delete a build", "", None, &[204]),
    ("get", "/api/v1/{user}/{project}/builds/{build}/statuses", "List the statuses of a build", PAGE, None, &[200]),
    ("post", "/api/v1/{user}/{project}/builds/{build}/statuses", "Add a status", "", Some("status: string, message?: any, traceback?: any"), &[201]),
    ("get", "/api/v1/{user}/{project}/builds/{build}/statuses/{uuid}", "One status", "", None, &[200]),
    ("post", "/api/v1/{user}/{project}/builds/{build}/stop", "Stop a build", "", None, &[200]),
    ("get", "/api/v1/{user}/{project}/builds/{build}/logs", "What a build has printed", "", None, &[200]),
    ("get", "/api/v1/{user}/{project}/builds/{build}/logs/stream", "The same as it comes, by a web socket", "token?: string", None, &[101]),
    ("get", "/api/v1/{user}/{project}/builds/{build}/resources", "What a build uses, by a web socket", "token?: string", None, &[101]),
    ("post", "/api/v1/{user}/{project}/builds/{build}/bookmark", "Mark a build", "", None, &[201]),
    ("delete", "/api/v1/{user}/{project}/builds/{build}/bookmark", "Mark a build no more", "", None, &[204]),
    ("post", "/api/v1/{user}/{project}/builds/{build}/unbookmark", "Mark a build no more", "", None, &[204]),
    ("delete", "/api/v1/{user}/{project}/builds/{build}/unbookmark", "Mark a build no more", "", None, &[204]),
    ("get", "/ws/v1/{user}/{project}/builds/{build}/logs", "What a build prints, as clients before version 0.5 ask", "token?: string", None, &[101]),
    ("get", "/ws/v1/{user}/{project}/builds/{build}/resources", "What a build uses, as clients before version 0.5 ask", "token?: string", None, &[101]),
    ("get", "/v1/{user}/{project}/builds/{build}/logs", "The same behind some proxies", "token?: string", None, &[101]),
    ("get", "/v1/{user}/{project}/builds/{build}/resources", "The same behind some proxies", "token?: string", None, &[101]),
];

/// The operations with their proofs.
pub(in crate::http) fn described() -> Vec<Described> {
    let proofs = |_: &str, path: &str| -> &'static [&'static str] {
        match path {
            "/api/v1/versions/{part}" | "/api/v1/users/token" => &[""],
            _ => &["polyaxon"],
        }
    };
    rows(OPERATIONS, REFUSALS, proofs)
}
