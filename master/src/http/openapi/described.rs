//! An operation of an API, and its description.

use super::types;
use serde_json::{Map, Value, json};

/// A method of a path, as its clients need it described.
#[derive(Debug)]
pub(in crate::http) struct Described {
    /// In lower case.
    pub(in crate::http) method: &'static str,
    /// With its variable parts in braces.
    pub(in crate::http) path: String,
    pub(in crate::http) summary: &'static str,
    /// The parameters of the query, in the words of [`types`].
    pub(in crate::http) query: &'static str,
    /// The names of security schemes: each alone is enough. An empty name: nothing is needed.
    pub(in crate::http) security: &'static [&'static str],
    pub(in crate::http) body: Body,
    /// What is answered, by status.
    pub(in crate::http) answers: Vec<(u16, Answer)>,
    /// Further fields of all objects that are answered with.
    pub(in crate::http) always: &'static str,
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) enum Body {
    None,
    /// JSON with these fields.
    Json(&'static str),
    /// JSON as the schema of this name has it.
    Of(&'static str),
    /// Of this media type.
    Other(&'static str),
}

/// The body of an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) enum Answer {
    /// JSON with these fields.
    Json(&'static str),
    /// The same, or a text where the query asks for one.
    JsonOrText(&'static str),
    /// Of this media type.
    Other(&'static str),
    Nothing,
    /// A refusal of ClusterRunner's API.
    Error,
    /// Described elsewhere.
    Undescribed,
}

/// An operation in a table of an API whose answers are described elsewhere: method, path, what it does, parameters of the
/// query, fields of the body, statuses of success.
pub(in crate::http) type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static [u16],
);

/// The operations of such a table, any of which may be refused with `refusals`; `proofs` says by method and path what is
/// proof enough.
pub(in crate::http) fn rows(
    table: &'static [Row],
    refusals: &'static [u16],
    proofs: impl Fn(&str, &str) -> &'static [&'static str],
) -> Vec<Described> {
    let described = |&(method, path, summary, query, body, statuses): &Row| {
        let done = statuses.iter().map(|status| (*status, Answer::Undescribed));
        let refused = refusals.iter().map(|status| (*status, Answer::Undescribed));
        Described {
            method,
            path: path.to_owned(),
            summary,
            query,
            security: proofs(method, path),
            body: body.map_or(Body::None, Body::Json),
            answers: done.chain(refused).collect(),
            always: "",
        }
    };
    table.iter().map(described).collect()
}

impl Described {
    /// The operation in the form of OpenAPI.
    pub(in crate::http) fn to_json(&self) -> Value {
        let in_path = self.path.split('/').filter_map(|part| {
            let name = part.strip_prefix('{')?.strip_suffix('}')?;
            let schema = match name.ends_with("_id") {
                true => json!({"type": "integer", "minimum": 0}),
                false => json!({"type": "string", "minLength": 1}),
            };
            Some(json!({"name": name, "in": "path", "required": true, "schema": schema}))
        });
        let in_query = types::query(self.query).unwrap_or_default();
        let parameters: Vec<Value> = in_path.chain(in_query).collect();
        let security = self.security.iter().map(|scheme| match *scheme {
            "" => json!({}),
            scheme => json!({ scheme: [] }),
        });
        let answers = self.answers.iter();
        let responses = answers
            .map(|(status, answer)| (status.to_string(), answer.to_json(*status, self.always)));
        let mut described = json!({
            "summary": self.summary,
            "operationId": self.id(),
            "parameters": parameters,
            "security": security.collect::<Vec<_>>(),
            "responses": responses.collect::<Map<_, _>>(),
        });
        let content = match self.body {
            Body::None => return described,
            Body::Json(fields) => json!({"application/json": {"schema": types::object(fields)}}),
            Body::Of(name) => json!({"application/json": {"schema": types::schema(name)}}),
            Body::Other(kind) => json!({ kind: {} }),
        };
        described["requestBody"] = json!({"content": content, "required": true});
        described
    }

    fn id(&self) -> String {
        let words = self.path.split(['/', '.']).filter(|word| !word.is_empty());
        let words = words.map(|word| word.trim_matches(['{', '}']));
        let words = std::iter::once(self.method).chain(words);
        words.collect::<Vec<_>>().join("_")
    }
}

impl Answer {
    fn to_json(self, status: u16, always: &str) -> Value {
        let json = |schema: Value| json!({"application/json": {"schema": schema}});
        let object = |fields: &str| types::object(&format!("{fields}, {always}"));
        let content = match self {
            Self::Json(fields) => json(object(fields).unwrap_or_default()),
            Self::JsonOrText(fields) => {
                let mut content = json(object(fields).unwrap_or_default());
                content["text/plain"] = json!({});
                content
            }
            Self::Other(kind) => json!({ kind: {} }),
            Self::Error => json(types::schema("Error").unwrap_or_default()),
            Self::Nothing | Self::Undescribed => return json!({"description": reason(status)}),
        };
        json!({"description": reason(status), "content": content})
    }
}

/// Why an answer has a status.
fn reason(status: u16) -> &'static str {
    match status {
        101 => "The connection is a web socket now.",
        200 => "Done.",
        201 => "It was made.",
        202 => "It is under way.",
        204 => "Done; there is nothing to say.",
        206 => "The part that was asked for.",
        302 => "It is elsewhere.",
        304 => "Nothing has changed.",
        400 => "A field, a parameter or the JSON is wrong.",
        401 => "The proof is missing or wrong.",
        403 => "The caller may not do this.",
        404 => "There is no such thing.",
        405 => "The route does not take this method.",
        408 => "The body broke off or came too slowly.",
        409 => "This does not fit the present state.",
        410 => "It was removed.",
        411 => "The length of the body is missing.",
        412 => "The session of the master has changed.",
        413 => "The body is too large.",
        415 => "The body has another media type than it should.",
        416 => "The file has no such range.",
        429 => "Too many tries.",
        500 => "A fault of the master.",
        502 => "A slave does not answer.",
        503 => "The master is going down, or has too much to do.",
        507 => "The disk of the master is nearly full.",
        _ => "See docs/api.md.",
    }
}
