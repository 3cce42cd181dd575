//! What version 2 of the API can be asked, for programs that read descriptions in the form of OpenAPI 3.1:
//! `/v2/openapi.json`. A test compares [`OPERATIONS`] with the routes.

mod operations;

use super::error::ApiError;
use axum::body::Bytes;
use axum::http::{HeaderName, header};
use operations::{Answer, Body, OPERATIONS, Operation};
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// The description. It is made once.
pub(super) async fn show() -> Result<([(HeaderName, &'static str); 2], Bytes), ApiError> {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| description().to_string().into());
    // Not the type of the other answers: the whole is given as it is, without child routes.
    let headers = [
        (header::CONTENT_TYPE, "application/openapi+json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, text.clone()))
}

fn description() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = format!("/v2{}", operation.path);
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[operation.method] = described(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ClusterRunner",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Version 2 of the API of a ClusterRunner master. docs/api.md tells what the fields mean.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}, "status": {"type": "string"}},
                },
            },
            "securitySchemes": {
                "signature": {"type": "apiKey", "in": "header", "name": "ClusterRunner-Signature"},
                "digest": {
                    "type": "apiKey", "in": "header", "name": "ClusterRunner-Message-Authentication-Digest",
                },
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "clusterrunner_session"},
            },
        },
    })
}

fn described(operation: &Operation) -> Value {
    let in_path = operation.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        let schema = match name.ends_with("_id") {
            true => json!({"type": "integer", "minimum": 0}),
            false => json!({"type": "string"}),
        };
        Some(json!({"name": name, "in": "path", "required": true, "schema": schema}))
    });
    let in_query = operation.query.iter();
    let in_query =
        in_query.map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}));
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let mut described = json!({
        "summary": operation.summary,
        "operationId": operation_id(operation),
        "parameters": parameters,
        "security": operation.security(),
        "responses": responses(operation),
    });
    let content = match operation.body {
        Body::None => return described,
        Body::Json => json!({"application/json": {"schema": {"type": "object"}}}),
        Body::Bytes => json!({"application/octet-stream": {}}),
    };
    described["requestBody"] = json!({"content": content});
    described
}

fn operation_id(operation: &Operation) -> String {
    let words = operation
        .path
        .split(['/', '.'])
        .filter(|word| !word.is_empty());
    let words = words.map(|word| word.trim_matches(['{', '}']));
    std::iter::once(operation.method)
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

fn responses(operation: &Operation) -> Value {
    let mut responses = Map::new();
    for (status, answer) in operation.answers {
        let content = match answer {
            Answer::Object(fields) => {
                json!({"application/json": {"schema": {"type": "object", "required": fields}}})
            }
            Answer::Other(kind) => json!({*kind: {}}),
            Answer::Nothing => json!({}),
        };
        let success = json!({"description": "Done.", "content": content});
        responses.insert(status.to_string(), success);
    }
    for status in operation.errors() {
        let refused = json!({
            "description": reason(status),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        });
        responses.entry(status.to_string()).or_insert(refused);
    }
    Value::Object(responses)
}

/// Why an answer has a status.
fn reason(status: u16) -> &'static str {
    match status {
        304 => "Nothing has changed.",
        400 => "A field, a parameter or the JSON is wrong.",
        401 => "The proof is missing or wrong.",
        403 => "The caller may not do this.",
        404 => "There is no such thing.",
        405 => "The route does not take this method.",
        408 => "The body broke off or came too slowly.",
        409 => "This does not fit the present state.",
        410 => "It was removed.",
        411 => "The length of the body is missing.",
        412 => "The session of the master has changed.",
        413 => "The body is too large.",
        429 => "Too many tries.",
        500 => "A fault of the master.",
        502 => "A slave does not answer.",
        503 => "The master is going down, or has too much to do.",
        507 => "The disk of the master is nearly full.",
        _ => "See docs/api.md.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::clusterrunner::routes;
    use std::collections::BTreeSet;

    /// `/builds/[build_id]` as it stands in a description.
    fn in_braces(template: &str) -> String {
        template.replace('[', "{").replace(']', "}")
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let (_, routes) = routes::table().build();
        let there: BTreeSet<String> = routes
            .templates()
            .filter(|template| *template == "/v2" || template.starts_with("/v2/"))
            .map(in_braces)
            .collect();
        let description = description();
        let paths = description["paths"].as_object().unwrap();
        let described: BTreeSet<String> = paths.keys().cloned().collect();
        assert_eq!(described, there);
    }

    #[test]
    fn each_operation_is_there_once_with_its_answers() {
        let mut ids = BTreeSet::new();
        for operation in OPERATIONS {
            let id = operation_id(operation);
            assert!(ids.insert(id.clone()), "{id} is there twice");
            let responses = responses(operation);
            let statuses = responses.as_object().unwrap();
            assert!(
                statuses.keys().any(|status| status.starts_with(['2', '3'])),
                "{id}"
            );
            for always in ["405", "412", "503"] {
                assert!(statuses.contains_key(always), "{id} {always}");
            }
        }
    }
}
