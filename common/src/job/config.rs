//! From the text of `clusterrunner.yaml` to jobs, or to what is wrong in it: line, column and cure.
//!
//! Owns the grammar of a job and the shell text made of its lists. Pure: reading the file, running atomizers
//! and running commands is left to others. The grammar and the messages are the original's; where ours
//! is stricter (every list element is checked, limits start at 1) the message has its form.

mod atomizers;
mod batch;
mod batch_of_one;
mod cache;
mod check;
mod commands;
mod document;
mod env;
mod image;
mod isolation;
mod joining;
mod junit;
mod limits;
mod matrix;
mod problem;
mod product;
mod quoting;
mod secrets;
mod several;
mod shell_text;
mod shell_texts;
mod tags;
#[cfg(test)]
mod tests;
mod time_limit;
mod whole_atom;
mod words;
mod worker;

pub use batch_of_one::{ATOMS, ATOMS_FILE, BATCH_SIZE};
pub(crate) use commands::{CHECK, join_commands};
pub use commands::{Lines, quoted_atom, value_for_shell, values_from_output, variable_of};
pub use limits::MOST_RETRIES;
pub use problem::{Position, Problem};
pub use product::{Factor, TooLarge, atoms_of_product, with_one_export};
pub use shell_texts::{ShellText, shell_texts};
pub use time_limit::{TimeLimit, Timeouts};
pub use whole_atom::whole_atom;
pub use words::in_plain_words;

use crate::job::isolation::IsolationWish;
use crate::job::matrix::Combination;
use crate::job::reports::Patterns;
use crate::job::setup_cache::SetupCache;
use crate::job::worker::Worker;
use crate::process::variables::Variables;
use crate::text::nearest::nearest;
use document::{Node, Value};
use problem::python_list;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

/// What to run for one job.
///
/// Stored in journals as JSON: add fields only as optional ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What one atom runs: the list joined by ` && `. Of a job that has only a `batch_command`, this runs that one for a
    /// batch of one atom.
    pub commands: String,
    /// What runs many atoms in one process; `None` where each atom has a process of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_command: Option<String>,
    /// What runs one atom after the other; `None` where each atom has a process of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Worker>,
    /// What gives the atoms, in file order; never empty.
    pub atomizers: Vec<Atomizer>,
    /// Runs once per slave before its first subjob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_build: Option<String>,
    /// Runs once per slave after its last subjob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teardown_build: Option<String>,
    /// Most executors of all slaves together; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_executors: Option<NonZeroU32>,
    /// Most executors of one slave; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_executors_per_slave: Option<NonZeroU32>,
    /// Only slaves that have all of these get its builds.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
    /// Builds with a higher one go first; 0 where nothing is said.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub priority: i32,
    /// How large the share of its builds is beside others of the same priority; `None` is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<NonZeroU32>,
    /// How long each of its commands may run.
    #[serde(default, skip_serializing_if = "Timeouts::is_empty")]
    pub timeouts: Timeouts,
    /// Variables of all its commands.
    #[serde(default, skip_serializing_if = "Variables::is_empty")]
    pub env: Variables,
    /// Whether the values of its atoms are shell text, as in the original.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub raw_atoms: bool,
    /// Whether a build of it may have no atoms.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_no_atoms: bool,
    /// How often an atom that fails is run again; at most [`MOST_RETRIES`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// Whether an atom that passes only when it is run again counts as failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky_fails: bool,
    /// After so many failed atoms the rest is not run; `None` for no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fail: Option<NonZeroU32>,
    /// Whether executors that are idle at the end of a build run atoms again that may be flaky; `None` for what the settings
    /// say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hunt_flakes: Option<bool>,
    /// The image of the containers that its set-up, atoms and teardown run in; `None` for no container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Which files that its atoms leave are reports of tests; `None` for those of the usual names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub junit: Option<Patterns>,
    /// The combinations of variables that it is built in, each as a build of its own; empty for one build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matrix: Vec<Combination>,
    /// What of its set-up is kept for later builds; `None` for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<SetupCache>,
    /// Whether `setup_build` is left out where what is kept of it is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub setup_once: bool,
    /// The names of the project's secrets that its commands are given.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// How far its commands are to be kept apart from their machine.
    #[serde(default, skip_serializing_if = "IsolationWish::is_empty")]
    pub isolation: IsolationWish,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
