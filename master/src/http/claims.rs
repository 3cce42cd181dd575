//! Which API owns a request. What the request means is for the API to say.

use super::page;
use crate::push::app_in;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use clusterrunner_common::auth::signature::{
    BODY_DIGEST_HEADER, CONTENT_DIGEST_HEADER, SIGNATURE_HEADER,
};
use serde_json::Value;

/// An API of the farm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// The API of ClusterRunner, versions 1 and 2.
    ClusterRunner,
    /// The build-job API of Polyaxon, version 1.
    Polyaxon,
    /// The API of Binder.
    Binder,
    /// The API of the Deis controller, version 1.
    Deis,
    /// git's own: the code of apps.
    Git,
    /// The page for browsers.
    Page,
}

/// Paths and the API that owns them with all that is below. The first entry that fits counts.
const CLAIMS: [(&str, Family); 14] = [
    ("/api/v1", Family::Polyaxon),
    ("/ws/v1", Family::Polyaxon),
    ("/v1/auth", Family::Deis),
    ("/v1/apps", Family::Deis),
    ("/v1/keys", Family::Deis),
    ("/v1/admin", Family::Deis),
    ("/v1/hooks", Family::Deis),
    ("/v1", Family::ClusterRunner),
    ("/v2", Family::ClusterRunner),
    ("/templates", Family::Binder),
    ("/applications", Family::Binder),
    ("/preload", Family::Binder),
    ("/health", Family::Binder),
    (page::TOP, Family::Page),
];

/// What ClusterRunner has in version 2, where no prefix is needed, and Binder has, too.
const SHARED: &str = "/builds";

/// The API that owns all other paths: it has paths without a version, too.
const REST: Family = Family::ClusterRunner;

/// How the value of `Accept` begins that asks for a version of ClusterRunner's API.
const CLUSTERRUNNER_MEDIA_TYPE: &str = "application/vnd.clusterrunner.v";

/// What proves a request to ClusterRunner's API.
const CLUSTERRUNNER_PROOFS: [&str; 3] =
    [BODY_DIGEST_HEADER, SIGNATURE_HEADER, CONTENT_DIGEST_HEADER];

/// The fields of a body that ask Binder for a build.
const BINDER_FIELDS: [&str; 2] = ["repository", "repo"];

/// The API that owns a request. None where only the body says it, and `body` is none: then it must be read first.
#[must_use]
pub(crate) fn owner(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: Option<&[u8]>,
) -> Option<Family> {
    if is_polyaxon_socket(path) {
        return Some(Family::Polyaxon);
    }
    if is_repository(path) {
        return Some(Family::Git);
    }
    let claim = CLAIMS.iter().find(|(claimed, _)| is_below(path, claimed));
    match claim {
        Some((_, family)) => Some(*family),
        None if is_browser_at_top(method, path, headers) => Some(Family::Page),
        None if is_below(path, SHARED) => owner_of_builds(method, path, headers, body),
        None => Some(REST),
    }
}

/// Whether somebody has typed the address of the farm into a browser.
fn is_browser_at_top(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let accepted = || headers.get_all(header::ACCEPT).iter();
    let takes_html = |accepted: &HeaderValue| {
        let accepted = accepted.to_str().unwrap_or_default().to_ascii_lowercase();
        accepted.contains("text/html")
    };
    matches!(*method, Method::GET | Method::HEAD)
        && path == "/"
        && accepted().any(takes_html)
        && !asks_clusterrunner(headers)
}

/// The owner of a path at or below [`SHARED`].
fn owner_of_builds(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: Option<&[u8]>,
) -> Option<Family> {
    if asks_clusterrunner(headers) {
        return Some(Family::ClusterRunner);
    }
    if headers.contains_key(header::AUTHORIZATION) {
        return Some(Family::Binder);
    }
    let below = path.split('/').filter(|part| !part.is_empty()).nth(1);
    match (method, below) {
        (_, Some(id)) if id.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Family::ClusterRunner)
        }
        // The names of templates are never numbers.
        (_, Some(_)) => Some(Family::Binder),
        (&Method::GET | &Method::HEAD, None) if path.ends_with('/') => Some(Family::Binder),
        (&Method::POST, None) => body.map(|body| match asks_binder(body) {
            true => Family::Binder,
            false => Family::ClusterRunner,
        }),
        (_, None) => Some(Family::ClusterRunner),
    }
}

/// The name of the API that owns a path for a `GET` without headers. For fuzzers.
#[must_use]
pub(crate) fn owner_of_path(path: &str) -> &'static str {
    match owner(&Method::GET, path, &HeaderMap::new(), Some(b"")) {
        Some(Family::ClusterRunner) | None => "clusterrunner",
        Some(Family::Polyaxon) => "polyaxon",
        Some(Family::Binder) => "binder",
        Some(Family::Deis) => "deis",
        Some(Family::Git) => "git",
        Some(Family::Page) => "page",
    }
}

