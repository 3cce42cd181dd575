//! The body of a request: an object in JSON. Command lines send every value as a string, so a string may stand for a truth
//! value or a number.

use super::error::BinderError;
use crate::http::bodies::is_too_long;
use axum::extract::{FromRequest, Request};
use clusterrunner_common::text::json;
use serde_json::{Map, Number, Value};
use std::time::Duration;

/// How long a body may be.
const MAX_BODY: usize = 16 << 10;

/// How long it may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The fields of a body. No body has no fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(Map<String, Value>);

impl<S: Sync> FromRequest<S> for Fields {
    type Rejection = BinderError;

    async fn from_request(request: Request, _: &S) -> Result<Self, BinderError> {
        let body = axum::body::to_bytes(request.into_body(), MAX_BODY);
        let body = tokio::time::timeout(PATIENCE, body).await;
        let body = body.map_err(|_| BinderError::BrokenOff)?;
        let body = body.map_err(|error| match is_too_long(&error) {
            true => BinderError::TooLarge(MAX_BODY),
            false => BinderError::BrokenOff,
        })?;
        Self::of_json(&body)
    }
}

impl Fields {
    fn of_json(body: &[u8]) -> Result<Self, BinderError> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let value = json::from_slice(body);
        let value = value.map_err(|error| {
            BinderError::Malformed(format!("The body is no JSON that can be used: {error}"))
        })?;
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            // As if there were no body.
            Value::Null => Ok(Self::default()),
            _ => Err(BinderError::Malformed(
                "The body must be a JSON object such as {\"repository\": \"https://...\"}.".into(),
            )),
        }
    }

    /// A text; none where the field is missing, null or empty.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, BinderError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(_) => Err(wrong(name, "a string")),
        }
    }

    /// A truth value, which is false where the field is missing.
    pub(super) fn truth(&self, name: &str) -> Result<bool, BinderError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(Value::Number(number)) => Ok(number.as_f64() != Some(0.0)),
            Some(Value::String(text)) => {
                let text = text.trim();
                Ok(!(text.is_empty() || text == "0" || text.eq_ignore_ascii_case("false")))
            }
            Some(Value::Array(_) | Value::Object(_)) => Err(wrong(name, "true or false")),
        }
    }

    /// A whole number from 1 to `most`; none where the field is missing, null or empty.
    pub(super) fn number(&self, name: &str, most: u64) -> Result<Option<u64>, BinderError> {
        let number = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Value::String(text)) => text.trim().parse().ok(),
            // JavaScript has but one kind of numbers, and some writers show it.
            Some(Value::Number(number)) => number.as_u64().or_else(|| whole(number)),
            Some(_) => None,
        };
        let number = number.filter(|number| (1..=most).contains(number));
        let expected = || wrong(name, &format!("a whole number between 1 and {most}"));
        number.map(Some).ok_or_else(expected)
    }
}

/// A number that was written with a point, if it is whole.
fn whole(number: &Number) -> Option<u64> {
    number.to_string().strip_suffix(".0")?.parse().ok()
}

fn wrong(field: &str, expected: &str) -> BinderError {
    BinderError::Malformed(format!("Field '{field}' must be {expected}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: &Value) -> Fields {
        Fields::of_json(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn strings_stand_for_truth_values() {
        for (value, truth) in [
            (json!(true), true),
            (json!(false), false),
            (json!("true"), true),
            (json!("false"), false),
            (json!("False"), false),
            (json!("0"), false),
            (json!("1"), true),
            (json!(""), false),
            (json!(null), false),
            (json!(0), false),
            (json!(1), true),
        ] {
            let found = fields(&json!({"force": value})).truth("force").unwrap();
            assert_eq!(found, truth, "{value}");
        }
        assert!(!Fields::default().truth("force").unwrap());
        let wrong = fields(&json!({"force": []})).truth("force").unwrap_err();
        assert_eq!(wrong.to_string(), "Field 'force' must be true or false.");
    }

    #[test]
    fn strings_stand_for_numbers() {
        let number = |value: Value| fields(&json!({"n": value})).number("n", 100_000);
        for (value, expected) in [
            (json!(60_000), Some(60_000)),
            (json!("60000"), Some(60_000)),
            (json!(60_000.0), Some(60_000)),
            (json!(null), None),
            (json!(" "), None),
        ] {
            assert_eq!(number(value.clone()).unwrap(), expected, "{value}");
        }
        for value in [
            json!(0),
            json!(-1),
            json!(1.5),
            json!("soon"),
            json!(100_001),
            json!(true),
            json!([1]),
        ] {
            let error = number(value.clone()).unwrap_err().to_string();
            let expected = "Field 'n' must be a whole number between 1 and 100000.";
            assert_eq!(error, expected, "{value}");
        }
    }

    #[test]
    fn a_body_is_an_object_or_nothing() {
        for nothing in ["", " \n", "{}", "null"] {
            let found = Fields::of_json(nothing.as_bytes()).unwrap();
            assert_eq!(found, Fields::default());
        }
        let deep = "[".repeat(100_000);
        for wrong in ["{", "[]", "7", "\"x\"", "{\"a\": 1, \"a\": 2}", &deep] {
            let error = Fields::of_json(wrong.as_bytes()).unwrap_err();
            assert!(matches!(error, BinderError::Malformed(_)), "{error}");
        }
        let found = fields(&json!({"repository": " x ", "repo": 7, "none": ""}));
        assert_eq!(found.text("repository").unwrap(), Some("x"));
        assert_eq!(found.text("none").unwrap(), None);
        assert!(found.text("repo").is_err());
    }
}
