//! Holds what the routes answer in tests against their description.

use super::document;
use crate::http::openapi::Described;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::response::Parts;
use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// A request of a test, for when its answer comes.
#[derive(Debug)]
pub(in crate::http) struct Sent {
    method: String,
    path: String,
    body: Bytes,
}

impl Sent {
    /// Keeps what is needed of a request, and gives it back.
    pub(in crate::http) async fn of(request: Request) -> (Request, Self) {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
        let sent = Self {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            body: body.clone(),
        };
        (Request::from_parts(parts, Body::from(body)), sent)
    }

    /// Holds the answer against the description.
    pub(in crate::http) fn check(&self, answer: &Parts, body: &[u8]) {
        let content_type = answer.headers.get(header::CONTENT_TYPE);
        check(Exchange {
            method: &self.method,
            path: &self.path,
            sent: &self.body,
            status: answer.status.as_u16(),
            content_type: content_type.and_then(|kind| kind.to_str().ok()),
            answer: body,
        });
    }
}

/// An exchange of a test.
#[derive(Clone, Copy, Debug)]
struct Exchange<'a> {
    method: &'a str,
    path: &'a str,
    sent: &'a [u8],
    status: u16,
    /// The media type of the answer.
    content_type: Option<&'a str>,
    answer: &'a [u8],
}

/// Panics where an exchange is not as described: a method that a described path does not have must be refused, a status
/// must be described, JSON must have the fields of its schema and no others, and what was taken must be as described, too.
fn check(exchange: Exchange<'_>) {
    let Exchange { method, status, .. } = exchange;
    let path = exchange.path;
    let Some(methods) = methods_of(path) else {
        return;
    };
    let method = match method {
        "HEAD" | "OPTIONS" => return,
        other => other.to_ascii_lowercase(),
    };
    let Some(operation) = methods.get(&method) else {
        assert!(
            matches!(status, 400..=499),
            "{exchange:?}: the method is not described"
        );
        return;
    };
    let Some(response) = operation["responses"].get(status.to_string()) else {
        panic!("the status is not described: {exchange:?}");
    };
    let content_type = exchange.content_type.unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap();
    if let Some(content) = response
        .get("content")
        .filter(|_| !exchange.answer.is_empty())
    {
        let Some(content) = content.get(content_type).or(content.get("*/*")) else {
            panic!("the media type is not described: {exchange:?}");
        };
        if let Some(schema) = content.get("schema") {
            let answer: Value = serde_json::from_slice(exchange.answer).unwrap();
            let wrong = mismatch(&answer, schema, "answer", Others::Wrong);
            assert_eq!(wrong, None, "{method} {path} {status}: {answer}");
        }
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let is_v2 = path.starts_with("/v2/");
    // The others take forms, too, and what is theirs of old.
    let sent: Option<Value> = serde_json::from_slice(exchange.sent).ok();
    let sent = sent.or_else(|| is_v2.then_some(Value::Null));
    if let Some(sent) = sent.filter(|_| status < 300 && !body.is_null()) {
        let others = if is_v2 {
            Others::Wrong
        } else {
            Others::Ignored
        };
        let wrong = mismatch(&sent, body, "body", others);
        assert_eq!(wrong, None, "{method} {path} {status}: {sent}");
    }
}

/// The description, made once: a long answer refers to its schemas for each of its parts.
fn described() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(document)
}

/// The description of a path without its query.
fn methods_of(path: &str) -> Option<&'static Map<String, Value>> {
    let paths = described()["paths"].as_object().unwrap();
    let parts = |path: &str| {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect::<Vec<_>>()
    };
    let asked = parts(path);
    let fits = |template: &&String| {
        let template = parts(template);
        let mut pairs = template.iter().zip(&asked);
        template.len() == asked.len()
            && pairs.all(|(part, asked)| match part.strip_suffix("_id}") {
                Some(_) => asked.bytes().all(|byte| byte.is_ascii_digit()),
                None => part.starts_with('{') || part == asked,
            })
    };
    // As routers do: a part that is written out counts more than a variable one.
    let variables = |template: &&String| template.matches('{').count();
    let template = paths.keys().filter(fits).min_by_key(variables)?;
    paths[template].as_object()
}

/// What fields are that a schema does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Wrong,
    Ignored,
}