fn is_usual(priority: &i32) -> bool {
    *priority == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// One entry of `atomizers`: each line that `command` prints becomes an atom that sets the variable `name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Atomizer {
    /// A shell variable's name.
    pub name: String,
    /// Shell text, run on the master in the project directory.
    pub command: String,
    /// Whether each of its values makes an atom with each of those of the atomizer before it, where it would else make
    /// an atom alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multiplies: bool,
}

impl Job {
    /// The atomizers in groups: the product of what those of a group print are atoms. Most groups have one atomizer.
    pub fn products(&self) -> impl Iterator<Item = &[Atomizer]> {
        self.atomizers.chunk_by(|_, next| next.multiplies)
    }
}

/// The jobs of one `clusterrunner.yaml`, in file order; some of them may be broken.
#[derive(Debug, Clone)]
pub struct JobConfig {
    file: String,
    jobs: Vec<NamedJob>,
}

#[derive(Debug, Clone)]
struct NamedJob {
    name: String,
    outcome: Result<Job, Vec<Problem>>,
    /// What means something else to the original.
    warnings: Vec<Problem>,
}

/// Why there is no job. The text becomes the build's `error_message`; it begins with the original's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobConfigError {
    /// The text is no YAML.
    #[error("{0}")]
    Syntax(Problem),
    /// The top level is a list, a text or nothing.
    #[error("{0}")]
    NotAMapping(Problem),
    /// The top level is an empty mapping.
    #[error("{0}")]
    NoJobs(Problem),
    /// No job has this name.
    #[error(
        "The job \"{name}\" was not found in the loaded config. Valid jobs are: {}{}",
        python_list(.names.iter().map(String::as_str)),
        did_you_mean(.name, .names)
    )]
    UnknownJob {
        /// What was asked for.
        name: String,
        /// The names that the file has.
        names: Vec<String>,
    },
    /// There are several jobs and none was asked for.
    #[error(
        "Multiple jobs are defined in this project but you did not specify one. Specify one of the following job \
         names: {}",
        python_list(.names.iter().map(String::as_str))
    )]
    JobNotSpecified {
        /// The names that the file has.
        names: Vec<String>,
    },
    /// The job that was asked for is broken; its problems, one per line, never none.
    #[error("{}", lines(.0))]
    InvalidJob(Vec<Problem>),
}

impl JobConfigError {
    /// The job that was probably meant by the name of one that is not there.
    #[must_use]
    pub fn meant(&self) -> Option<&str> {
        match self {
            Self::UnknownJob { name, names } => nearest(name, names.iter().map(String::as_str)),
            _ => None,
        }
    }

    /// The problems that have a place in the file; none for [`Self::UnknownJob`] and [`Self::JobNotSpecified`].
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Syntax(problem) | Self::NotAMapping(problem) | Self::NoJobs(problem) => {
                std::slice::from_ref(problem)
            }
            Self::InvalidJob(problems) => problems,
            Self::UnknownJob { .. } | Self::JobNotSpecified { .. } => &[],
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

fn did_you_mean(name: &str, names: &[String]) -> String {
    match nearest(name, names.iter().map(String::as_str)) {
        Some(meant) => format!(" (did you mean \"{meant}\"?)"),
        None => String::new(),
    }
}

impl JobConfig {
    /// Reads the text of a `clusterrunner.yaml`; `file` is its name in messages.
    ///
    /// A broken job is no error here: it matters when it is asked for.
    ///
    /// # Errors
    /// When the file as a whole is of no use: [`JobConfigError::Syntax`], [`JobConfigError::NotAMapping`] or
    /// [`JobConfigError::NoJobs`].
    pub fn parse(text: &str, file: &str) -> Result<Self, JobConfigError> {
        let whole = |place, message: &str, cure: &str| Problem {
            file: file.to_owned(),
            place,
            message: message.to_owned(),
            cure: cure.to_owned(),
        };
        let document = document::from_yaml(text).map_err(|error| {
            let message = format!(
                "The yaml config file could not be parsed: {}.",
                error.message
            );
            JobConfigError::Syntax(whole(error.place, &message, &error.cure))
        })?;
        let Value::Mapping(entries) = &document.value else {
            return Err(JobConfigError::NotAMapping(whole(
                Some(document.place),
                "The yaml config file could not be parsed to a dictionary",
                "write a job's name and a colon, and its sections indented below",
            )));
        };
        if entries.is_empty() {
            return Err(JobConfigError::NoJobs(whole(
                Some(document.place),
                "No jobs found in the config.",
                "write a job's name and a colon, and its sections indented below",
            )));
        }
        Ok(Self {
            file: file.to_owned(),
            jobs: read_jobs(file, entries),
        })
    }

