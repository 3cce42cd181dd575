//! The bodies that master, slave and client exchange: shapes without behaviour.
//!
//! Names and shapes are those of the original's `/v1` API; what is ours beside them says so.

pub mod accounts;
pub mod apps;
pub mod artifacts;
pub mod build_request;
pub mod explanation;
pub mod history;
pub mod instances;
pub mod launching;
mod lenient;
pub mod plan;
pub mod projects;
pub mod receivers;
mod refusals;
mod slave_protocol;
mod steps;
mod tested;

pub use crate::process::console::ConsoleBody;
pub use refusals::{ErrorBody, ErrorCode, ORIGINALS_UNKNOWN_BUILD, ORIGINALS_UNKNOWN_SLAVE};
pub use slave_protocol::*;
pub use steps::{StepEnd, StepKind, StepReport, StepState, StepView, StepsBody};
pub use tested::{TestCounts, TestView, TestsBody};

use crate::ids::{
    AtomId, Attempt, BuildId, ExecutorIndex, ProjectId, SessionId, SlaveId, SubjobId,
};
use crate::job::matrix::Combination;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version of the slave protocol that this program speaks beside the original's; a peer that
/// does not name one speaks the original's.
pub const PROTOCOL: u32 = 5;

/// Answer to an accepted `POST /v1/build`: status 202.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildAccepted {
    /// The new build.
    pub build_id: BuildId,
    /// Always `SUCCESS`; the key that the original sends.
    pub status: String,
    /// Always `SUCCESS`; the key that the original's documentation names.
    #[serde(rename = "STATUS")]
    pub documented_status: String,
    /// Ours: what of the request has no effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Answer to a write that has nothing else to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    /// `SUCCESS`.
    pub status: String,
}

impl Default for Success {
    fn default() -> Self {
        Self {
            status: "SUCCESS".to_owned(),
        }
    }
}

/// Where a build stands, as the API says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum BuildStatus {
    /// Accepted; also while it is being prepared and waits for its first slave.
    Queued,
    /// Slaves work on it, or its archives are being made.
    Building,
    /// All atoms have a result and the archives are there.
    Finished,
    /// It could not be run; `error_message` says why.
    Error,
    /// It was canceled.
    Canceled,
}

impl BuildStatus {
    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Error | Self::Canceled)
    }
}

/// Whether a build's atoms passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BuildResult {
    /// Every atom exited with 0.
    NoFailures,
    /// At least one did not.
    Failure,
    /// Nobody knows: the build was canceled. Ours; in version 2 only, clients of version 1 get null.
    Canceled,
}

