//! A YAML or JSON value in which every part knows where it stands.
//!
//! Owns reading the two formats into one tree and what the YAML parser's errors mean. What the tree must
//! look like is [`super::check`]'s matter.

use super::problem::Position;
use super::tags;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Options, Spanned};
use std::fmt;

/// One value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Position,
    pub(super) value: Value,
}

/// What a value is. Scalars that are no strings keep the text of the file, so that a cure can be
/// written out ("write `"0755"`").
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Boolean(String),
    /// The number, or `None` beyond the range of `i64`.
    Integer(String, Option<i64>),
    Float(String),
    Text(String),
    List(Vec<Node>),
    /// Entries in file order, also those whose key was there before.
    Mapping(Vec<(Node, Node)>),
}

impl Value {
    /// The name that Python gives to the type; the original's messages contain it.
    pub(super) fn python_type(&self) -> &'static str {
        match self {
            Self::Null => "NoneType",
            Self::Boolean(_) => "bool",
            Self::Integer(..) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::List(_) => "list",
            Self::Mapping(_) => "dict",
        }
    }

    /// The text of any scalar as it stands in the file; a name may look like a number or a truth value.
    pub(super) fn scalar_text(&self) -> Option<&str> {
        match self {
            Self::Boolean(text) | Self::Integer(text, _) | Self::Float(text) | Self::Text(text) => {
                Some(text)
            }
            Self::Null | Self::List(_) | Self::Mapping(_) => None,
        }
    }
}

/// What is wrong with the file as YAML.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) place: Option<Position>,
    pub(super) message: String,
    pub(super) cure: String,
}

/// Nodes in one file, aliases counted as often as they are used. 5,000 jobs have about 60,000.
const MOST_NODES: usize = 150_000;
/// Steps of the parser: a value is one or two.
const MOST_EVENTS: usize = 2 * MOST_NODES + 1000;
/// Levels of nesting; a job needs five. Each level is a few stack frames of the parser.
const DEEPEST: usize = crate::text::json::MOST_LEVELS;
/// Bytes of one file; larger ones are a mistake, such as a log under the wrong name.
const LONGEST_TEXT: usize = 8 << 20;

/// Reads YAML text.
///
/// Duplicate keys stay in the tree, merge keys (`<<`) are carried out, and YAML 1.1 decides what a plain
/// scalar is, as for the original. Tags are refused.
pub(super) fn from_yaml(text: &str) -> Result<Node, SyntaxError> {
    if text.len() > LONGEST_TEXT {
        return Err(SyntaxError {
            place: None,
            message: format!(
                "the file has {} bytes, more than {LONGEST_TEXT}",
                text.len()
            ),
            cure: "split it into several projects, or move long scripts to files of their own"
                .to_owned(),
        });
    }
    if let Some((place, tag)) = tags::first(text, MOST_EVENTS) {
        return Err(SyntaxError {
            place: Some(place),
            message: format!("`{tag}` is a tag of YAML here, and no part of the text"),
            cure: "put the text in quotes with its `!`, or remove the tag".to_owned(),
        });
    }
    let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| explain(&error, text))?;
    Ok(place(raw, text))
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MOST_NODES,
            max_events: MOST_EVENTS,
            max_depth: DEEPEST,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 2 * MOST_NODES },
        // Both entries reach the visitor, so that a duplicate is one job's problem and not the file's.
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

