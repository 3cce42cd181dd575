//! The routes of a daemon, each told once: from this table come the paths that are listened on, in
//! both versions, and the object `child_routes` of every answer to a GET.

use super::version::ApiVersion;
use crate::api::ErrorCode;
use crate::http::coded_refusal;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::sync::Arc;

/// A daemon's routes with their handlers.
#[derive(Debug)]
pub struct RouteTable<S> {
    overview: MethodRouter<S>,
    entries: Vec<(Names, MethodRouter<S>)>,
}

/// What a route is called.
#[derive(Clone, Copy, Debug)]
struct Names {
    /// In the `child_routes` of its parent.
    label: &'static str,
    /// Its template in version 1, without the prefix `/v1`.
    v1: &'static str,
    /// Its template in version 2.
    v2: &'static str,
}

/// A route that has no content of its own: a GET shows what is below it.
pub fn parent<S: Clone + Send + Sync + 'static>() -> MethodRouter<S> {
    // A path that is none of the routes, such as one with a word in place of a number, has nothing below it.
    get(async |_: Reached| Json(json!({})))
}

impl<S: Clone + Send + Sync + 'static> RouteTable<S> {
    /// A table with the route `/v1`; `/` and `/v2` show what is below them.
    pub fn new(overview: MethodRouter<S>) -> Self {
        Self {
            overview,
            entries: Vec::new(),
        }
    }

    /// Adds a route by the label that its parent lists it under and its templates in both versions,
    /// without a prefix. Variable parts are written as `child_routes` shows them: `[build_id]`, or
    /// `(\d+)`, for whole numbers, `[user_name]` for names, `[artifact_path]`, which is the last one, for all the rest. A route without a label is not listed: clients of the
    /// original find there what they know.
    #[must_use]
    pub fn route(
        mut self,
        label: &'static str,
        v1: &'static str,
        v2: &'static str,
        methods: MethodRouter<S>,
    ) -> Self {
        self.entries.push((Names { label, v1, v2 }, methods));
        self
    }

    /// The router, and the routes to look paths up in. Version 1 is below `/v1`, version 2 without a
    /// prefix and below `/v2`; the singular paths of version 1 are there without a prefix too, as
    /// the original's documentation has them.
    pub fn build(self) -> (Router<S>, Routes) {
        let names: Vec<Names> = self.entries.iter().map(|(names, _)| *names).collect();
        let v1_top = children(&names, "", ApiVersion::V1);
        let v2_top = children(&names, "", ApiVersion::V2);
        let empty = Map::new;
        let mut router = Router::new()
            .route("/v1", self.overview)
            .route("/", parent())
            .route("/v2", parent());
        let root_v1 = Map::from_iter([("v1".to_owned(), Value::from("/v1"))]);
        let mut known = vec![
            Route::new("/v1", ApiVersion::V1, v1_top, empty()),
            Route::new("/", ApiVersion::V2, root_v1, v2_top.clone()),
            Route::new("/v2", ApiVersion::V2, empty(), v2_top),
        ];
        for (Names { v1, v2, .. }, methods) in self.entries {
            let below_v1 = children(&names, v1, ApiVersion::V1);
            let below_v2 = children(&names, v2, ApiVersion::V2);
            let mut add = |template: &str, version| {
                let path = axum_path(template);
                router = std::mem::take(&mut router).route(&path, methods.clone());
                known.push(match version {
                    ApiVersion::V1 => Route::new(template, version, below_v1.clone(), empty()),
                    ApiVersion::V2 => Route::new(template, version, empty(), below_v2.clone()),
                });
            };
            add(&format!("/v1{v1}"), ApiVersion::V1);
            add(v2, ApiVersion::V2);
            add(&format!("/v2{v2}"), ApiVersion::V2);
            if v1 != v2 {
                add(v1, ApiVersion::V1);
            }
        }
        (router, Routes(known.into()))
    }
}

/// The routes of one version directly below a template, in the order of the table.
fn children(names: &[Names], parent: &str, version: ApiVersion) -> Map<String, Value> {
    let (prefix, template): (_, fn(&Names) -> &'static str) = match version {
        ApiVersion::V1 => ("/v1", |names| names.v1),
        ApiVersion::V2 => ("", |names| names.v2),
    };
    let below = names.iter().filter(|names| {
        let rest = template(names).strip_prefix(parent);
        let last = rest.and_then(|rest| rest.strip_prefix('/'));
        let last = last.filter(|_| !names.label.is_empty());
        last.is_some_and(|last| !last.is_empty() && !last.contains('/'))
    });
    let entry = |names: &Names| {
        let path = format!("{prefix}{}", template(names));
        (names.label.to_owned(), Value::from(path))
    };
    below.map(entry).collect()
}

