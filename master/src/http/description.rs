//! What the APIs of the farm can be asked, in the form of OpenAPI 3.1: the descriptions of all of them as one text.

#[cfg(test)]
pub(in crate::http) mod check;

use super::{binder, clusterrunner, deis, polyaxon};
use axum::body::Bytes;
use serde_json::{Map, Value, json};

/// The whole description.
#[must_use]
pub(crate) fn text() -> Bytes {
    document().to_string().into()
}

fn document() -> Value {
    let operations = clusterrunner::openapi::described().into_iter();
    let operations = operations
        .chain(polyaxon::openapi::described())
        .chain(binder::openapi::described())
        .chain(deis::openapi::described());
    let mut paths = Map::new();
    for operation in operations {
        let methods = paths
            .entry(operation.path.clone())
            .or_insert_with(|| json!({}));
        methods[operation.method] = operation.to_json();
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ClusterRunner",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The APIs of a ClusterRunner master: its own, in versions 1 and 2, which docs/api.md explains, and \
                those of Polyaxon build jobs, Binder and the Deis controller.",
        },
        "paths": paths,
        "components": {
            "schemas": clusterrunner::openapi::schemas(),
            "securitySchemes": {
                "signature": key_in("header", "ClusterRunner-Signature",
                    "Made with the farm's secret for one request; docs/api.md says how."),
                "digest": key_in("header", "ClusterRunner-Message-Authentication-Digest",
                    "HMAC of the body, made with the farm's secret."),
                "token": {"type": "http", "scheme": "bearer", "description": "The token of a user of the farm."},
                "session": key_in("cookie", "clusterrunner_session",
                    "The page's. What changes something has the header X-CSRF-Token, too."),
                "polyaxon": key_in("header", "Authorization", "`token` and the token of a user of the farm."),
                "binder": key_in("header", "Authorization",
                    "The key of the farm's Binder, or the token of a user of the farm."),
                "deis": key_in("header", "Authorization", "`token` and the token of a user of the farm."),
                "deis_builder": key_in("header", "X-Deis-Builder-Auth", "What a program shows that receives pushes."),
            },
        },
    })
}

/// A proof of a caller in a header or a cookie of this name.
fn key_in(place: &str, name: &str, description: &str) -> Value {
    json!({"type": "apiKey", "in": place, "name": name, "description": description})
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The names of all schemas that a value refers to.
    fn referred(value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(name)) = map.get("$ref") {
                    let name = name.strip_prefix("#/components/schemas/").unwrap();
                    names.insert(name.to_owned());
                }
                map.values().for_each(|value| referred(value, names));
            }
            Value::Array(values) => values.iter().for_each(|value| referred(value, names)),
            _ => {}
        }
    }

    #[test]
    fn each_schema_that_is_named_is_there_and_used() {
        let document = document();
        let mut names = BTreeSet::new();
        referred(&document, &mut names);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert_eq!(names, schemas.keys().cloned().collect());
    }

    #[test]
    fn each_operation_has_its_own_id() {
        let document = document();
        let mut ids = BTreeSet::new();
        for methods in document["paths"].as_object().unwrap().values() {
            for operation in methods.as_object().unwrap().values() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{id} is there twice");
            }
        }
        assert!(ids.len() > 200, "{}", ids.len());
    }
}