/// What of a value is not as its schema says, if something is not.
fn mismatch(value: &Value, schema: &Value, place: &str, others: Others) -> Option<String> {
    if let Some(reference) = schema.get("$ref") {
        let name = reference.as_str().unwrap().rsplit('/').next().unwrap();
        let schemas = &described()["components"]["schemas"];
        let schema = schemas.get(name).unwrap();
        return mismatch(value, schema, place, others);
    }
    if let Some(any) = schema.get("anyOf") {
        let wrongs: Option<Vec<String>> = any
            .as_array()
            .unwrap()
            .iter()
            .map(|schema| mismatch(value, schema, place, others))
            .collect();
        return wrongs.map(|wrongs| wrongs.join(" and "));
    }
    if let Some(values) = schema.get("enum") {
        let is_there = values.as_array().unwrap().contains(value);
        return (!is_there).then(|| format!("{place} is {value}"));
    }
    let is_right = match schema.get("type").and_then(Value::as_str) {
        None => return None,
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some("array") => {
            let items = value.as_array().into_iter().flatten();
            let wrong = items.enumerate().find_map(|(index, item)| {
                mismatch(item, &schema["items"], &format!("{place}[{index}]"), others)
            });
            return wrong.or_else(|| (!value.is_array()).then(|| format!("{place} is {value}")));
        }
        Some("object") => return mismatch_of_object(value, schema, place, others),
        Some(other) => panic!("no such type: {other}"),
    };
    (!is_right).then(|| format!("{place} is {value}"))
}

fn mismatch_of_object(
    value: &Value,
    schema: &Value,
    place: &str,
    others: Others,
) -> Option<String> {
    let Some(fields) = value.as_object() else {
        return Some(format!("{place} is {value}"));
    };
    let below = |name: &String| format!("{place}.{name}");
    if let Some(values) = schema.get("additionalProperties") {
        let mut fields = fields.iter();
        return fields.find_map(|(name, value)| mismatch(value, values, &below(name), others));
    }
    let properties = schema["properties"].as_object().unwrap();
    let mut required = schema["required"].as_array().unwrap().iter();
    if let Some(missing) = required.find(|name| !fields.contains_key(name.as_str().unwrap())) {
        return Some(format!("{place} has no {missing}"));
    }
    fields
        .iter()
        .find_map(|(name, value)| match properties.get(name) {
            Some(schema) => mismatch(value, schema, &below(name), others),
            None if others == Others::Ignored || properties.is_empty() => None,
            None => Some(format!("{} is not described", below(name))),
        })
}

/// Each path of some operations with something in its variable parts, and its methods as the header `Allow` names them, in
/// order.
pub(in crate::http) fn methods(operations: &[Described]) -> BTreeMap<String, BTreeSet<String>> {
    let mut methods: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in operations {
        let parts = operation.path.split('/');
        let parts = parts.map(|part| if part.starts_with('{') { "name" } else { part });
        let of_path = methods
            .entry(parts.collect::<Vec<_>>().join("/"))
            .or_default();
        of_path.insert(operation.method.to_uppercase());
    }
    methods
}

/// The methods in a header `Allow`, without those that every path has.
pub(in crate::http) fn allowed(headers: &HeaderMap) -> BTreeSet<String> {
    let allowed = headers[header::ALLOW].to_str().unwrap().split(',');
    let allowed = allowed.map(|method| method.trim().to_owned());
    allowed
        .filter(|method| !matches!(method.as_str(), "HEAD" | "OPTIONS"))
        .collect()
}

#[test]
fn what_is_not_as_described_is_found() {
    use crate::http::openapi::types::object;
    use serde_json::json;

    let schema = object("id: integer, names?: [string], state: 'A'|null, more: {number}").unwrap();
    let good = json!({"id": 1, "names": ["a"], "state": null, "more": {"x": 1.5}});
    assert_eq!(mismatch(&good, &schema, "it", Others::Wrong), None);
    for (field, wrong, expected) in [
        ("id", json!("1"), r#"it.id is "1""#),
        ("id", json!(1.5), "it.id is 1.5"),
        ("names", json!(["a", 2]), "it.names[1] is 2"),
        ("state", json!("B"), r#"it.state is "B""#),
        ("more", json!({"x": "y"}), r#"it.more.x is "y""#),
        ("other", json!(1), "it.other is not described"),
    ] {
        let mut bad = good.clone();
        bad[field] = wrong;
        let found = mismatch(&bad, &schema, "it", Others::Wrong);
        assert_eq!(found.as_deref(), Some(expected), "{field}");
    }
    let found = mismatch(&json!({"id": 1}), &schema, "it", Others::Wrong).unwrap();
    assert!(found.contains("has no"), "{found}");
}
