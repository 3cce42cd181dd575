//! JSON from peers, read strictly: an object that has a name twice says two things, and what is nested too deeply
//! could be stored and never read again. Both are refused.

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};
use std::collections::HashSet;
use std::fmt;

/// How many levels of lists and objects there may be, counting the outermost. Nobody needs ten; a reader of ours
/// gives up at 128, and what is accepted is stored some levels deeper.
pub const MOST_LEVELS: usize = 32;

/// As `serde_json::from_slice`, but a name that is twice in one object is an error, and so are more than
/// [`MOST_LEVELS`].
///
/// # Errors
/// The text is no JSON, has a name twice, is nested too deeply, or is not of the wanted form.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    Walk(&JsonPlace::Outermost).deserialize(&mut reader)?;
    serde_json::from_slice(text)
}

/// Where a value stands.
enum JsonPlace<'a> {
    Outermost,
    Member(&'a JsonPlace<'a>, &'a str),
    Element(&'a JsonPlace<'a>, usize),
}

impl JsonPlace<'_> {
    /// How many lists and objects there are around it.
    fn depth(&self) -> usize {
        match self {
            Self::Outermost => 0,
            Self::Member(outer, _) | Self::Element(outer, _) => outer.depth() + 1,
        }
    }

    /// The names of the outer ones say enough.
    fn field(&self) -> String {
        const NAMED: usize = 3;
        match self {
            Self::Outermost => String::new(),
            Self::Member(outer, _) | Self::Element(outer, _) if outer.depth() >= NAMED => {
                outer.field()
            }
            Self::Member(Self::Outermost, name) => (*name).to_owned(),
            Self::Member(outer, name) => format!("{}.{name}", outer.field()),
            Self::Element(outer, index) => format!("{}[{index}]", outer.field()),
        }
    }
}

/// Walks through any JSON.
struct Walk<'a>(&'a JsonPlace<'a>);

impl Walk<'_> {
    fn enter<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.0.depth() < MOST_LEVELS {
            return Ok(());
        }
        let field = self.0.field();
        Err(E::custom(format_args!(
            "field '{field}' is nested too deeply: keep to {MOST_LEVELS} levels of lists and objects, counting the \
             whole body as the first"
        )))
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut index = 0;
        while elements
            .next_element_seed(Walk(&JsonPlace::Element(self.0, index)))?
            .is_some()
        {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!(
                    "the name '{name}' is there twice in one object"
                )));
            }
            members.next_value_seed(Walk(&JsonPlace::Member(self.0, &name)))?;
            names.insert(name);
        }
        Ok(())
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
    }

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn what_is_nested_too_deeply_is_named() {
        let read = |text: &str| from_slice::<Value>(text.as_bytes());
        assert!(read(&nested(MOST_LEVELS)).is_ok());
        let in_config = |levels| {
            format!(
                r#"{{"a": [1], "config": {{"x": {{"y": [0, {}]}}}}}}"#,
                nested(levels)
            )
        };
        assert!(read(&in_config(MOST_LEVELS - 4)).is_ok());
        for levels in [MOST_LEVELS - 3, 100, 127, 100_000] {
            let error = read(&in_config(levels)).unwrap_err();
            assert!(error.is_data(), "{error}");
            let said = error.to_string();
            assert!(
                said.contains("field 'config.x.y' is nested too deeply: keep to 32"),
                "{said}"
            );
        }
        let objects = format!("{}1{}", r#"{"a": "#.repeat(33), "}".repeat(33));
        assert!(read(&objects).unwrap_err().to_string().contains("'a.a.a'"));
    }
}