fn asks_clusterrunner(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|accepted| accepted.to_str().ok());
    accepted.any(|accepted| {
        let accepted = accepted.to_ascii_lowercase();
        accepted.contains(CLUSTERRUNNER_MEDIA_TYPE)
    }) || CLUSTERRUNNER_PROOFS
        .iter()
        .any(|proof| headers.contains_key(*proof))
}

fn asks_binder(body: &[u8]) -> bool {
    let body: Result<Value, _> = serde_json::from_slice(body);
    body.is_ok_and(|body| BINDER_FIELDS.iter().any(|field| body.get(field).is_some()))
}

/// Whether a path is one of the web sockets that Polyaxon has below `/v1`, too. No path of another API is like these.
fn is_polyaxon_socket(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_end_matches('/').split('/').take(8).collect();
    matches!(
        parts[..],
        ["", "v1", _, _, "builds", _, "logs" | "resources"]
    )
}

/// Whether a path is at or below `/<app>.git`. No other API has a path that begins like that.
fn is_repository(path: &str) -> bool {
    let first = path.split('/').find(|part| !part.is_empty());
    first.is_some_and(|first| app_in(first).is_some())
}

/// Whether a path is `top` or below it, by whole parts. Slashes that follow each other count as one.
fn is_below(path: &str, top: &str) -> bool {
    let parts = |path| str::split(path, '/').filter(|part| !part.is_empty());
    let mut found = parts(path);
    path.starts_with('/') && parts(top).all(|part| found.next() == Some(part))
}

#[cfg(test)]
mod tests {
    use super::Family::{Binder, ClusterRunner, Deis, Git, Page, Polyaxon};
    use super::*;
    use axum::http::HeaderName;

    fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
        let given = given.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        given.collect()
    }

    #[test]
    fn each_path_has_its_owner() {
        for (path, family) in [
            ("/", ClusterRunner),
            ("/v1/build/1", ClusterRunner),
            ("/build", ClusterRunner),
            ("/api/v1/ann/hill/builds/1", Polyaxon),
            ("/ws/v1/ann/hill/builds/1/logs", Polyaxon),
            ("/v1/ann/hill/builds/1/logs/", Polyaxon),
            ("/v1/ann/hill/builds/1", ClusterRunner),
            ("/v1/auth/login", Deis),
            ("/v1/apps", Deis),
            ("/v1/apps/", Deis),
            ("//v1//apps/hill/builds/", Deis),
            ("/v1/keys/ann@box", Deis),
            ("/v1/admin/perms", Deis),
            ("/v1/hooks/build/", Deis),
            // A project of a user who is called so.
            ("/v1/admin/hill/builds/1/logs", Polyaxon),
            ("/v1/app", ClusterRunner),
            ("/v1/appsx", ClusterRunner),
            ("/apps", ClusterRunner),
            ("/v2/apps", ClusterRunner),
            ("//api///v1//ann", Polyaxon),
            ("/api/v2", ClusterRunner),
            ("/templates", Binder),
            ("/templates/a-b", Binder),
            ("/applications/a-b/0123/", Binder),
            ("/preload/a-b", Binder),
            ("/hill-1.git/info/refs", Git),
            ("/hill-1.git", Git),
            ("/Hill.git/info/refs", ClusterRunner),
            ("/.git/config", ClusterRunner),
            ("/x/hill.git/info/refs", ClusterRunner),
            ("/health/", Binder),
            ("/healthy", ClusterRunner),
            ("/v2/templates", ClusterRunner),
            ("/v1/builds/a-b", ClusterRunner),
            ("/instances", ClusterRunner),
            ("/buildsx", ClusterRunner),
            ("/ui", Page),
            ("/ui/", Page),
            ("/ui/builds/12", Page),
            ("/uix", ClusterRunner),
            ("/v2/ui", ClusterRunner),
        ] {
            let found = owner(&Method::GET, path, &HeaderMap::new(), None);
            assert_eq!(found, Some(family), "{path}");
        }
    }

    #[test]
    fn browsers_at_the_top_get_the_page() {
        let firefox = (
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        );
        for (given, method, path, family) in [
            (&[firefox][..], "GET", "/", Page),
            (&[firefox], "HEAD", "/", Page),
            (&[JSON, firefox], "GET", "/", Page),
            (&[firefox], "POST", "/", ClusterRunner),
            (&[firefox], "GET", "/v1", ClusterRunner),
            (&[firefox], "GET", "/builds/1", ClusterRunner),
            (&[firefox, SIGNATURE], "GET", "/", ClusterRunner),
            (&[firefox, V2], "GET", "/", ClusterRunner),
            (&[JSON], "GET", "/", ClusterRunner),
            (&[("accept", "*/*")], "GET", "/", ClusterRunner),
            (&[], "GET", "/", ClusterRunner),
        ] {
            let method = method.parse().unwrap();
            let found = owner(&method, path, &headers(given), None);
            assert_eq!(found, Some(family), "{given:?} {method} {path}");
        }
    }

    const V2: (&str, &str) = ("accept", "application/vnd.clusterrunner.v2+json");
    const DIGEST: (&str, &str) = (BODY_DIGEST_HEADER, "00");
    const SIGNATURE: (&str, &str) = (SIGNATURE_HEADER, "00");
    const KEY: (&str, &str) = ("authorization", "key");
    const JSON: (&str, &str) = ("accept", "application/json");

    /// The rules by which ClusterRunner and Binder share `/builds`, in their order.
    #[test]
    fn two_apis_share_builds() {
        for (given, method, path, body, family) in [
            // 1. What only ClusterRunner's callers say.
            (&[V2][..], "GET", "/builds/", "", ClusterRunner),
            (&[V2], "GET", "/builds/a-b", "", ClusterRunner),
            (&[V2, KEY], "GET", "/builds/", "", ClusterRunner),
            (&[JSON, V2], "GET", "/builds/", "", ClusterRunner),
            (
                &[DIGEST],
                "POST",
                "/builds",
                r#"{"repository": "x"}"#,
                ClusterRunner,
            ),
            (&[SIGNATURE, KEY], "POST", "/builds", "", ClusterRunner),
            (&[DIGEST], "PUT", "/builds/1", "", ClusterRunner),
            // 2. Binder's key.
            (&[KEY], "GET", "/builds", "", Binder),
            (&[KEY], "GET", "/builds/", "", Binder),
            (&[KEY, JSON], "POST", "/builds", "{}", Binder),
            (&[KEY], "GET", "/builds/7", "", Binder),
            // 3. Numbers and names.
            (&[], "GET", "/builds/7", "", ClusterRunner),
            (&[], "GET", "/builds/7/", "", ClusterRunner),
            (&[], "GET", "/builds/7/subjobs/0", "", ClusterRunner),
            (&[], "PUT", "/builds/7", "", ClusterRunner),
            (&[JSON], "GET", "/builds/a-b", "", Binder),
            (&[], "GET", "/builds/r-7/", "", Binder),
            (&[], "GET", "/builds/7a", "", Binder),
            (&[], "POST", "/builds/repo", "", Binder),
            (&[], "POST", "/builds/repo/", "{}", Binder),
            // 4. The slash at the end of the list.
            (&[], "GET", "/builds/", "", Binder),
            (&[], "HEAD", "/builds/", "", Binder),
            (&[], "GET", "/builds", "", ClusterRunner),
            (&[], "OPTIONS", "/builds/", "", ClusterRunner),
            // 5. What is asked for.
            (&[], "POST", "/builds/", r#"{"repository": "x"}"#, Binder),
            (&[], "POST", "/builds", r#"{"repo": "x"}"#, Binder),
            (
                &[],
                "POST",
                "/builds/",
                r#"{"type": "git", "url": "x"}"#,
                ClusterRunner,
            ),
            (&[], "POST", "/builds", "repository", ClusterRunner),
            (&[], "POST", "/builds", "[\"repo\"]", ClusterRunner),
            (&[], "POST", "/builds", "", ClusterRunner),
        ] {
            let method = method.parse().unwrap();
            let found = owner(&method, path, &headers(given), Some(body.as_bytes()));
            assert_eq!(found, Some(family), "{given:?} {method} {path} {body}");
        }
    }

    #[test]
    fn a_body_is_read_only_where_nothing_else_says_it() {
        let needs_body = |method: &str, path: &str, given: &[(&'static str, &'static str)]| {
            let method = method.parse().unwrap();
            owner(&method, path, &headers(given), None).is_none()
        };
        assert!(needs_body("POST", "/builds", &[]) && needs_body("POST", "/builds/", &[JSON]));
        for (method, path, given) in [
            ("GET", "/builds", &[][..]),
            ("POST", "/builds", &[KEY][..]),
            ("POST", "/builds", &[DIGEST]),
            ("POST", "/v2/builds", &[]),
            ("POST", "/v1/build", &[]),
            ("POST", "/builds/1/results", &[]),
        ] {
            assert!(!needs_body(method, path, given), "{method} {path}");
        }
    }

    #[test]
    fn a_claim_ends_where_a_part_of_the_path_ends() {
        assert!(is_below("/v1", "/v1") && is_below("/v1/", "/v1") && is_below("/v1/x", "/v1"));
        assert!(!is_below("/v10", "/v1") && !is_below("/", "/v1") && !is_below("v1", "/v1"));
    }
}
