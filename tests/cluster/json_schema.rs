//! The part of JSON Schema that `docs/json.schema.json` uses. A keyword that is not known here is a fault of the
//! schema, so that none is written there in vain.

use serde_json::{Map, Value};

/// Keywords that say nothing of a value.
const NOTES: [&str; 4] = ["$schema", "title", "description", "$defs"];

/// A schema with its definitions.
pub(crate) struct Schema(Value);

impl Schema {
    /// The one that is documented.
    pub(crate) fn documented() -> Self {
        let text = include_str!("../../docs/json.schema.json");
        Self(serde_json::from_str(text).unwrap())
    }

    /// Checks a value against a definition.
    ///
    /// # Errors
    /// Where the value is not of that form, and why.
    pub(crate) fn check(&self, definition: &str, value: &Value) -> Result<(), String> {
        let schema = &self.0["$defs"][definition];
        assert!(schema.is_object(), "the schema has no {definition}");
        self.fits(schema, value, definition)
    }

    fn fits(&self, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        let keywords: &Map<String, Value> = schema.as_object().unwrap();
        for (keyword, wanted) in keywords {
            let fits = match &**keyword {
                "$ref" => {
                    let name = wanted.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                    self.check(name, value)
                        .map_err(|why| format!("{place}: {why}"))?;
                    true
                }
                "const" => value == wanted,
                "enum" => wanted.as_array().unwrap().contains(value),
                "type" => match wanted {
                    Value::Array(types) => types.iter().any(|one| is_of_type(value, one)),
                    one => is_of_type(value, one),
                },
                "minimum" => {
                    let number = value.as_f64();
                    number.is_none_or(|number| number >= wanted.as_f64().unwrap())
                }
                "required" => {
                    let names = wanted.as_array().unwrap().iter();
                    let lacking = names.map(|name| name.as_str().unwrap()).find(|name| {
                        value
                            .as_object()
                            .is_some_and(|fields| !fields.contains_key(*name))
                    });
                    if let Some(name) = lacking {
                        return Err(format!("{place} has no {name}: {value}"));
                    }
                    true
                }
                "properties" => {
                    for (name, schema) in wanted.as_object().unwrap() {
                        if let Some(field) = value.get(name) {
                            self.fits(schema, field, &format!("{place}.{name}"))?;
                        }
                    }
                    true
                }
                "items" => {
                    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.fits(wanted, item, &format!("{place}[{number}]"))?;
                    }
                    true
                }
                "anyOf" => self.fitting(wanted, value, place) > 0,
                "oneOf" => self.fitting(wanted, value, place) == 1,
                note if NOTES.contains(&note) => true,
                other => panic!("{place}: the keyword {other} is not known"),
            };
            if !fits {
                return Err(format!("{place} does not fit {keyword} {wanted}: {value}"));
            }
        }
        Ok(())
    }

    /// How many of several schemas fit.
    fn fitting(&self, schemas: &Value, value: &Value, place: &str) -> usize {
        let schemas = schemas.as_array().unwrap().iter();
        schemas
            .filter(|schema| self.fits(schema, value, place).is_ok())
            .count()
    }
}

fn is_of_type(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type {other}"),
    }
}