/// A build: `{"build": ...}` of `GET /v1/build/<id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildView {
    /// Its id.
    pub id: BuildId,
    /// Where it stands.
    pub status: BuildStatus,
    /// `<done> of <total> subjobs are complete (<percent>%).`, once there are subjobs; for a build
    /// without atoms a note that says so.
    pub details: Option<String>,
    /// Why it ended in `ERROR`.
    pub error_message: Option<String>,
    /// How many atoms it has; null until it builds.
    pub num_atoms: Option<u64>,
    /// How many subjobs it has; 0 until it is prepared.
    pub num_subjobs: u64,
    /// Atoms with an exit code other than 0; null until it is over.
    pub failed_atoms: Option<Vec<AtomView>>,
    /// Null until it is over.
    pub result: Option<BuildResult>,
    /// The submitted body.
    pub request_params: Map<String, Value>,
    /// Unix seconds at which each state was entered, by its name in lower case; null if it was not.
    pub state_timestamps: IndexMap<String, Option<f64>>,
    /// The path of its archive once there is one; the documentation names it, the original never
    /// gave it.
    #[serde(default)]
    pub artifacts: Option<String>,
    /// Ours: the commit that is built, once it is known (git only).
    #[serde(default)]
    pub commit: Option<String>,
    /// Ours: the job that is built, once it is known; a request need not name it.
    #[serde(default)]
    pub job_name: Option<String>,
    /// Ours: atoms that have a result.
    #[serde(default)]
    pub num_atoms_completed: u64,
    /// Ours: atoms that have a result other than exit code 0; grows while the build runs.
    #[serde(default)]
    pub num_atoms_failed: u64,
    /// Ours: atoms that run, one for each executor that works on it; what else slaves have of it waits there.
    #[serde(default)]
    pub num_atoms_in_progress: u64,
    /// Ours: failed atoms that did not end by themselves: they ran too long, or are poison. Each says
    /// so in `trouble`.
    #[serde(default)]
    pub num_atoms_in_trouble: u64,
    /// Ours: whether an atom has failed for good, so that the build can not pass any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<bool>,
    /// Ours: atoms that have no result and get none: the build was canceled, or so many others had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_atoms_not_run: Option<u64>,
    /// Ours: atoms that passed only when they were run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_atoms_flaky: Option<u64>,
    /// Ours: the build that this one runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<BuildId>,
    /// Ours: the builds of its matrix, in order; it runs nothing itself, and its counts are theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildView>,
    /// Ours: the build whose matrix it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<BuildId>,
    /// Ours: its variables, if it is a build of a matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Combination>,
    /// Ours: what went wrong without changing the result, such as a `teardown_build` that failed.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Ours: it ended without atoms, which its job does not allow: a failure, though `result` is `NO_FAILURES` as in
    /// the original.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lacks_atoms: bool,
    /// Ours: about how long it will still take at the pace of the executors that it has now; null
    /// while none runs its atoms, or where nothing is known of how long they take.
    #[serde(default)]
    pub seconds_left: Option<f64>,
    /// Ours, in version 2 only: when it will end, null where nothing is known of that. Lists of builds do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Option<FinishView>>,
    /// Ours: the slaves that set it up now.
    #[serde(default)]
    pub slaves_setting_up: Vec<SettingUpView>,
    /// Ours: the name of the template that it leaves, if it is there for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Ours: the number of its project. This field and the next two are in version 2 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
    /// Ours: the name that the user had who asked for it; nothing where that was the holder of the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<String>,
    /// Ours: atoms that passed only when they were run again count as failed, as its job says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky_fails: bool,
}

/// When a build will end, in seconds from now. Ours.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinishView {
    /// It ends as likely before as after this.
    pub median: f64,
    /// It ends before this with a probability of 5 %.
    pub low: f64,
    /// It ends before this with a probability of 95 %.
    pub high: f64,
}

impl FinishView {
    /// So many seconds of a difference are none, nor is this part of the time that is left.
    const ABOUT: (f64, f64) = (1.0, 0.05);

    /// The same so many seconds later: what is over is not before now.
    #[must_use]
    pub fn after(self, seconds: f64) -> Self {
        let left = |until: f64| (until - seconds).max(0.0);
        Self {
            median: left(self.median),
            low: left(self.low),
            high: left(self.high),
        }
    }

    /// Whether it says about the same as another one of the same moment, so that nobody need be told anew.
    #[must_use]
    pub fn is_about(self, other: Self) -> bool {
        let about = |one: f64, other: f64| {
            let (seconds, part) = Self::ABOUT;
            (one - other).abs() <= (part * one.max(other)).max(seconds)
        };
        about(self.median, other.median)
            && about(self.low, other.low)
            && about(self.high, other.high)
    }
}

/// A build of a matrix, as its parent shows it. Ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChildView {
    /// Its id.
    pub build_id: BuildId,
    /// Its variables in one line, such as `PYTHON=3.12 OS=linux`.
    pub name: String,
    /// Its variables.
    pub matrix: Combination,
    /// How far it is.
    pub status: BuildStatus,
    /// Null until it is over.
    pub result: Option<BuildResult>,
    /// The beginning of why it ended in `ERROR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// It ended without atoms, which its job does not allow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lacks_atoms: bool,
    /// How many atoms it has; 0 until they are known.
    pub num_atoms: u64,
    /// Atoms that have a result.
    pub num_atoms_completed: u64,
    /// Atoms that have a result other than exit code 0.
    pub num_atoms_failed: u64,
    /// Atoms that passed only when they were run again.
    pub num_atoms_flaky: u64,
}

