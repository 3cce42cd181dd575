//! From the body of a request to a [`BuildRequest`], or the field that is wrong.

mod fields;
mod sources;

use self::fields::{Fields, WITHOUT_NUL, kind, wrong, wrong_kind};
use self::sources::{directory_source, git_source, own_source, working_tree};
use crate::ids::BuildId;
use crate::job::config::MOST_RETRIES;
use crate::job::matrix::{Chosen, MOST_COMBINATIONS};
use crate::process::variables::{Variables, check, check_chosen};
use crate::work::{BuildRequest, ENV, INHERITED_ENV};
use indexmap::IndexMap;
use serde_json::Value;
use std::num::NonZeroU32;

/// The field with the build that is run again.
pub const RETRY_OF: &str = "retry_of";
/// The field with the commit of a git project.
pub const HASH: &str = "hash";

/// The field with the combinations of a matrix that are built.
pub(super) const MATRIX: &str = "matrix";

/// The parameters that a request may have, for each project type; the original's names.
const GIT_PARAMETERS: &[&str] = &[
    "type",
    "job_name",
    "url",
    "remote",
    "branch",
    HASH,
    "remote_files",
    "project_directory",
    "config",
    "atoms_override",
    "quotes_atoms",
    "in_order",
    "retries",
    "max_fail",
    RETRY_OF,
    MATRIX,
    ENV,
    INHERITED_ENV,
    WORKING_TREE,
];
/// What a master tells a slave about a project's own repository.
const OWN_PARAMETERS: &[&str] = &["type", "project", "commit", "remote_files"];
const DIRECTORY_PARAMETERS: &[&str] = &[
    "type",
    "job_name",
    "remote_files",
    "project_directory",
    "config",
    "atoms_override",
    "quotes_atoms",
    "in_order",
    "retries",
    "max_fail",
    RETRY_OF,
    MATRIX,
    ENV,
    INHERITED_ENV,
];

/// The field that says that a client has sent the code.
pub const WORKING_TREE: &str = "working_tree";

/// The most bytes of all variables of a request: the system gives a program little more.
const MOST_VARIABLES: usize = 512 << 10;

/// What the original's master adds to the parameters of each build: a link that nothing here makes or reads. It
/// comes back where parameters are submitted anew.
pub const LINK_PARAMETER: &str = "build_project_directory";

/// Why a request is refused; nothing was stored. The text goes to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// Not a JSON object.
    #[error(
        "The request body must be a JSON object such as {{\"type\": \"git\", \"url\": ...}}, not {found}."
    )]
    NotAnObject {
        /// The kind of JSON value it is.
        found: &'static str,
    },
    /// `type` is missing or names no project type; the original's words, and the cure.
    #[error("Invalid build request type. Field 'type' must be \"git\" or \"directory\".")]
    Type,
    /// A required field is not there; the original's words.
    #[error("Missing required parameter. Required parameters: ['{field}']")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field has the wrong type or an unusable value.
    #[error("Field '{field}' must be {expected}.")]
    Field {
        /// The field, with the key inside it where there is one.
        field: String,
        /// What would be right.
        expected: String,
    },
    /// A field that this project type does not have.
    #[error("Field '{field}' is not known for type \"{project_type}\". Known fields: {known}.")]
    Unknown {
        /// The field.
        field: String,
        /// `git` or `directory`.
        project_type: &'static str,
        /// What the type takes.
        known: String,
    },
}

impl BuildRequest {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// The first field that is missing, unknown, of a wrong type or unusable.
    pub fn from_json(body: &Value) -> Result<Self, InvalidRequest> {
        Self::read(body, false)
    }

    /// Reads what a master tells a slave of a request: it may also be about a project's own repository.
    ///
    /// # Errors
    /// As [`Self::from_json`].
    pub fn from_master(body: &Value) -> Result<Self, InvalidRequest> {
        Self::read(body, true)
    }

    fn read(body: &Value, is_from_master: bool) -> Result<Self, InvalidRequest> {
        let Value::Object(map) = body else {
            return Err(InvalidRequest::NotAnObject { found: kind(body) });
        };
        let fields = Fields(map);
        let type_name = match map.get("type") {
            Some(Value::String(name)) => name.to_lowercase(),
            _ => return Err(InvalidRequest::Type),
        };
        let (project_type, known) = match type_name.as_str() {
            "git" => ("git", GIT_PARAMETERS),
            "directory" => ("directory", DIRECTORY_PARAMETERS),
            "own" if is_from_master => ("own", OWN_PARAMETERS),
            _ => return Err(InvalidRequest::Type),
        };
        let is_known = |key: &&String| known.contains(&key.as_str()) || *key == LINK_PARAMETER;
        if let Some(field) = map.keys().find(|key| !is_known(key)) {
            return Err(InvalidRequest::Unknown {
                field: field.clone(),
                project_type,
                known: known.join(", "),
            });
        }
        let project = match project_type {
            "git" => git_source(&fields)?,
            "own" => own_source(&fields)?,
            _ => directory_source(&fields)?,
        };
        let env = variables(&fields, ENV)?;
        let inherited_env = variables(&fields, INHERITED_ENV)?;
        Ok(Self {
            env: env.unwrap_or_default(),
            inherited_env,
            specification: None,
            product: None,
            project,
            job_name: fields.text("job_name")?,
            config: match fields.get("config") {
                None => None,
                Some(Value::Object(job)) => Some(job.clone()),
                Some(other) => {
                    return Err(wrong_kind(
                        "config",
                        "an object with the keys of one job",
                        other,
                    ));
                }
            },
            atoms_override: atoms_override(&fields)?,
            quotes_atoms: fields.truth("quotes_atoms")?,
            in_order: fields.truth("in_order")?,
            retries: retries(&fields)?,
            max_fail: max_fail(&fields)?,
            retry_of: retry_of(&fields)?,
            matrix: matrix(&fields)?,
            part: None,
            is_commit_found: false,
            is_brought_by_others: false,
            remote_files: remote_files(&fields)?,
            working_tree: working_tree(&fields)?,
        })
    }
}

