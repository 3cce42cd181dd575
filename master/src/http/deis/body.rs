//! The body of a request: an object in JSON, or a form, as the command line sends when somebody logs in.

use super::error::DeisError;
use crate::http::bodies::is_too_long;
use axum::body::Bytes;
use axum::extract::multipart::Multipart;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use std::time::Duration;

/// How long a body may be.
const MAX_BODY: usize = 1 << 20;

/// How long it may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most fields of a form.
const MOST_FIELDS: usize = 64;

/// What is told of a field that is not there.
pub(super) const REQUIRED: &str = "This field is required.";

/// The fields of a body. No body has no fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(pub(super) Map<String, Value>);

impl<S: Sync> FromRequest<S> for Fields {
    type Rejection = DeisError;

    async fn from_request(request: Request, _: &S) -> Result<Self, DeisError> {
        let form = Form::of(request.headers());
        let headers = request.headers().clone();
        let body = axum::body::to_bytes(request.into_body(), MAX_BODY);
        let body = tokio::time::timeout(PATIENCE, body).await;
        let body = body.map_err(|_| DeisError::BrokenOff)?;
        let body = body.map_err(|error| match is_too_long(&error) {
            true => DeisError::TooLarge(MAX_BODY),
            false => DeisError::BrokenOff,
        })?;
        match form {
            Some(Form::Multipart) => Self::of_parts(headers, body).await,
            // The usual way of `curl -d` to send JSON.
            Some(Form::UrlEncoded) if !body.trim_ascii_start().starts_with(b"{") => {
                Ok(Self::of_form(&body))
            }
            Some(Form::UrlEncoded) | None => Self::of_json(&body),
        }
    }
}

/// A body that is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    UrlEncoded,
    Multipart,
}

impl Form {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let kind = value.split(';').next().unwrap_or_default().trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/x-www-form-urlencoded" => Some(Self::UrlEncoded),
            "multipart/form-data" => Some(Self::Multipart),
            _ => None,
        }
    }
}

