//! The parts of a specification by their types.

use super::{Checked, InvalidSpecification};
use serde_json::{Map, Value};

/// The members of one object. One that is null counts as left out.
pub(super) struct Parts<'a>(pub(super) &'a Map<String, Value>);

impl Parts<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text of so many bytes at most.
    pub(super) fn text(&self, name: &str, longest: usize) -> Checked<Option<String>> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => text(&format!("`{name}`"), value, longest).map(Some),
        }
    }

    pub(super) fn truth(&self, name: &str) -> Checked<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(other) => Err(wrong(&format!("`{name}`"), "true or false", other)),
        }
    }

    /// The elements of a list; none where there is no list.
    pub(super) fn list(&self, name: &str) -> Checked<&[Value]> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(elements)) => Ok(elements),
            Some(other) => Err(wrong(&format!("`{name}`"), "a list", other)),
        }
    }

    /// A list of texts.
    pub(super) fn texts(
        &self,
        name: &str,
        most: usize,
        longest: usize,
    ) -> Checked<Option<Vec<String>>> {
        if self.get(name).is_none() {
            return Ok(None);
        }
        let elements = self.list(name)?;
        if elements.len() > most {
            let found = elements.len();
            return Err(InvalidSpecification(format!(
                "`{name}` has {found} elements, and {most} are taken."
            )));
        }
        let texts = elements.iter().enumerate();
        let texts =
            texts.map(|(index, element)| text(&format!("`{name}[{index}]`"), element, longest));
        texts.collect::<Checked<Vec<_>>>().map(Some)
    }
}

fn text(place: &str, value: &Value, longest: usize) -> Checked<String> {
    match value {
        Value::String(text) if text.contains('\0') => Err(InvalidSpecification(format!(
            "{place} has a NUL character."
        ))),
        Value::String(text) if text.len() > longest => Err(InvalidSpecification(format!(
            "{place} has {} bytes, and {longest} are taken.",
            text.len()
        ))),
        Value::String(text) => Ok(text.clone()),
        other => Err(wrong(place, "a text", other)),
    }
}

fn wrong(place: &str, expected: &str, found: &Value) -> InvalidSpecification {
    let found = kind_of(found);
    InvalidSpecification(format!("{place} must be {expected}, not {found}."))
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
