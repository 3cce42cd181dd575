//! From the body of a request to a [`BuildRequest`], or the field that is wrong.

use crate::git::CommitId;
use crate::ids::{BuildId, ProjectId};
use crate::job::config::MOST_RETRIES;
use crate::job::matrix::{Chosen, MOST_COMBINATIONS};
use crate::process::variables::{Variables, check, check_chosen};
use crate::work::{BuildRequest, ENV, INHERITED_ENV, ProjectSource, WorkingTree};
use indexmap::IndexMap;
use serde_json::{Map, Value};
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

/// The longest name of a sender.
const LONGEST_SENDER: usize = 200;

/// The most bytes of all variables of a request: the system gives a program little more.
const MOST_VARIABLES: usize = 512 << 10;

/// What the original's master adds to the parameters of each build: a link that nothing here makes or reads. It
/// comes back where parameters are submitted anew.
pub const LINK_PARAMETER: &str = "build_project_directory";

/// Texts end up in names of files and in environments, where such a character is the end.
const WITHOUT_NUL: &str = "text without NUL characters";

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
            remote_files: remote_files(&fields)?,
            working_tree: working_tree(&fields)?,
        })
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong(field: impl Into<String>, expected: impl Into<String>) -> InvalidRequest {
    InvalidRequest::Field {
        field: field.into(),
        expected: expected.into(),
    }
}

fn wrong_kind(field: impl Into<String>, expected: &str, found: &Value) -> InvalidRequest {
    wrong(field, format!("{expected}, not {}", kind(found)))
}

/// The fields of one request. A field that is null counts as left out, as in the original.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn text(&self, field: &str) -> Result<Option<String>, InvalidRequest> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => Err(wrong(field, WITHOUT_NUL)),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(wrong_kind(field, "a string", other)),
        }
    }

    fn truth(&self, field: &str) -> Result<bool, InvalidRequest> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(other) => Err(wrong_kind(field, "true or false", other)),
        }
    }

    fn number<T>(
        &self,
        field: &str,
        expected: &str,
        take: impl FnOnce(u32) -> Option<T>,
    ) -> Result<Option<T>, InvalidRequest> {
        let Some(found) = self.get(field) else {
            return Ok(None);
        };
        let number = found.as_u64().and_then(|number| u32::try_from(number).ok());
        match (number.and_then(take), found) {
            (Some(number), _) => Ok(Some(number)),
            (None, Value::Number(number)) => Err(wrong(field, format!("{expected}, not {number}"))),
            (None, other) => Err(wrong_kind(field, expected, other)),
        }
    }

    fn required_text(&self, field: &'static str) -> Result<String, InvalidRequest> {
        match self.text(field)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(InvalidRequest::Missing { field }),
        }
    }
}

fn git_source(fields: &Fields<'_>) -> Result<ProjectSource, InvalidRequest> {
    let url = fields.required_text("url")?;
    let branch = fields.text("branch")?.filter(|branch| !branch.is_empty());
    if branch
        .as_ref()
        .is_some_and(|b| b.starts_with('-') || b.contains(char::is_whitespace))
    {
        return Err(wrong("branch", "the name of a branch, tag or ref"));
    }
    let hash = fields.text(HASH)?.filter(|hash| !hash.is_empty());
    let is_commit = |hash: &String| {
        (4..=40).contains(&hash.len()) && hash.bytes().all(|b| b.is_ascii_hexdigit())
    };
    if hash.as_ref().is_some_and(|hash| !is_commit(hash)) {
        return Err(wrong(HASH, "a commit id of 4 to 40 hex digits"));
    }
    let project_directory = fields
        .text("project_directory")?
        .filter(|dir| !dir.is_empty());
    let leaves_repository = |dir: &String| {
        let path = std::path::Path::new(dir);
        path.components().any(|part| {
            !matches!(
                part,
                std::path::Component::Normal(_) | std::path::Component::CurDir
            )
        })
    };
    if project_directory.as_ref().is_some_and(leaves_repository) {
        return Err(wrong(
            "project_directory",
            "a path inside the repository, relative and without '..'",
        ));
    }
    Ok(ProjectSource::Git {
        url,
        remote: fields.text("remote")?,
        branch,
        hash: hash.map(|hash| hash.to_lowercase()),
        project_directory,
    })
}

fn directory_source(fields: &Fields<'_>) -> Result<ProjectSource, InvalidRequest> {
    let project_directory = fields.required_text("project_directory")?;
    Ok(ProjectSource::Directory { project_directory })
}

/// It belongs to a commit that is named in full: one that was sent is found by nothing else.
fn working_tree(fields: &Fields<'_>) -> Result<Option<WorkingTree>, InvalidRequest> {
    let expected = "an object with \"files\", and perhaps \"base\" and \"by\"";
    let map = match fields.get(WORKING_TREE) {
        None => return Ok(None),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(wrong_kind(WORKING_TREE, expected, other)),
    };
    if let Some(key) = map
        .keys()
        .find(|key| !["base", "files", "by"].contains(&key.as_str()))
    {
        return Err(wrong(format!("{WORKING_TREE}.{key}"), "left out"));
    }
    let is_commit = |text: &String| text.parse::<CommitId>().is_ok();
    if !fields.text(HASH)?.as_ref().is_some_and(is_commit) {
        return Err(wrong(HASH, "the full id of the commit that was sent"));
    }
    if fields.text("remote")?.is_some() {
        return Err(wrong("remote", format!("left out beside '{WORKING_TREE}'")));
    }
    let inside = Fields(map);
    let base = inside.text("base")?;
    if base.as_ref().is_some_and(|base| !is_commit(base)) {
        let expected = "a commit id of 40 hex digits";
        return Err(wrong(format!("{WORKING_TREE}.base"), expected));
    }
    let by = inside.text("by")?.filter(|by| !by.is_empty());
    if by
        .as_ref()
        .is_some_and(|by| by.len() > LONGEST_SENDER || by.chars().any(char::is_control))
    {
        let expected = format!("a name of at most {LONGEST_SENDER} bytes, in one line");
        return Err(wrong(format!("{WORKING_TREE}.by"), expected));
    }
    let files = inside.get("files").and_then(Value::as_u64);
    let files = files.ok_or_else(|| wrong(format!("{WORKING_TREE}.files"), "a whole number"))?;
    let base = base.map(|base| base.to_lowercase());
    Ok(Some(WorkingTree { base, files, by }))
}

fn own_source(fields: &Fields<'_>) -> Result<ProjectSource, InvalidRequest> {
    let project = fields.get("project").and_then(Value::as_u64);
    let commit = fields.text("commit")?;
    let is_commit = |commit: &String| commit.parse::<CommitId>().is_ok();
    match (project, &commit) {
        (None, _) => Err(wrong("project", "the number of a project")),
        (_, Some(commit)) if !is_commit(commit) => {
            Err(wrong("commit", "a commit id of 40 hex digits"))
        }
        (Some(project), _) => Ok(ProjectSource::Own {
            project: ProjectId(project),
            commit,
        }),
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
