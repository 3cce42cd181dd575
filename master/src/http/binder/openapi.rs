//! What this API can be asked, for `/v2/openapi.json`. Bodies of answers are those of Binder.

use crate::http::openapi::{Described, Row, rows};

/// What any operation may be refused with.
const REFUSALS: &[u16] = &[400, 403, 404, 405, 408, 409, 413, 422, 500, 503, 507];

/// What a build is asked for with.
const BUILD: Option<&str> =
    Some("repository?: string, repo?: string, branch?: string, commit?: string, force?: any");

/// All operations. Where ClusterRunner's API has the path too, the slash at the end tells them apart.
#[rustfmt::skip]
const OPERATIONS: &[Row] = &[
    ("get", "/builds/", "List the builds of templates", "", None, &[200]),
    ("post", "/builds/", "Build a template of a repository", "", BUILD, &[200, 201, 202]),
    ("post", "/builds/repo", "The same", "", BUILD, &[200, 201, 202]),
    ("get", "/builds/repo", "The name of no template: refused, as by Binder", "", None, &[]),
    ("get", "/builds/{name}", "The newest build of a name", "", None, &[200]),
    ("get", "/templates", "List the templates", "", None, &[200]),
    ("get", "/templates/{name}", "One template", "", None, &[200]),
    ("get", "/applications", "List what was launched", "", None, &[200]),
    ("post", "/applications", "Launch a template", "", Some("template?: string, name?: string"), &[200, 201]),
    ("get", "/applications/{template}", "List what was launched of a template", "", None, &[200]),
    ("post", "/applications/{template}", "Launch this template", "", Some(""), &[200, 201]),
    ("get", "/applications/{template}/{id}", "One that was launched", "", None, &[200]),
    ("delete", "/applications/{template}/{id}", "Stop one", "", None, &[200, 202]),
    ("get", "/preload/{template}", "Which slaves have a template", "", None, &[200]),
    ("post", "/preload/{template}", "Have the slaves fetch a template", "", Some(""), &[200, 201, 202]),
    ("get", "/health", "Whether the farm is well", "", None, &[200]),
];

/// The operations with their proofs.
pub(in crate::http) fn described() -> Vec<Described> {
    let proofs = |method: &str, path: &str| -> &'static [&'static str] {
        match (method, path) {
            // Where the settings do not ask for more.
            ("get", "/builds/{name}" | "/templates/{name}" | "/applications/{template}/{id}")
            | ("post", "/applications" | "/applications/{template}") => &["", "binder"],
            _ => &["binder"],
        }
    };
    rows(OPERATIONS, REFUSALS, proofs)
}
