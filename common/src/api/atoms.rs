//! Subjobs and their atoms as the API shows them.

use crate::ids::{AtomId, Attempt, ExecutorIndex, SlaveId, SubjobId};
use crate::work::InWorker;
use serde::{Deserialize, Serialize};

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
    /// Ours: whether it passed only when it was run again, by another attempt or behind a worker that it failed in.
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
    /// Ours: what a worker of its slave had to do with its result, if any had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<InWorker>,
    /// Ours: the latest batch that it was in and that did not settle it, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_in_vain: Option<BatchInVainView>,
}

/// A batch after which atoms that were in it ran again. Ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchInVainView {
    /// When it began, in seconds since 1970.
    pub started_at: f64,
    /// Seconds it took.
    pub actual_time: f64,
    /// The executor that it ran on.
    pub executor_id: ExecutorIndex,
    /// How many atoms were in it.
    pub num_atoms: u16,
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