impl Fields {
    pub(super) fn of_json(body: &[u8]) -> Result<Self, DeisError> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        // It refuses what is nested too deep.
        let value = serde_json::from_slice(body);
        match value.map_err(|error| DeisError::Unreadable(error.to_string()))? {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(DeisError::field("non_field_errors", "Invalid data")),
        }
    }

    fn of_form(body: &[u8]) -> Self {
        let fields = form_urlencoded::parse(body).into_owned();
        let fields = fields.take(MOST_FIELDS);
        Self(
            fields
                .map(|(name, value)| (name, Value::String(value)))
                .collect(),
        )
    }

    async fn of_parts(headers: HeaderMap, body: Bytes) -> Result<Self, DeisError> {
        let unreadable = |error: String| DeisError::UnreadableParts(error);
        let mut request = Request::new(axum::body::Body::from(body));
        *request.headers_mut() = headers;
        let parts = Multipart::from_request(request, &()).await;
        let mut parts = parts.map_err(|error| unreadable(error.body_text()))?;
        let mut fields = Map::new();
        while let Some(part) = parts
            .next_field()
            .await
            .map_err(|error| unreadable(error.body_text()))?
        {
            if fields.len() >= MOST_FIELDS {
                return Err(unreadable(format!(
                    "there are more than {MOST_FIELDS} parts"
                )));
            }
            let name = part.name().unwrap_or_default().to_owned();
            let text = part.text().await;
            let text = text.map_err(|error| unreadable(error.body_text()))?;
            fields.insert(name, Value::String(text));
        }
        Ok(Self(fields))
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text of so many characters at most; none where it is left out or null. Numbers and truth values are texts, too.
    pub(super) fn text(&self, name: &str, most: usize) -> Result<Option<String>, DeisError> {
        let text = match self.get(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
            Some(_) => return Err(DeisError::field(name, "Not a valid string.")),
        };
        if text.contains('\0') {
            return Err(DeisError::field(name, "Null characters are not allowed."));
        }
        let length = text.chars().count();
        if length > most {
            let sentence =
                format!("Ensure this value has at most {most} characters (it has {length}).");
            return Err(DeisError::field(name, sentence));
        }
        Ok(Some(text))
    }

    /// The same of a text that has to be there and not empty.
    pub(super) fn required(&self, name: &str, most: usize) -> Result<String, DeisError> {
        let text = self.text(name, most)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| DeisError::field(name, REQUIRED))
    }

    /// Whether a field is true; one that is left out or null is not. Forms say it as a text.
    pub(super) fn truth(&self, name: &str) -> Result<bool, DeisError> {
        match self.text(name, 5)?.as_deref() {
            Some("true") => Ok(true),
            Some("false") | None => Ok(false),
            Some(_) => Err(DeisError::field(name, "Must be true or false.")),
        }
    }

    /// Refuses a body in which some of these are left out or empty, and names all of them.
    pub(super) fn require(&self, names: &[&str]) -> Result<(), DeisError> {
        let is_there = |name: &str| match self.get(name) {
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
            None => false,
        };
        let missing = names.iter().filter(|name| !is_there(name));
        let missing = missing.map(|name| ((*name).to_owned(), REQUIRED.to_owned()));
        let missing: Vec<_> = missing.collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(DeisError::Fields(missing)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &[u8]) -> Result<Fields, String> {
        Fields::of_json(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_body_is_an_object_or_nothing() {
        let fields = json(br#"{"a": "b", "c": null, "d": 7, "e": [], "f": ""}"#).unwrap();
        assert_eq!(fields.text("a", 1).unwrap().as_deref(), Some("b"));
        assert_eq!(fields.text("c", 1).unwrap(), None);
        assert_eq!(fields.text("d", 1).unwrap().as_deref(), Some("7"));
        assert!(fields.text("e", 9).is_err() && fields.text("a", 0).is_err());
        assert!(fields.required("f", 9).is_err() && fields.required("x", 9).is_err());
        let truths = json(br#"{"a": true, "b": "false", "c": null, "d": 1}"#).unwrap();
        let read = |name| truths.truth(name).map_err(|error| error.to_string());
        assert_eq!(
            (read("a"), read("b"), read("c")),
            (Ok(true), Ok(false), Ok(false))
        );
        assert!(read("d").unwrap_err().contains('d'));
        let missing = fields.require(&["a", "c", "f"]).unwrap_err();
        assert_eq!(missing.to_string(), "c, f");
        assert_eq!(json(b" \n"), Ok(Fields::default()));
        let deep = "[".repeat(100_000);
        for (text, said) in [
            (&b"{"[..], "JSON parse error - EOF"),
            (b"{\"a\": \"\xff\"}", "JSON parse error - "),
            (deep.as_bytes(), "JSON parse error - recursion limit"),
            (b"[]", "non_field_errors"),
            (b"null", "non_field_errors"),
        ] {
            let error = json(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    async fn sent(content_type: &str, body: &str) -> Result<Fields, DeisError> {
        let request = Request::builder().header(CONTENT_TYPE, content_type);
        let request = request.body(body.to_owned().into()).unwrap();
        Fields::from_request(request, &()).await
    }

    #[tokio::test]
    async fn forms_have_fields_too() {
        let urlencoded = "application/x-www-form-urlencoded; charset=utf-8";
        let parts = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb c\r\n--x--\r\n";
        for (content_type, body) in [
            (urlencoded, "a=b+c"),
            (urlencoded, r#" {"a": "b c"}"#),
            ("multipart/form-data; boundary=x", parts),
            ("text/plain", r#"{"a": "b c"}"#),
            ("application/json", r#"{"a": "b c"}"#),
        ] {
            let fields = sent(content_type, body).await.unwrap();
            assert_eq!(
                fields.text("a", 9).unwrap().as_deref(),
                Some("b c"),
                "{body}"
            );
        }
        let broken = sent("multipart/form-data; boundary=y", parts).await;
        assert!(matches!(broken, Err(DeisError::UnreadableParts(_))));
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(MAX_BODY));
        let long = sent("application/json", &long).await;
        assert!(matches!(long, Err(DeisError::TooLarge(_))));
    }
}
