//! What versions 1 and 2 of the API can be asked, for `/v2/openapi.json`. Tests compare it with the routes, and with all
//! that the routes answer in tests.

mod operations;
mod schemas;

use super::Api;
use crate::http::openapi::{Answer, Described, types};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderName, header};
use operations::{OPERATIONS, Operation};
use schemas::SCHEMAS;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The description of all APIs. Not of the type of the other answers: it is given as it is, without child routes.
pub(super) async fn show(State(api): State<Arc<Api>>) -> ([(HeaderName, &'static str); 2], Bytes) {
    let headers = [
        (header::CONTENT_TYPE, "application/openapi+json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, api.description.clone())
}

/// The operations of both versions.
pub(in crate::http) fn described() -> Vec<Described> {
    let both = OPERATIONS.iter().flat_map(|operation| {
        let v1 = format!("/v1{}", in_version_1(operation.path));
        let v2 = format!("/v2{}", operation.path);
        [operation_at(operation, v1), operation_at(operation, v2)]
    });
    both.collect()
}

/// The schemas that the operations name.
pub(in crate::http) fn schemas() -> Map<String, Value> {
    let schemas = SCHEMAS.iter().filter_map(|(name, fields)| {
        let schema = types::object(fields)?;
        Some(((*name).to_owned(), schema))
    });
    schemas.collect()
}

fn operation_at(operation: &Operation, path: String) -> Described {
    let mut answers: Vec<(u16, Answer)> = operation.answers.to_vec();
    for status in operation.errors() {
        if answers.iter().all(|(known, _)| *known != status) {
            let answer = match status {
                // They have no body.
                304 | 416 => Answer::Nothing,
                _ => Answer::Error,
            };
            answers.push((status, answer));
        }
    }
    Described {
        method: operation.method,
        path,
        summary: operation.summary,
        query: operation.query,
        security: operation.security(),
        body: operation.body,
        answers,
        always: match operation.method {
            "get" => "child_routes: {string}",
            _ => "",
        },
    }
}

/// A path of version 2 as version 1 has it: in the singular.
fn in_version_1(path: &str) -> String {
    let mut singular = Vec::new();
    for part in path.split('/') {
        let part = match part {
            // What was not there before is in the plural in both versions.
            "builds" if !singular.contains(&"projects") => "build",
            "subjobs" => "subjob",
            "slaves" => "slave",
            // Version 1 of `/apps` is the API of the Deis controller.
            "apps" => "app",
            // All those of a build are a list of rows, which version 1 did not know.
            "atoms" if singular.contains(&"subjob") => "atom",
            part => part,
        };
        singular.push(part);
    }
    singular.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::clusterrunner::routes;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let (_, routes) = routes::table().build();
        let in_braces = |template: &str| template.replace('[', "{").replace(']', "}");
        let is_there = |template: &&str| template.starts_with("/v1") || template.starts_with("/v2");
        let there: BTreeSet<String> = routes.templates().filter(is_there).map(in_braces).collect();
        let described: BTreeSet<String> = described().into_iter().map(|one| one.path).collect();
        assert_eq!(described, there);
    }

    #[test]
    fn each_schema_is_one() {
        for (name, fields) in SCHEMAS {
            assert!(types::object(fields).is_some(), "{name}");
        }
        assert_eq!(schemas().len(), SCHEMAS.len());
    }
}