fn is_variable(part: &str) -> bool {
    part.starts_with(['[', '('])
}

fn is_name(part: &str) -> bool {
    part.ends_with("_name]")
}

/// Whether a variable stands for all that follows, slashes included.
fn is_path(part: &str) -> bool {
    part.ends_with("_path]")
}

/// A template as the original's regular expression, which its metrics show.
fn endpoint(template: &str) -> String {
    let part = |part| match is_variable(part) {
        true if is_name(part) => r"([-\w]+)",
        true if is_path(part) => "(.+)",
        true => r"(\d+)",
        false => part,
    };
    let parts: Vec<&str> = template.split('/').map(part).collect();
    match parts.join("/").as_str() {
        "/" => "/".to_owned(),
        path => format!("{path}/?"),
    }
}

fn axum_path(template: &str) -> String {
    let part = |(index, part): (usize, &str)| match part {
        part if is_path(part) => format!("{{*id{index}}}"),
        part if is_variable(part) => format!("{{id{index}}}"),
        part => part.to_owned(),
    };
    let parts: Vec<String> = template.split('/').enumerate().map(part).collect();
    parts.join("/")
}

/// The routes that a daemon has, to look paths up in.
#[derive(Clone, Debug)]
pub struct Routes(Arc<[Route]>);

#[derive(Debug)]
struct Route {
    template: String,
    pieces: Vec<Piece>,
    endpoint: String,
    version: ApiVersion,
    /// `child_routes` as JSON, for those who ask in version 1 and in version 2.
    children: [String; 2],
}

impl Route {
    fn new(
        template: &str,
        version: ApiVersion,
        v1: Map<String, Value>,
        v2: Map<String, Value>,
    ) -> Self {
        Self {
            template: template.to_owned(),
            pieces: pieces(template),
            endpoint: endpoint(template),
            version,
            children: [v1, v2].map(|children| Value::Object(children).to_string()),
        }
    }

    /// Looked at for each request and many routes: nothing is split or counted.
    fn matches(&self, path: &str) -> bool {
        let mut rest = path.as_bytes();
        for piece in &self.pieces {
            let after = match piece {
                Piece::Text(text) => rest.strip_prefix(text.as_bytes()),
                Piece::Number => after_some(rest, u8::is_ascii_digit),
                Piece::Name => after_some(rest, |byte| *byte != b'/'),
                Piece::Path => after_some(rest, |_| true),
            };
            match after {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }
}

/// What follows one or more such bytes.
fn after_some(text: &[u8], is_meant: fn(&u8) -> bool) -> Option<&[u8]> {
    let length = text.iter().take_while(|byte| is_meant(byte)).count();
    (length > 0).then(|| &text[length..])
}

/// What a path must have next.
#[derive(Debug)]
enum Piece {
    /// Slashes included.
    Text(String),
    Number,
    Name,
    /// All that follows.
    Path,
}

fn pieces(template: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for part in template.split_inclusive('/') {
        let (name, slash) = match part.strip_suffix('/') {
            Some(name) => (name, "/"),
            None => (part, ""),
        };
        let text = match is_variable(name) {
            true => {
                pieces.push(match name {
                    _ if is_name(name) => Piece::Name,
                    _ if is_path(name) => Piece::Path,
                    _ => Piece::Number,
                });
                slash
            }
            false => part,
        };
        match pieces.last_mut() {
            Some(Piece::Text(before)) => before.push_str(text),
            Some(Piece::Number | Piece::Name | Piece::Path) | None if text.is_empty() => {}
            Some(Piece::Number | Piece::Name | Piece::Path) | None => {
                pieces.push(Piece::Text(text.to_owned()));
            }
        }
    }
    pieces
}

impl Routes {
    /// The templates of all routes, such as `/v1/build/[build_id]`.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|route| route.template.as_str())
    }

    /// The route that a path, without a slash at its end, leads to.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Reached> {
        let index = self.0.iter().position(|route| route.matches(path))?;
        Some(Reached {
            routes: self.clone(),
            index,
        })
    }
}

