//! The specification of a build, as the command lines of all versions send it, checked part by part. Pure.
//!
//! Up to 0.3 it is an object, `config`; from 0.5 on a text in JSON or YAML, `content`. The parts of a build stand below
//! `build` or, from 0.5 on, at the top.

mod dockerfile;
mod parts;
mod recipe;

pub(super) use dockerfile::dockerfile;
pub(super) use recipe::recipe;

use clusterrunner_common::process::variables::{Variables, check as check_variable};
use clusterrunner_common::text::json::MOST_LEVELS;
use clusterrunner_common::text::nearest::nearest;
use clusterrunner_common::text::{json, yaml};
use parts::{Parts, kind_of};
use serde_json::{Map, Value};

/// The longest text of a specification, in bytes.
const LONGEST_TEXT: usize = 1 << 20;

/// The most steps.
const MOST_STEPS: usize = 1000;

/// The most bytes of one step: it becomes an argument of a shell.
const LONGEST_STEP: usize = 96 << 10;

/// The most bytes of all variables with their names.
const MOST_VARIABLES: usize = 512 << 10;

/// The most bytes of any other text.
const LONGEST_NAME: usize = 1000;

/// The section with the parts of a build.
const BUILD: &str = "build";

/// What stands at the top, beside the parts of a build. Those that ask for something that no slave does are taken and
/// not looked at.
const SECTIONS: [&str; 12] = [
    "version",
    "kind",
    "name",
    "description",
    "tags",
    "logging",
    "environment",
    "inputs",
    "outputs",
    "params",
    "declarations",
    BUILD,
];

/// The variables with the locale.
const LOCALE: [&str; 3] = ["LC_ALL", "LANG", "LANGUAGE"];

/// The parts of a build, in all versions.
const PARTS: [&str; 12] = [
    "image",
    "build_steps",
    "env_vars",
    "lang_env",
    "commit",
    "ref",
    "branch",
    "nocache",
    "dockerfile",
    "context",
    "backend",
    "git",
];

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Specification {
    /// The container image that the steps are to run in.
    pub(super) image: Option<String>,
    /// The path of a Dockerfile in the code, in place of image and steps.
    pub(super) dockerfile: Option<String>,
    /// The directory of the code that is built.
    pub(super) context: Option<String>,
    /// Whether the build runs even if an equal one has left a template.
    pub(super) has_no_cache: bool,
    /// Shell texts, one after the other.
    pub(super) build_steps: Vec<String>,
    /// Names and values, in their order.
    pub(super) env_vars: Vec<(String, String)>,
    /// The locale; the usual one where nothing is said.
    pub(super) lang_env: Option<String>,
    /// The commit of the code, by its id, which may be abbreviated.
    pub(super) commit: Option<String>,
    /// A branch, tag or commit of the code.
    pub(super) reference: Option<String>,
    /// The name that the specification gives the build.
    pub(super) name: Option<String>,
    /// The description that it gives.
    pub(super) description: Option<String>,
    /// The tags that it gives.
    pub(super) tags: Option<Vec<String>>,
    /// All of it, with the parts of the build below `build`.
    pub(super) config: Map<String, Value>,
}

/// A text that is no specification, in words for its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct InvalidSpecification(String);

impl InvalidSpecification {
    fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

type Checked<T> = Result<T, InvalidSpecification>;

impl Specification {
    /// Reads the text of `content`.
    pub(super) fn of_text(text: &str) -> Checked<Self> {
        if text.len() > LONGEST_TEXT {
            let sentence = format!("It has {} bytes, and {LONGEST_TEXT} are taken.", text.len());
            return Err(InvalidSpecification(sentence));
        }
        Self::of_value(value_of(text)?)
    }

    /// Reads the object of `config`.
    pub(super) fn of_value(value: Value) -> Checked<Self> {
        if is_deeper_than(&value, MOST_LEVELS - 4) {
            let sentence = "It is nested too deeply.";
            return Err(InvalidSpecification::new(sentence));
        }
        let Value::Object(mut top) = value else {
            let found = kind_of(&value);
            return Err(InvalidSpecification(format!(
                "It must be an object such as {{\"version\": 1, \"kind\": \"build\", \"build\": {{…}}}}, not {found}."
            )));
        };
        check_head(&top)?;
        let build = joined(&mut top)?;
        let parts = Parts(&build);
        let specification = Self {
            image: image(&parts)?,
            dockerfile: path(&parts, "dockerfile")?,
            context: path(&parts, "context")?,
            has_no_cache: parts.truth("nocache")?,
            build_steps: build_steps(&parts)?,
            env_vars: env_vars(&parts)?,
            lang_env: word(&parts, "lang_env")?,
            commit: parts.text("commit", LONGEST_NAME)?,
            reference: match parts.text("ref", LONGEST_NAME)? {
                None => parts.text("branch", LONGEST_NAME)?,
                given => given,
            },
            ..Self::default()
        };
        for text in ["git", "backend"] {
            parts.text(text, LONGEST_NAME)?;
        }
        let head = Parts(&top);
        let (name, description) = (
            head.text("name", LONGEST_TEXT)?,
            head.text("description", LONGEST_TEXT)?,
        );
        let tags = head.texts("tags", MOST_STEPS, LONGEST_NAME)?;
        specification.check()?;
        top.insert(BUILD.to_owned(), Value::Object(build));
        Ok(Self {
            name,
            description,
            tags,
            config: top,
            ..specification
        })
    }