    /// The job of this name, or with `None` the only one.
    ///
    /// # Errors
    /// [`JobConfigError::UnknownJob`], [`JobConfigError::JobNotSpecified`], or the job's own problems as
    /// [`JobConfigError::InvalidJob`].
    pub fn job(&self, name: Option<&str>) -> Result<(&str, &Job), JobConfigError> {
        let names = || self.names().map(str::to_owned).collect();
        let found = match (name, self.jobs.as_slice()) {
            (None, [only]) => only,
            (None, _) => return Err(JobConfigError::JobNotSpecified { names: names() }),
            (Some(name), jobs) => jobs.iter().find(|job| job.name == name).ok_or_else(|| {
                JobConfigError::UnknownJob {
                    name: name.to_owned(),
                    names: names(),
                }
            })?,
        };
        match &found.outcome {
            Ok(job) => Ok((&found.name, job)),
            Err(problems) => Err(JobConfigError::InvalidJob(problems.clone())),
        }
    }

    /// Everything that is wrong in any job, in the order of the jobs.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.jobs
            .iter()
            .filter_map(|job| job.outcome.as_ref().err())
            .flatten()
    }

    /// What is right, but means something else to the original, in the order of the jobs.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.jobs.iter().flat_map(|job| &job.warnings)
    }

    /// The names of all jobs in file order, also of broken ones.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.jobs.iter().map(|job| job.name.as_str())
    }

    /// The file's name as it was given to [`JobConfig::parse`].
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }
}

/// Checks each job on its own. A name that is there twice is a problem of that one job.
fn read_jobs(file: &str, entries: &[(Node, Node)]) -> Vec<NamedJob> {
    let mut jobs: Vec<NamedJob> = Vec::with_capacity(entries.len());
    let mut firsts: BTreeMap<&str, (usize, &Position)> = BTreeMap::new();
    for (key, node) in entries {
        // A name is what is written, also where YAML takes it for a number or a truth value.
        let name = key.value.scalar_text().unwrap_or("?");
        let (mut outcome, warnings) = check::check_job(file, name, &key.place, node);
        if key.value.scalar_text().is_none() {
            add_problem(&mut outcome, Problem {
                file: file.to_owned(),
                place: Some(key.place.clone()),
                message: "The name of a job is not a string.".to_owned(),
                cure: "write the job's name before the colon, in quotes if it has special characters".to_owned(),
            });
        }
        if name.contains('\0') {
            add_problem(
                &mut outcome,
                Problem {
                    file: file.to_owned(),
                    place: Some(key.place.clone()),
                    message: "The name of a job has a NUL character.".to_owned(),
                    cure: check::REMOVE_NUL.to_owned(),
                },
            );
        }
        if let Some((index, first)) = firsts.get(name) {
            add_problem(
                &mut jobs[*index].outcome,
                Problem {
                    file: file.to_owned(),
                    place: Some(key.place.clone()),
                    message: format!("The job \"{name}\" is defined twice."),
                    cure: check::remove_one(first),
                },
            );
            continue;
        }
        firsts.insert(name, (jobs.len(), &key.place));
        jobs.push(NamedJob {
            name: name.to_owned(),
            outcome,
            warnings,
        });
    }
    jobs
}

fn add_problem(outcome: &mut Result<Job, Vec<Problem>>, problem: Problem) {
    match outcome {
        Ok(_) => *outcome = Err(vec![problem]),
        Err(problems) => problems.push(problem),
    }
}

impl Job {
    /// Reads the `config` of a build request: one job's mapping, not a whole file. `name` is the request's
    /// `job_name`, for the messages; the original says `None` when there is none.
    ///
    /// # Errors
    /// [`JobConfigError::InvalidJob`]; places are paths such as `config.commands[0]`.
    pub(crate) fn from_inline(
        name: Option<&str>,
        value: &serde_json::Value,
    ) -> Result<Self, JobConfigError> {
        const PATH: &str = "config";
        let node = document::from_json(value, PATH);
        let (job, _) = check::check_job(PATH, name.unwrap_or("None"), &node.place, &node);
        job.map_err(JobConfigError::InvalidJob)
    }
}
