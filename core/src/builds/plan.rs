//! What is to be run of a build.

use clusterrunner_common::ids::TemplateId;
use clusterrunner_common::job::config::{Job, Timeouts};
use clusterrunner_common::job::matrix::Combination;
use clusterrunner_common::job::reports::Patterns;
use clusterrunner_common::job::setup_cache::SetupCache;
use clusterrunner_common::process::variables::Variables;
use clusterrunner_common::work::{IsolationWish, Worker};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// What preparing a build found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The commit that is built (git only).
    pub commit: Option<String>,
    /// The job's name.
    pub job_name: String,
    /// The job's joined command, appended to each atom.
    pub command: String,
    /// What runs many atoms in one process; none where each atom has a process of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_command: Option<String>,
    /// What runs one atom after the other; none where each atom has a process of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<Worker>,
    /// Joined command, run on each slave before its first subjob.
    pub setup_build: Option<String>,
    /// Joined command, run on each slave at the end.
    pub teardown_build: Option<String>,
    /// How many executors may work on it at a time.
    pub max_executors: Option<NonZeroU32>,
    /// How many executors of one slave may work on it at a time.
    pub max_executors_per_slave: Option<NonZeroU32>,
    /// Only slaves that have all of these may work on it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
    /// Builds with a higher one go first.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub priority: i32,
    /// How large its share of the executors is beside builds of its priority; 1 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<NonZeroU32>,
    /// How long its commands may run; what is not said there has no limit.
    #[serde(default, skip_serializing_if = "Timeouts::is_empty")]
    pub timeouts: Timeouts,
    /// Variables that its job sets for all its commands.
    #[serde(default, skip_serializing_if = "Variables::is_empty")]
    pub env: Variables,
    /// Whether its atoms are values that are quoted for the shell, and no shell text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quotes_atoms: bool,
    /// Whether it may have no atoms.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_no_atoms: bool,
    /// How often an atom that fails is run again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// Whether an atom that passes only when it is run again counts as failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky_fails: bool,
    /// After so many failed atoms the rest is not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_fail: Option<NonZeroU32>,
    /// Whether its atoms run again while executors are idle, where its job says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hunt_flakes: Option<bool>,
    /// The image of the containers that its commands run in; none for no container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Which files that its atoms leave are reports of tests; none for those of the usual names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub junit: Option<Patterns>,
    /// The combinations that it is to be split into, each a build of its own. Emptied when it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matrix: Vec<Combination>,
    /// What of its set-up is kept for later builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<SetupCache>,
    /// Whether its `setup_build` is left out where what is kept of it is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub setup_once: bool,
    /// The names of the secrets that its job asks for; once it is prepared, of those that its commands are given.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// Whether its commit is on no branch and no tag of its repository, as far as that was looked at: where its job asks for
    /// secrets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_foreign_commit: bool,
    /// Whether its commands are given all secrets that its job asks for: its code is the project's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_given_secrets: bool,
    /// How far its commands are to be kept apart from their machine.
    #[serde(default, skip_serializing_if = "IsolationWish::is_empty")]
    pub isolation: IsolationWish,
    /// What its template is based on, as its recipe names it. Emptied once it is known which of them are templates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<String>,
    /// The templates that it takes: chosen once, so that all slaves take the same ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<TakenTemplate>,
    /// What is to be told of how its atoms were found. Emptied once it is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Its atoms in the atomizers' order, such as `export TEST="x";`. Emptied once they are grouped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub atoms: Vec<String>,
    /// How long each of its atoms is expected to take, in the atomizers' order; none where nothing is
    /// known. Emptied once they are grouped and that is taken into the state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_ms: Vec<u64>,
}

impl Plan {
    /// The plan of a job, without commit and atoms.
    #[must_use]
    pub fn of(job_name: String, job: Job) -> Self {
        Self {
            commit: None,
            job_name,
            command: job.commands,
            batch_command: job.batch_command,
            worker: job.worker,
            setup_build: job.setup_build,
            teardown_build: job.teardown_build,
            max_executors: job.max_executors,
            max_executors_per_slave: job.max_executors_per_slave,
            labels: job.labels,
            priority: job.priority,
            weight: job.weight,
            timeouts: job.timeouts,
            env: job.env,
            quotes_atoms: !job.raw_atoms,
            allow_no_atoms: job.allow_no_atoms,
            retries: job.retries,
            flaky_fails: job.flaky_fails,
            max_fail: job.max_fail,
            hunt_flakes: job.hunt_flakes,
            image: job.image,
            junit: job.junit,
            matrix: job.matrix,
            cache: job.cache,
            setup_once: job.setup_once,
            secrets: job.secrets,
            is_foreign_commit: false,
            is_given_secrets: false,
            isolation: job.isolation,
            bases: Vec::new(),
            templates: Vec::new(),
            warnings: Vec::new(),
            atoms: Vec::new(),
            expected_ms: Vec::new(),
        }
    }
}

/// A template that a build takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenTemplate {
    /// The word that named it.
    pub reference: String,
    /// The template.
    pub id: TemplateId,
    /// Whether it is an image, which only a slave with a container runtime can use.
    pub is_image: bool,
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