fn atoms_override(fields: &Fields<'_>) -> Result<Option<Vec<String>>, InvalidRequest> {
    let list = match fields.get("atoms_override") {
        None => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong_kind("atoms_override", "a list of strings", other)),
    };
    let atom = |(index, value): (usize, &Value)| match value {
        Value::String(atom) if atom.contains('\0') => {
            Err(wrong(format!("atoms_override[{index}]"), WITHOUT_NUL))
        }
        Value::String(atom) => Ok(atom.clone()),
        other => Err(wrong_kind(
            format!("atoms_override[{index}]"),
            "a string such as export X=\"7\";",
            other,
        )),
    };
    list.iter()
        .enumerate()
        .map(atom)
        .collect::<Result<_, _>>()
        .map(Some)
}

fn retries(fields: &Fields<'_>) -> Result<Option<u32>, InvalidRequest> {
    let expected = format!("a whole number between 0 and {MOST_RETRIES}");
    fields.number("retries", &expected, |number| {
        (number <= MOST_RETRIES).then_some(number)
    })
}

fn max_fail(fields: &Fields<'_>) -> Result<Option<NonZeroU32>, InvalidRequest> {
    let expected = "a whole number of 1 or more; leave it out for no limit";
    fields.number("max_fail", expected, NonZeroU32::new)
}

fn matrix(fields: &Fields<'_>) -> Result<Vec<Chosen>, InvalidRequest> {
    let expected = "a list of objects with variables of the job's matrix and their values";
    let list = match fields.get(MATRIX) {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.is_empty() => {
            return Err(wrong(
                MATRIX,
                format!("{expected}; leave it out for all combinations"),
            ));
        }
        Some(Value::Array(list)) if list.len() > MOST_COMBINATIONS => {
            let most = format!("at most {MOST_COMBINATIONS} objects, not {}", list.len());
            return Err(wrong(MATRIX, most));
        }
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong_kind(MATRIX, expected, other)),
    };
    let one = |(index, chosen): (usize, &Value)| {
        let place = format!("{MATRIX}[{index}]");
        let Value::Object(variables) = chosen else {
            return Err(wrong_kind(
                place,
                "an object of variables and values",
                chosen,
            ));
        };
        let text = |(name, value): (&String, &Value)| match value {
            Value::String(value) => Ok((name.clone(), value.clone())),
            other => Err(wrong_kind(format!("{place}.{name}"), "a string", other)),
        };
        let variables = variables.iter().map(text).collect::<Result<_, _>>()?;
        Ok(Chosen {
            variables,
            atoms: None,
            is_exact: false,
        })
    };
    list.iter().enumerate().map(one).collect()
}

fn retry_of(fields: &Fields<'_>) -> Result<Option<BuildId>, InvalidRequest> {
    match fields.get(RETRY_OF).map(|of| (of, of.as_u64())) {
        None => Ok(None),
        Some((_, Some(of))) if of > 0 => Ok(Some(BuildId(of))),
        Some(_) => Err(wrong(RETRY_OF, "the number of a build")),
    }
}

/// Values are not in the messages.
fn variables(
    fields: &Fields<'_>,
    field: &'static str,
) -> Result<Option<Variables>, InvalidRequest> {
    let map = match fields.get(field) {
        None => return Ok(None),
        Some(Value::Object(map)) => map,
        Some(other) => {
            let expected = "an object of names and values";
            return Err(wrong_kind(field, expected, other));
        }
    };
    let mut variables = Variables::default();
    for (name, value) in map {
        let place = || format!("{field}.{name}");
        let Value::String(value) = value else {
            return Err(wrong_kind(place(), "a value in a string", value));
        };
        // What a client's environment has is taken over as it is.
        let checked = match field == ENV {
            true => check_chosen(name, value),
            false => check(name, value),
        };
        checked.map_err(|right| wrong(place(), right))?;
        variables.set(name, value);
    }
    if variables.size() > MOST_VARIABLES {
        return Err(wrong(
            field,
            "of at most 512 KiB: write long values into files",
        ));
    }
    Ok(Some(variables))
}

fn remote_files(fields: &Fields<'_>) -> Result<IndexMap<String, String>, InvalidRequest> {
    let map = match fields.get("remote_files") {
        None => return Ok(IndexMap::new()),
        Some(Value::Object(map)) => map,
        Some(other) => {
            return Err(wrong_kind(
                "remote_files",
                "an object of file names and URLs",
                other,
            ));
        }
    };
    let entry = |(name, value): (&String, &Value)| match value {
        Value::String(url) => Ok((name.clone(), url.clone())),
        other => Err(wrong_kind(
            format!("remote_files.{name}"),
            "a URL in a string",
            other,
        )),
    };
    map.iter().map(entry).collect()
}