    /// What was stored of one that was accepted. A part that can not be read any more counts as left out.
    pub(super) fn stored(config: &Map<String, Value>) -> Self {
        Self::of_value(Value::Object(config.clone())).unwrap_or_else(|_| Self {
            config: config.clone(),
            ..Self::default()
        })
    }

    /// The variables of all steps.
    pub(super) fn variables(&self) -> Variables {
        let mut variables = Variables::default();
        for name in LOCALE.iter().filter(|_| self.lang_env.is_some()) {
            variables.set(*name, self.lang_env.clone().unwrap_or_default());
        }
        for (name, value) in &self.env_vars {
            variables.set(name, value);
        }
        variables
    }

    fn check(&self) -> Checked<()> {
        if self.image.is_none() && self.dockerfile.is_none() && self.build_steps.is_empty() {
            let sentence = "It is no specification of a build: it needs an `image`, `build_steps` or a `dockerfile`.";
            return Err(InvalidSpecification::new(sentence));
        }
        if self.image.is_some() && self.dockerfile.is_some() {
            let sentence = "It has an `image` and a `dockerfile`: give one of them.";
            return Err(InvalidSpecification::new(sentence));
        }
        Ok(())
    }
}

/// JSON is read as JSON; what is none, as YAML.
fn value_of(text: &str) -> Checked<Value> {
    if text.trim_start().starts_with('{') {
        match json::from_slice(text.as_bytes()) {
            Ok(value) => return Ok(value),
            // A name that is twice, or too many levels.
            Err(error) if error.is_data() => {
                return Err(InvalidSpecification(format!(
                    "It can not be read: {error}."
                )));
            }
            Err(_) => {}
        }
    }
    let read = yaml::from_str(text);
    read.map_err(|error| {
        InvalidSpecification(format!(
            "It is neither JSON nor YAML that can be read: {error}."
        ))
    })
}

/// Without recursion: it may come from any reader.
fn is_deeper_than(value: &Value, most: usize) -> bool {
    let mut waiting = vec![(value, 0)];
    while let Some((value, above)) = waiting.pop() {
        let inner = match value {
            Value::Array(elements) => elements.iter().collect::<Vec<_>>(),
            Value::Object(members) => members.values().collect(),
            _ => continue,
        };
        if above == most {
            return true;
        }
        waiting.extend(inner.into_iter().map(|inner| (inner, above + 1)));
    }
    false
}

fn check_head(top: &Map<String, Value>) -> Checked<()> {
    let is_one = |version: &Value| version.as_f64() == Some(1.0);
    match top.get("version") {
        Some(version) if is_one(version) => {}
        None | Some(Value::Null) => {
            let sentence = "The Polyaxonfile `version` must be specified: 1.";
            return Err(InvalidSpecification::new(sentence));
        }
        Some(_) => {
            let sentence = "The Polyaxonfile `version` must be 1.";
            return Err(InvalidSpecification::new(sentence));
        }
    }
    match top.get("kind") {
        Some(Value::String(kind)) if kind == BUILD => Ok(()),
        None | Some(Value::Null) => {
            let sentence = "The Polyaxonfile `kind` must be specified: build.";
            Err(InvalidSpecification::new(sentence))
        }
        Some(_) => {
            let sentence = "The Polyaxonfile `kind` must be build: this farm runs no other kinds.";
            Err(InvalidSpecification::new(sentence))
        }
    }
}

/// Takes the parts of the build out of the specification, wherever they stand.
fn joined(top: &mut Map<String, Value>) -> Checked<Map<String, Value>> {
    let mut build = match top.shift_remove(BUILD) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(build)) => build,
        Some(other) => {
            let found = kind_of(&other);
            return Err(InvalidSpecification(format!(
                "`build` must be an object, not {found}."
            )));
        }
    };
    for part in PARTS {
        let Some(value) = top.shift_remove(part).filter(|value| !value.is_null()) else {
            continue;
        };
        if build.get(part).is_some_and(|there| !there.is_null()) {
            return Err(InvalidSpecification(format!(
                "`{part}` is there twice: at the top and below `build`."
            )));
        }
        build.insert(part.to_owned(), value);
    }
    check_known(top, &SECTIONS, "")?;
    check_known(&build, &PARTS, " below `build`")?;
    build.retain(|_, value| !value.is_null());
    top.retain(|_, value| !value.is_null());
    Ok(build)
}

