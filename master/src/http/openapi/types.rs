//! Types of JSON in few words, and the JSON Schema that they stand for.
//!
//! Fields are written `name: type, other?: type`; one with a question mark may be absent. A type is `string`, `integer`,
//! `number`, `boolean`, `any`, the name of a schema, a `'word'`, `null`, `[type]` for a list, `{type}` for an object with
//! any names, or several of them with `|` between.

use serde_json::{Map, Value, json};

/// The schema of an object with these fields. None where the text is not as it should be.
pub(in crate::http) fn object(fields: &str) -> Option<Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, is_required, schema) in listed(fields)? {
        if is_required {
            required.push(name.clone());
        }
        properties.insert(name, schema);
    }
    Some(json!({"type": "object", "properties": properties, "required": required}))
}

/// The parameters of a query with these fields. None where the text is not as it should be.
pub(in crate::http) fn query(fields: &str) -> Option<Vec<Value>> {
    let parameter = |(name, is_required, schema)| json!({"name": name, "in": "query", "required": is_required, "schema": schema});
    Some(listed(fields)?.into_iter().map(parameter).collect())
}

/// Each field: its name, whether it must be there, its schema.
fn listed(fields: &str) -> Option<Vec<(String, bool, Value)>> {
    let field = |field: &str| {
        let (name, kind) = field.split_once(':')?;
        let (name, is_required) = match name.trim().strip_suffix('?') {
            Some(name) => (name, false),
            None => (name.trim(), true),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_name = !name.is_empty() && name.chars().all(is_name);
        is_name.then_some((name.to_owned(), is_required, schema(kind)?))
    };
    let fields = fields.split(',').map(str::trim);
    fields.filter(|text| !text.is_empty()).map(field).collect()
}

/// The schema of a type. None where the text is not as it should be.
pub(in crate::http) fn schema(text: &str) -> Option<Value> {
    let mut depth = 0;
    let is_between = |c: char| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        c == '|' && depth == 0
    };
    let kinds: Vec<&str> = text.split(is_between).map(str::trim).collect();
    let word = |kind: &&str| kind.strip_prefix('\'')?.strip_suffix('\'').map(Value::from);
    let words: Vec<Value> = kinds.iter().filter_map(word).collect();
    let has_null = kinds.contains(&"null");
    if !words.is_empty() {
        // Words and other types are not mixed.
        let is_whole = words.len() + usize::from(has_null) == kinds.len();
        let null = has_null.then_some(Value::Null);
        let values: Vec<Value> = words.into_iter().chain(null).collect();
        return is_whole.then(|| json!({ "enum": values }));
    }
    match kinds[..] {
        [kind] => single(kind),
        _ => {
            let schemas = kinds.into_iter().map(single);
            let schemas: Vec<Value> = schemas.collect::<Option<_>>()?;
            Some(json!({ "anyOf": schemas }))
        }
    }
}

fn single(kind: &str) -> Option<Value> {
    let inner = |open, close| kind.strip_prefix(open)?.strip_suffix(close);
    if let Some(items) = inner('[', ']') {
        return Some(json!({"type": "array", "items": schema(items)?}));
    }
    if let Some(values) = inner('{', '}') {
        return Some(json!({"type": "object", "additionalProperties": schema(values)?}));
    }
    match kind {
        "string" | "integer" | "number" | "boolean" | "null" => Some(json!({ "type": kind })),
        "any" => Some(json!({})),
        name => {
            let is_name = name.starts_with(|c: char| c.is_ascii_uppercase())
                && name.chars().all(|c| c.is_ascii_alphanumeric());
            is_name.then(|| json!({"$ref": format!("#/components/schemas/{name}")}))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_words_stand_for_a_schema() {
        for (text, expected) in [
            ("integer", json!({"type": "integer"})),
            ("any", json!({})),
            ("Build", json!({"$ref": "#/components/schemas/Build"})),
            (
                "[string]|null",
                json!({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]}),
            ),
            (
                "{number}",
                json!({"type": "object", "additionalProperties": {"type": "number"}}),
            ),
            ("'A'|'B'|null", json!({"enum": ["A", "B", null]})),
            (
                "[number|null]",
                json!({"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}}),
            ),
        ] {
            assert_eq!(schema(text), Some(expected), "{text}");
        }
        assert_eq!(
            object("id: integer, name?: string"),
            Some(json!({
                "type": "object",
                "properties": {"id": {"type": "integer"}, "name": {"type": "string"}},
                "required": ["id"],
            }))
        );
        let offset = json!({"name": "offset", "in": "query", "required": false, "schema": {"type": "integer"}});
        assert_eq!(query("offset?: integer"), Some(vec![offset]));
        assert_eq!(query(""), Some(Vec::new()));
    }

    #[test]
    fn a_slip_is_no_schema() {
        for wrong in ["", "strng", "[string", "'A'|string", "a|b"] {
            assert_eq!(schema(wrong), None, "{wrong}");
        }
        for wrong in ["id", "id integer", "a b: string", ": string", "id: "] {
            assert_eq!(object(wrong), None, "{wrong}");
        }
    }
}
