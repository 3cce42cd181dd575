//! Builds as the API shows them.

use super::AtomView;
use crate::ids::{BuildId, ProjectId, SlaveId};
use crate::job::matrix::Combination;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
    /// Ours: failed atoms that did not end by themselves: they ran too long, hit a limit or are poison. Each says
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