fn check_known(members: &Map<String, Value>, known: &[&str], place: &str) -> Checked<()> {
    let Some(unknown) = members.keys().find(|name| !known.contains(&name.as_str())) else {
        return Ok(());
    };
    let shown: String = unknown.chars().take(80).collect();
    let meant = nearest(unknown, PARTS.into_iter().chain(SECTIONS));
    let meant = meant.map_or_else(String::new, |meant| format!(" Did you mean `{meant}`?"));
    Err(InvalidSpecification(format!(
        "Unexpected section `{shown}`{place}.{meant}"
    )))
}

fn image(parts: &Parts<'_>) -> Checked<Option<String>> {
    let Some(image) = word(parts, "image")? else {
        return Ok(None);
    };
    // A name has one colon, before its tag, and a registry may have another, before its port.
    let colons: Vec<&str> = image.split(':').collect();
    let is_right = match colons.as_slice() {
        [_] | [_, _] => true,
        [_, port_and_name, _] => port_and_name.contains('/') && !port_and_name.starts_with('/'),
        _ => false,
    };
    match is_right {
        true => Ok(Some(image)),
        false => Err(InvalidSpecification(format!(
            "Invalid docker image `{image}`."
        ))),
    }
}

/// A text without blanks.
fn word(parts: &Parts<'_>, name: &str) -> Checked<Option<String>> {
    let text = parts.text(name, LONGEST_NAME)?;
    match text {
        Some(text) if text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            Err(InvalidSpecification(format!(
                "`{name}` must have no blanks and control characters."
            )))
        }
        text => Ok(text.filter(|text| !text.is_empty())),
    }
}

/// A path in the code.
fn path(parts: &Parts<'_>, name: &str) -> Checked<Option<String>> {
    let text = parts.text(name, LONGEST_NAME)?;
    let leads_out =
        |text: &String| text.starts_with('/') || text.split('/').any(|part| part == "..");
    match text {
        Some(text) if leads_out(&text) || text.contains(char::is_control) => {
            Err(InvalidSpecification(format!(
                "`{name}` must be a path in the code, relative and without `..`."
            )))
        }
        text => Ok(text.filter(|text| !text.is_empty())),
    }
}

fn build_steps(parts: &Parts<'_>) -> Checked<Vec<String>> {
    let steps = parts.texts("build_steps", MOST_STEPS, LONGEST_STEP)?;
    Ok(steps.unwrap_or_default())
}

/// Pairs of names and values. A value may be a number or a truth value: it is set as it is written.
fn env_vars(parts: &Parts<'_>) -> Checked<Vec<(String, String)>> {
    let mut variables = Vec::new();
    let mut size = 0;
    for (index, pair) in parts.list("env_vars")?.iter().enumerate() {
        let place = format!("`env_vars[{index}]`");
        let Value::Array(pair) = pair else {
            let found = kind_of(pair);
            return Err(InvalidSpecification(format!(
                "{place} must be a pair such as [\"NAME\", \"value\"], not {found}."
            )));
        };
        let (Some(Value::String(name)), Some(value), None) =
            (pair.first(), pair.get(1), pair.get(2))
        else {
            return Err(InvalidSpecification(format!(
                "{place} must be a pair of a name and a value."
            )));
        };
        let value = match value {
            Value::String(value) => value.clone(),
            Value::Number(value) => value.to_string(),
            // As Python writes them.
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err(InvalidSpecification(format!(
                    "The value of {place} must be a text, a number or a truth value."
                )));
            }
        };
        // Values are not in the messages.
        check_variable(name, &value)
            .map_err(|right| InvalidSpecification(format!("{place} must be {right}.")))?;
        size += name.len() + value.len();
        if size > MOST_VARIABLES {
            let sentence = "`env_vars` have more than 512 KiB: write long values into files.";
            return Err(InvalidSpecification::new(sentence));
        }
        variables.push((name.clone(), value));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests;
