//! What users say of projects and builds: the fields of a body that both have.

use super::body::Fields;
use super::error::PolyaxonError;
use clusterrunner_core::access::UserCaller;
use clusterrunner_core::accounts::users::Role;
use clusterrunner_core::builds::details::{MAX_DESCRIPTION, MAX_TAGS, Merge};
use serde_json::Value;

/// A token that lets its user only read changes nothing, not even what is the user's own.
pub(super) fn must_change(caller: UserCaller) -> Result<(), PolyaxonError> {
    match caller.role {
        Role::Read => Err(PolyaxonError::Forbidden),
        Role::Submit | Role::Admin => Ok(()),
    }
}

/// A text; the core knows how long it may be. None where it is left out or null.
pub(super) fn text(fields: &Fields, name: &'static str) -> Result<Option<String>, PolyaxonError> {
    // The longest of all that are said.
    fields.text(name, MAX_DESCRIPTION)
}

/// The tags; none where they are left out or null.
pub(super) fn tags(fields: &Fields) -> Result<Option<Vec<String>>, PolyaxonError> {
    let tags = match fields.get("tags") {
        None => return Ok(None),
        Some(Value::Array(tags)) => tags,
        Some(other) => {
            let kind = kind(other);
            let sentence = format!("Expected a list of items but got type \"{kind}\".");
            return Err(PolyaxonError::field("tags", sentence));
        }
    };
    // The core drops what is there twice, but does not read lists without end.
    if tags.len() > 10 * MAX_TAGS {
        let sentence = format!("Ensure this field has no more than {MAX_TAGS} elements.");
        return Err(PolyaxonError::field("tags", sentence));
    }
    let texts = tags.iter().map(|tag| match tag.as_str() {
        Some(text) if text.contains('\0') => Err("Null characters are not allowed."),
        Some(text) => Ok(text.trim().to_owned()),
        None => Err("Not a valid string."),
    });
    let texts: Result<Vec<String>, &str> = texts.collect();
    texts
        .map(Some)
        .map_err(|sentence| PolyaxonError::field("tags", sentence))
}

/// What becomes of the tags that are there.
pub(super) fn merge(fields: &Fields) -> Result<Merge, PolyaxonError> {
    Ok(match yes_or_no(fields, "merge")? {
        Some(true) => Merge::Add,
        Some(false) | None => Merge::Replace,
    })
}

/// Yes or no, also as forms say it; none where it is left out or null.
pub(super) fn yes_or_no(fields: &Fields, name: &str) -> Result<Option<bool>, PolyaxonError> {
    let value = match fields.get(name) {
        None => return Ok(None),
        Some(Value::Bool(value)) => Some(*value),
        Some(Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        Some(_) => None,
    };
    match value {
        Some(value) => Ok(Some(value)),
        None => Err(PolyaxonError::field(name, "Must be a valid boolean.")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}