/// A slave that sets a build up. Ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SettingUpView {
    /// Its id.
    pub slave_id: SlaveId,
    /// Its address.
    pub url: String,
    /// How far the build is there.
    pub state: BuildOnSlaveState,
    /// Since when, in seconds since 1970.
    #[serde(default)]
    pub since: Option<f64>,
}

/// How far a build is on a slave. Ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BuildOnSlaveState {
    /// Its project is fetched there, and its `setup_build` runs.
    SettingUp,
    /// Its atoms run there.
    Ready,
    /// Its `teardown_build` runs, and its files are removed.
    TearingDown,
}

/// `{"build": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildBody {
    /// The build.
    pub build: BuildView,
}

/// `{"builds": [...]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildsBody {
    /// In order of their ids.
    pub builds: Vec<BuildView>,
}

/// `{"queue": [...]}`: the builds that are not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueBody {
    /// In order of their ids.
    pub queue: Vec<BuildView>,
}

/// Where an atom stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AtomState {
    /// It does not run yet; a slave may have it in line.
    NotStarted,
    /// A slave has it.
    InProgress,
    /// It has a result.
    Completed,
    /// Ours: it ran when its build was canceled or failed, and has no result.
    Canceled,
    /// Ours: it has no result and gets none, since so many other atoms of its build had failed.
    NotRun,
}

/// An atom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtomView {
    /// Its environment setting, such as `export TEST="x";`.
    pub command_string: String,
    /// Ours: the variable that it sets; absent where the setting is other shell text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Ours: what it sets the variable to; absent like the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Seconds it was expected to take, if anything is known.
    pub expected_time: Option<f64>,
    /// Seconds it took.
    pub actual_time: Option<f64>,
    /// Its exit code, `-N` when signal N ended it; null until there is a result.
    pub exit_code: Option<i32>,
    /// Where it stands.
    pub state: AtomState,
    /// Its id inside the subjob.
    pub id: AtomId,
    /// Its subjob.
    pub subjob_id: SubjobId,
    /// Ours: what the exit code does not tell, such as `timed out after 600 s`, or what kept it from
    /// ending by itself, such as `poison: 3 slaves were lost while they ran it`.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Ours: when it started, in seconds since 1970; only where its slave has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<f64>,
    /// Ours: the executor that runs it or ran it; only where its slave has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_id: Option<ExecutorIndex>,
    /// Ours: the hand-out of its subjob that this is; only once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Ours: the earlier attempts that failed, after which it was run again; the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<AttemptView>,
    /// Ours: whether it passed only when it was run again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_flaky: bool,
    /// Ours: whether it counts as failed because it is flaky (`flaky: fail` of the job).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fails_as_flaky: bool,
    /// Ours: the signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Ours: the limit that it was ended by, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timed_out_after: Option<u64>,
    /// Ours: how many bytes it printed, also those that were dropped; only where its slave has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Ours: the most memory that one of its processes had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_bytes: Option<u64>,
    /// Ours: the processor time of its processes, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
}

impl AtomView {
    /// Whether it counts as failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.fails_as_flaky || self.exit_code.is_some_and(|code| code != 0)
    }
}

/// An attempt at an atom that failed, after which the atom was run again. Ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    /// The number of the hand-out.
    pub attempt: Attempt,
    /// Its exit code, `-N` when signal N ended it.
    pub exit_code: i32,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What the exit code does not tell, such as `timed out after 600 s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Seconds it took.
    pub actual_time: f64,
    /// When it started, in seconds since 1970; only where its slave has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<f64>,
    /// The slave that ran it.
    pub slave_id: SlaveId,
    /// The address of that slave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slave_url: Option<String>,
    /// The executor that ran it; only where its slave has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_id: Option<ExecutorIndex>,
}

/// Which subjobs a list has: `?state=...`. Ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjobFilter {
    /// Those with an atom that runs.
    InProgress,
    /// Those with an atom that failed.
    Failed,
}

impl SubjobFilter {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::InProgress, Self::Failed];

    /// Its name in a query.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Failed => "failed",
        }
    }

    /// Whether a subjob is one of those.
    #[must_use]
    pub fn has(self, subjob: &SubjobView) -> bool {
        subjob.atoms.iter().any(|atom| match self {
            Self::InProgress => atom.state == AtomState::InProgress,
            Self::Failed => atom.has_failed(),
        })
    }
}

/// `{"atom": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtomBody {
    /// The atom.
    pub atom: AtomView,
}

/// `{"atoms": [...]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AtomsBody {
    /// In order of their ids.
    pub atoms: Vec<AtomView>,
}

