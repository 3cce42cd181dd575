//! The fields of one request, by kind.

use super::InvalidRequest;
use serde_json::{Map, Value};

/// Texts end up in names of files and in environments, where such a character is the end.
pub(super) const WITHOUT_NUL: &str = "text without NUL characters";

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

pub(super) fn wrong(field: impl Into<String>, expected: impl Into<String>) -> InvalidRequest {
    InvalidRequest::Field {
        field: field.into(),
        expected: expected.into(),
    }
}

pub(super) fn wrong_kind(
    field: impl Into<String>,
    expected: &str,
    found: &Value,
) -> InvalidRequest {
    wrong(field, format!("{expected}, not {}", kind(found)))
}

/// The fields of one request. A field that is null counts as left out, as in the original.
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl Fields<'_> {
    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<String>, InvalidRequest> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => Err(wrong(field, WITHOUT_NUL)),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(wrong_kind(field, "a string", other)),
        }
    }

    pub(super) fn truth(&self, field: &str) -> Result<bool, InvalidRequest> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(other) => Err(wrong_kind(field, "true or false", other)),
        }
    }

    pub(super) fn number<T>(
        &self,
        field: &str,
        expected: &str,
        take: impl FnOnce(u32) -> Option<T>,
    ) -> Result<Option<T>, InvalidRequest> {
        let Some(found) = self.get(field) else {
            return Ok(None);
        };
        let number = found.as_u64().and_then(|number| u32::try_from(number).ok());
        match (number.and_then(take), found) {
            (Some(number), _) => Ok(Some(number)),
            (None, Value::Number(number)) => Err(wrong(field, format!("{expected}, not {number}"))),
            (None, other) => Err(wrong_kind(field, expected, other)),
        }
    }

    pub(super) fn required_text(&self, field: &'static str) -> Result<String, InvalidRequest> {
        match self.text(field)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(InvalidRequest::Missing { field }),
        }
    }
}