/// The route that a request has reached; an extension of requests.
#[derive(Clone, Debug)]
pub struct Reached {
    routes: Routes,
    index: usize,
}

impl Reached {
    fn route(&self) -> &Route {
        &self.routes.0[self.index]
    }

    /// The version that its path belongs to.
    #[must_use]
    pub fn version(&self) -> ApiVersion {
        self.route().version
    }

    /// Its template, such as `/v1/build/[build_id]`: one text for all builds.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.route().template
    }

    /// Its template as the original's regular expression, such as `/v1/build/(\d+)/?`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.route().endpoint
    }

    /// Tells the routes of a daemon apart.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// `child_routes` as JSON for a request of `version`.
    #[must_use]
    pub fn children(&self, version: ApiVersion) -> &str {
        let [v1, v2] = &self.route().children;
        match version {
            ApiVersion::V1 => v1,
            ApiVersion::V2 => v2,
        }
    }
}

/// The route that a request has reached; handlers have one.
impl<S: Send + Sync> FromRequestParts<S> for Reached {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let reached = parts.extensions.get::<Self>().cloned();
        let code = Some(ErrorCode::NoRoute);
        reached.ok_or_else(|| coded_refusal(StatusCode::NOT_FOUND, code, "There is no such route."))
    }
}

/// The version in which the answer to a request speaks.
impl<S: Send + Sync> FromRequestParts<S> for ApiVersion {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let accepted = parts.extensions.get::<Self>().copied();
        let of_route = || parts.extensions.get::<Reached>().map(Reached::version);
        let negotiated = accepted.or_else(of_route);
        Ok(negotiated.unwrap_or_else(|| Self::of_path(parts.uri.path())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_route_in_every_form() {
        let table = RouteTable::<()>::new(parent())
            .route("builds", "/build", "/builds", parent())
            .route("build", "/build/[build_id]", "/builds/[build_id]", parent())
            .route("", "/files/[any_path]", "/files/[any_path]", parent())
            .route("queue", "/queue", "/queue", parent());
        let (_, routes) = table.build();
        let children = |path, version| {
            let found = routes.find(path);
            found.map(|reached| reached.children(version).to_owned())
        };
        let (v1, v2) = (ApiVersion::V1, ApiVersion::V2);
        let below_builds = Some(r#"{"build":"/v1/build/[build_id]"}"#.to_owned());
        assert_eq!(children("/v1/build", v1), below_builds);
        assert_eq!(children("/build", v1), below_builds);
        assert_eq!(children("/build", v2).unwrap(), "{}");
        let below_builds = Some(r#"{"build":"/builds/[build_id]"}"#.to_owned());
        assert_eq!(children("/builds", v2), below_builds);
        assert_eq!(children("/v2/builds", v2), below_builds);
        assert_eq!(children("/", v1).unwrap(), r#"{"v1":"/v1"}"#);
        let top = r#"{"builds":"/builds","queue":"/queue"}"#;
        assert_eq!(children("/", v2).unwrap(), top);
        assert_eq!(children("/v2", v2).unwrap(), top);
        let found = routes.find("/v1/build/17").unwrap();
        assert_eq!(found.template(), "/v1/build/[build_id]");
        assert_eq!(found.endpoint(), r"/v1/build/(\d+)/?");
        assert_eq!(routes.find("/").unwrap().endpoint(), "/");
        let found = routes.find("/v2/files/a/..%2Fb/ c").unwrap();
        assert_eq!(found.endpoint(), "/v2/files/(.+)/?");
        let one_user = RouteTable::<()>::new(parent())
            .route("user", "/users/[user_name]", "/users/[user_name]", parent())
            .route(
                "token",
                "/users/[user_name]/token",
                "/users/[user_name]/token",
                parent(),
            );
        let (_, users) = one_user.build();
        let found = users.find("/v2/users/a.b%20c/token").unwrap();
        assert_eq!(found.template(), "/v2/users/[user_name]/token");
        for unknown in [
            "/v1/build/x",
            "/v1/build/+1",
            "/v1/build/1/2",
            "/v1/build/1x",
            "/v1/build/",
            "/v1/buildx",
            "/v3",
            "/files/",
            "",
        ] {
            assert!(routes.find(unknown).is_none(), "{unknown}");
        }
    }
}