/// A subjob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubjobView {
    /// Its id.
    pub id: SubjobId,
    /// The job's joined command, without the atom.
    pub command: String,
    /// Its atoms.
    pub atoms: Vec<AtomView>,
    /// The URL of the slave it was handed to last.
    pub slave: Option<String>,
}

/// `{"subjob": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubjobBody {
    /// The subjob.
    pub subjob: SubjobView,
}

/// `{"subjobs": [...]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubjobsBody {
    /// In order of their ids.
    pub subjobs: Vec<SubjobView>,
}

/// A slave as the master sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaveView {
    /// Its address, exactly as it gave it.
    pub url: String,
    /// Its id.
    pub id: SlaveId,
    /// The life of its process.
    pub session_id: Option<SessionId>,
    /// How many executors it has.
    pub num_executors: u32,
    /// How many of them run a subjob.
    pub num_executors_in_use: u32,
    /// The build it is set up for; the oldest where there are several.
    pub current_build_id: Option<BuildId>,
    /// Ours: how far that build is on it.
    #[serde(default)]
    pub current_build_state: Option<BuildOnSlaveState>,
    /// Whether it gave a sign of life lately.
    pub is_alive: bool,
    /// Whether it takes no more work since it is to end.
    pub is_in_shutdown_mode: bool,
    /// Ours: what jobs may ask for in it.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Ours: whether it takes no new work until it is undrained.
    #[serde(default)]
    pub is_drained: bool,
    /// Ours: whether it takes no new work since it is sick.
    #[serde(default)]
    pub is_quarantined: bool,
    /// Ours: what makes it sick.
    #[serde(default)]
    pub quarantine_reason: Option<String>,
    /// Ours: when it is tried again, in seconds since 1970.
    #[serde(default)]
    pub next_probe_at: Option<f64>,
    /// Ours: whether it gets one atom at a time, since what failed on it passed elsewhere or may do so.
    #[serde(default)]
    pub is_in_doubt: bool,
    /// Ours: when the master last heard of it, in seconds since 1970. This field and the next two are in version 2 of lists
    /// and events only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heard_at: Option<f64>,
    /// Ours: the version of its program, if it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Ours: the share of its executors that worked in each minute of the last hour, the oldest first; none where it is not
    /// known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_of_last_hour: Vec<Option<f64>>,
}

/// Answer to `POST /v1/slave/<id>/drain` and `/undrain`. Ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainAnswer {
    /// `SUCCESS`.
    pub status: String,
    /// The slave as it is now.
    pub slave: SlaveView,
    /// Whether it was quarantined and is not any more.
    #[serde(default)]
    pub is_released: bool,
}

/// `{"slave": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaveBody {
    /// The slave.
    pub slave: SlaveView,
}

/// `{"slaves": [...]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlavesBody {
    /// In order of their ids.
    pub slaves: Vec<SlaveView>,
}

/// `POST /v1/slave/shutdown`: `{"shutdown_all": true}` or `{"slaves": [1, 2]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownRequest {
    /// Whether all slaves are meant, whatever `slaves` says.
    #[serde(
        default,
        deserialize_with = "lenient::truth",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub shutdown_all: bool,
    /// Those that are meant; the original's client sends its ids as strings.
    #[serde(
        default,
        deserialize_with = "lenient::slaves",
        skip_serializing_if = "Option::is_none"
    )]
    pub slaves: Option<Vec<SlaveId>>,
}

/// `GET /v1` of a master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterBody {
    /// The master.
    pub master: MasterView,
}

/// The master about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterView {
    /// `Master service is up.`
    pub status: String,
    /// All slaves it knows.
    pub slaves: Vec<SlaveView>,
}

/// `GET .../version` of both daemons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionBody {
    /// The program's version.
    pub version: String,
    /// The API's version.
    pub api_version: u32,
}
