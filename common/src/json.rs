//! JSON from peers, read strictly: an object that has a name twice says two things, and is refused.

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};
use std::collections::HashSet;
use std::fmt;

/// As `serde_json::from_slice`, but a name that is twice in one object is an error.
///
/// # Errors
/// The text is no JSON, has a name twice, or is not of the wanted form.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice::<NamesOnce>(text)?;
    serde_json::from_slice(text)
}

/// Any JSON in which no object has a name twice.
struct NamesOnce;

impl<'de> Deserialize<'de> for NamesOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = NamesOnce;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<NamesOnce, E> {
        Ok(NamesOnce)
    }

    fn visit_bool<E>(self, _: bool) -> Result<NamesOnce, E> {
        Ok(NamesOnce)
    }

    fn visit_i64<E>(self, _: i64) -> Result<NamesOnce, E> {
        Ok(NamesOnce)
    }

    fn visit_u64<E>(self, _: u64) -> Result<NamesOnce, E> {
        Ok(NamesOnce)
    }

    fn visit_f64<E>(self, _: f64) -> Result<NamesOnce, E> {
        Ok(NamesOnce)
    }

    fn visit_str<E>(self, _: &str) -> Result<NamesOnce, E> {
        Ok(NamesOnce)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<NamesOnce, A::Error> {
        while elements.next_element::<NamesOnce>()?.is_some() {}
        Ok(NamesOnce)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<NamesOnce, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!(
                    "the name '{name}' is there twice in one object"
                )));
            }
            names.insert(name);
            members.next_value::<NamesOnce>()?;
        }
        Ok(NamesOnce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_name_that_is_there_twice_is_an_error() {
        let read = |text: &str| from_slice::<Value>(text.as_bytes());
        let fine = r#"{"a": [{"a": 1.5}, {"a": null}], "b": {"a": "x", "c": -1}}"#;
        let value = json!({"a": [{"a": 1.5}, {"a": null}], "b": {"a": "x", "c": -1}});
        assert_eq!(read(fine).unwrap(), value);
        for twice in [
            r#"{"a": 1, "a": 1}"#,
            r#"[{"b": {"a": 1, "c": 2, "a": 3}}]"#,
            r#"{"a": 1, "\u0061": 2}"#,
        ] {
            let error = read(twice).unwrap_err();
            assert!(
                error.is_data() && error.to_string().contains("'a' is there twice"),
                "{error}"
            );
        }
        assert!(read("{").unwrap_err().is_eof());
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(&deep).unwrap_err().is_syntax());
    }
}
