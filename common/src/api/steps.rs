//! What is done of a build beside its atoms: its steps. What they print is kept.

use crate::clock::Timestamp;
use crate::ids::{SessionId, SlaveId};
use serde::{Deserialize, Serialize};

/// What a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// The project and remote files are fetched, on the master. Not there where nothing is to be fetched.
    Fetch,
    /// The atomizers of the job, on the master.
    Atomizer,
    /// `setup_build`, on a slave.
    Setup,
    /// `teardown_build`, on a slave.
    Teardown,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepState {
    /// It is under way.
    InProgress,
    /// It exited with 0.
    Completed,
    /// It ended in another way.
    Failed,
}

/// `{"steps": [...]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepsBody {
    /// In the order in which they began.
    pub steps: Vec<StepView>,
}

/// A step of a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// Its number among the steps of its build.
    pub id: u64,
    /// Which kind of step it is.
    pub kind: StepKind,
    /// The slave that does it; null for the master.
    pub slave_id: Option<SlaveId>,
    /// The address of that slave.
    pub slave_url: Option<String>,
    /// How far it is.
    pub state: StepState,
    /// Its exit code, `-N` when signal N ended it; null while it is under way, and where it has none.
    pub exit_code: Option<i32>,
    /// How it ended otherwise, such as `timed out after 600 s`.
    pub trouble: Option<String>,
    /// When it began, in seconds since 1970; null if that is not known yet.
    pub began_at: Option<f64>,
    /// When it ended; null while it is under way.
    pub ended_at: Option<f64>,
    /// How many bytes it printed, also those that were dropped; null while it is under way.
    pub output_bytes: Option<u64>,
}

/// The field `__encoded_body__` of the master's `POST /v1/build/<id>/steps`: a step that has ended on a slave. The file
/// of the upload is what it printed, cut to the limit. To send it again does no harm; the last one counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// Who did it.
    pub slave_id: SlaveId,
    /// The life of the slave's process.
    pub session_id: SessionId,
    /// Which kind of step it is.
    pub kind: StepKind,
    /// How it ended.
    #[serde(flatten)]
    pub end: StepEnd,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepEnd {
    /// Its exit code, `-N` when signal N ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How it ended otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// When it began, by the master's clock as far as the slave knows it.
    pub began_at_ms: Timestamp,
    /// When it ended.
    pub ended_at_ms: Timestamp,
    /// How many bytes it printed, also those that were dropped.
    pub output_bytes: u64,
}