/// A value as the deserializer gives it: no text yet for what is not a string.
enum Raw {
    Null,
    Boolean,
    Integer(Option<i64>),
    Float,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

/// Adds places and the text of scalars, which only the whole file can tell.
fn place(raw: Spanned<Raw>, text: &str) -> Node {
    // Where an alias is defined is where its text can be mended.
    let at = raw.defined;
    let as_written = || {
        let span = at.span();
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
        Some(text.get(start..end)?.trim().to_owned())
    };
    let written = || as_written().unwrap_or_default();
    let value = match raw.value {
        Raw::Null => Value::Null,
        // A single letter is a truth value in YAML 1.1 but a string for the original's parser.
        Raw::Boolean => match written() {
            letter if letter.len() == 1 => Value::Text(letter),
            word => Value::Boolean(word),
        },
        Raw::Integer(number) => Value::Integer(written(), number),
        Raw::Float => Value::Float(written()),
        Raw::Text(text) => Value::Text(text),
        Raw::List(elements) => Value::List(
            elements
                .into_iter()
                .map(|element| place(element, text))
                .collect(),
        ),
        Raw::Mapping(entries) => Value::Mapping(
            entries
                .into_iter()
                .map(|(key, value)| (place(key, text), place(value, text)))
                .collect(),
        ),
    };
    Node {
        place: Position::Line {
            line: at.line(),
            column: at.column(),
        },
        value,
    }
}

/// Says in our words what the parser did not like.
fn explain(error: &serde_saphyr::Error, text: &str) -> SyntaxError {
    let at = error.location().filter(|at| at.line() > 0);
    let place = at.map(|at| Position::Line {
        line: at.line(),
        column: at.column(),
    });
    // The parser only sees the consequences of a tab, often some lines later.
    if let Some((line, column)) = tab_in_indentation(text, at.map_or(u64::MAX, |at| at.line())) {
        return SyntaxError {
            place: Some(Position::Line { line, column }),
            message: "a tab is used for indentation".to_owned(),
            cure: "write blanks instead of the tab".to_owned(),
        };
    }
    let mut message = error.without_snippet().to_string();
    // The place is told once, by us.
    if let Some(at) = at {
        for end in [
            format!(" at line {}, column {}", at.line(), at.column()),
            format!(" (line {}, column {})", at.line(), at.column()),
        ] {
            message = message.replace(&end, "");
        }
    }
    let cure = match error.without_snippet() {
        serde_saphyr::Error::Budget { .. }
        | serde_saphyr::Error::AliasReplayLimitExceeded { .. }
        | serde_saphyr::Error::AliasReplayStackDepthExceeded { .. } => {
            message = "it is too large or nested too deeply".to_owned();
            format!("keep below {MOST_NODES} values and {DEEPEST} levels, counting what aliases repeat")
        }
        serde_saphyr::Error::UnknownAnchor { .. } => {
            "put the value in quotes if it begins with `*`, or define the anchor with `&` before".to_owned()
        }
        serde_saphyr::Error::MultipleDocuments { .. } => "remove the `---` between the jobs".to_owned(),
        _ => "check the indentation, brackets and quotes here and in the lines above; a text that contains `: ` or ` #` \
              or begins with one of ` * & ! % @ { [ needs quotes"
            .to_owned(),
    };
    SyntaxError {
        place,
        message,
        cure,
    }
}

/// Line and column, from 1, of the first tab before a line's first letter, up to the line `last`.
fn tab_in_indentation(text: &str, last: u64) -> Option<(u64, u64)> {
    (1..=last).zip(text.lines()).find_map(|(number, line)| {
        let indentation = line.len() - line.trim_start_matches([' ', '\t']).len();
        let tab = line[..indentation].find('\t')?;
        // A line of nothing but white space harms nobody.
        (indentation < line.len()).then_some((number, tab as u64 + 1))
    })
}

/// Reads a JSON value; places are paths such as `config.commands[0]`.
pub(super) fn from_json(json: &serde_json::Value, path: &str) -> Node {
    let value = match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Boolean(truth.to_string()),
        serde_json::Value::Number(number) if number.is_f64() => Value::Float(number.to_string()),
        serde_json::Value::Number(number) => Value::Integer(number.to_string(), number.as_i64()),
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Array(elements) => Value::List(
            elements
                .iter()
                .enumerate()
                .map(|(index, element)| from_json(element, &format!("{path}[{index}]")))
                .collect(),
        ),
        serde_json::Value::Object(entries) => Value::Mapping(
            entries
                .iter()
                .map(|(key, value)| {
                    let path = format!("{path}.{key}");
                    (
                        Node {
                            place: Position::Path(path.clone()),
                            value: Value::Text(key.clone()),
                        },
                        from_json(value, &path),
                    )
                })
                .collect(),
        ),
    };
    Node {
        place: Position::Path(path.to_owned()),
        value,
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Boolean)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(Some(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Integer(i64::try_from(number).ok()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Float)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Raw, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            elements.push(element);
        }
        Ok(Raw::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
            if entries.len() > MOST_NODES {
                return Err(A::Error::custom("too many entries in one mapping"));
            }
        }
        Ok(Raw::Mapping(entries))
    }
}

/// `<class 'int'>`, or for a list element `(<class 'list'>, <class 'int'>)`.
pub(super) fn python_type(value: &Value, in_list: bool) -> String {
    let name = value.python_type();
    if in_list {
        format!("(<class 'list'>, <class '{name}'>)")
    } else {
        format!("<class '{name}'>")
    }
}
