//! The body of a request: an object in JSON, or the fields of a form.

use super::error::PolyaxonError;
use crate::http::bodies::is_too_long;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

/// How long a body may be that is no upload.
const MAX_BODY: usize = 2 << 20;

/// The fields of a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(Map<String, Value>);

/// A body that was read. No body has no fields.
#[derive(Clone, Debug)]
pub(super) struct Body(pub(super) Fields);

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = PolyaxonError;

    async fn from_request(request: Request, _: &S) -> Result<Self, PolyaxonError> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let is_form = content_type.is_some_and(|value| {
            let kind = value.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
        let body = axum::body::to_bytes(request.into_body(), MAX_BODY).await;
        let body = body.map_err(|error| match is_too_long(&error) {
            true => PolyaxonError::TooLarge(format!("The body is longer than {MAX_BODY} bytes.")),
            false => PolyaxonError::Unreadable("the body broke off".to_owned()),
        })?;
        let fields = match is_form {
            true => Fields::of_form(&body),
            false => Fields::of_json(&body)?,
        };
        Ok(Self(fields))
    }
}

impl Fields {
    fn of_json(body: &[u8]) -> Result<Self, PolyaxonError> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        // It refuses what is nested too deep.
        let value = serde_json::from_slice(body);
        let value = value.map_err(|error| PolyaxonError::Unreadable(error.to_string()))?;
        let kind = match value {
            Value::Object(fields) => return Ok(Self(fields)),
            Value::Array(_) => "list",
            Value::String(_) => "str",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            Value::Null => "null",
        };
        let sentence = format!("Invalid data. Expected a dictionary, but got {kind}.");
        Err(PolyaxonError::field("non_field_errors", sentence))
    }

    fn of_form(body: &[u8]) -> Self {
        let fields = form_urlencoded::parse(body).into_owned();
        Self(
            fields
                .map(|(name, value)| (name, Value::String(value)))
                .collect(),
        )
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text of so many characters at most; none where it is left out or null.
    pub(super) fn text(&self, name: &str, most: usize) -> Result<Option<String>, PolyaxonError> {
        let text = match self.get(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text,
            Some(_) => return Err(PolyaxonError::field(name, "Not a valid string.")),
        };
        // An API that stores text in C strings has no zeros in them, and no terminal shows them.
        if text.contains('\0') {
            let sentence = "Null characters are not allowed.";
            return Err(PolyaxonError::field(name, sentence));
        }
        if text.chars().nth(most).is_some() {
            let sentence = format!("Ensure this field has no more than {most} characters.");
            return Err(PolyaxonError::field(name, sentence));
        }
        Ok(Some(text.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &[u8]) -> Result<Fields, String> {
        Fields::of_json(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_body_is_an_object() {
        let fields = json(br#"{"a": "b", "c": null, "d": 7}"#).unwrap();
        assert_eq!(fields.text("a", 1).unwrap().as_deref(), Some("b"));
        assert_eq!(fields.text("c", 1).unwrap(), None);
        assert_eq!(fields.text("e", 1).unwrap(), None);
        for (name, most, said) in [
            (
                "a",
                0,
                "a: Ensure this field has no more than 0 characters.",
            ),
            ("d", 9, "d: Not a valid string."),
        ] {
            assert_eq!(fields.text(name, most).unwrap_err().to_string(), said);
        }
        assert_eq!(json(b" \n"), Ok(Fields::default()));
        let form = Fields::of_form(b"a=b%20c&d=");
        assert_eq!(form.text("a", 9).unwrap().as_deref(), Some("b c"));
        assert_eq!(form.text("d", 9).unwrap().as_deref(), Some(""));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let deep = "[".repeat(100_000);
        for (text, said) in [
            (&b"{"[..], "JSON parse error - EOF"),
            (b"{\"a\": \xff}", "JSON parse error - "),
            (b"{\"a\": \"\xff\"}", "JSON parse error - "),
            (deep.as_bytes(), "JSON parse error - recursion limit"),
            (b"[]", "Expected a dictionary, but got list."),
            (b"null", "Expected a dictionary, but got null."),
        ] {
            let error = json(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
