//! What the master orders a slave to do, and what the slave answers.

use super::connecting::SlaveState;
use crate::api::lenient;
use crate::git::PackRequest;
use crate::ids::{Attempt, ExecutorIndex, SessionId, SlaveId, SubjobId};
use crate::process::variables::BuildVariables;
use crate::work::{BatchTerms, GivenSecrets, HuntEnd, MasterMark, SetupJob};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Body of the slave's `POST /v1/build/<id>/setup`. The answer is 200 [`OrderAnswer`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SetupRequest {
    /// The build's request.
    pub project_type_params: Map<String, Value>,
    /// `BUILD_EXECUTOR_INDEX` of the slave's executor 0.
    #[serde(deserialize_with = "lenient::start_index")]
    pub build_executor_start_index: u32,
    /// Ours: the commit to check out (git only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Ours: whether the slave gets the commit from the master, with [`SourceRequest`]. URLs then have
    /// no credentials.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub source_from_master: bool,
    /// Ours: what the master read from the job; an original master lets the slave read it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<SetupJob>,
    /// Ours: what the build's commands find in their environment.
    #[serde(default, skip_serializing_if = "BuildVariables::is_empty")]
    pub variables: BuildVariables,
    /// Ours: the secrets that the build's commands are given.
    #[serde(default, skip_serializing_if = "GivenSecrets::is_empty")]
    pub secrets: GivenSecrets,
    /// Ours: what is to run of the build once it is set up; taken as by
    /// `POST /v1/build/<id>/subjobs`, and dropped if the set-up fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subjobs: Option<SubjobsRequest>,
    /// Ours: see [`OrderAnswer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Ours: which moment of which master the order belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<MasterMark>,
}

/// Body of the slave's `POST /v1/build/<id>/teardown`, empty from an original master. The answer is 200
/// [`OrderAnswer`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeardownRequest {
    /// Ours: see [`OrderAnswer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Ours: which moment of which master the order belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<MasterMark>,
}

/// Answer of a slave to an order that takes time. It waits for as many milliseconds as the order's
/// `wait_ms` allows (ten seconds at most), in the hope that it can tell that the order is carried out. If it
/// does not, a [`StateReport`](super::StateReport) will; so will one that the order failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderAnswer {
    /// `SUCCESS`: the order was taken.
    pub status: String,
    /// Ours: what a [`StateReport`](super::StateReport) about the build would say, which there will be none of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<SlaveState>,
}

/// Body of the master's `POST /v1/build/<id>/source`: ours. The answer is what
/// [`PackSource`](crate::git::PackSource) reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRequest {
    /// The slave that asks.
    pub slave_id: SlaveId,
    /// The life of the slave's process.
    pub session_id: SessionId,
    /// What of the build's project is asked for.
    #[serde(flatten)]
    pub packs: PackRequest,
}

/// Body of the slave's `POST /v1/build/<id>/subjob/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjobRequest {
    /// Atom, a blank, and the job's command; the index is the atom's id.
    pub atomic_commands: Vec<String>,
    /// Ours: the number of this hand-out; absent from an original master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Ours: how long each atom may run; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// Ours: which moment of which master the order belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<MasterMark>,
}

/// Answer of a slave that took a subjob: status 201. Also given, and without effect, when it has
/// that attempt already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjobAccepted {
    /// `SUCCESS`.
    pub status: String,
    /// The executor that runs it; absent while it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_id: Option<ExecutorIndex>,
}

/// Body of the slave's `POST /v1/build/<id>/subjobs`: ours. Many hand-outs in one call; all are taken,
/// or none. Taking one again that the slave has already does no harm. The answer is 201
/// [`Success`](crate::api::Success).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjobsRequest {
    /// The job's command: each atom runs as the atom, a blank, and this.
    pub command: String,
    /// How long each atom may run; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// In the order in which they are to run.
    pub subjobs: Vec<SubjobOrder>,
    /// Ours: which moment of which master the order belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<MasterMark>,
}

/// Part of [`SubjobsRequest`]: one hand-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjobOrder {
    /// The subjob.
    pub subjob_id: SubjobId,
    /// The number of the hand-out.
    pub attempt: Attempt,
    /// Its atoms, such as `export TEST="x";`; the index is the atom's id.
    pub atoms: Vec<String>,
    /// Ours: it may run in one process with other subjobs that have this; absent where it runs alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchTerms>,
}

/// Body of the slave's `POST /v1/build/<id>/hunt`: ours. An atom that has its result runs once more, on an executor that is
/// idle; the slave ends it as soon as it has anything else to do, or the connection ends. The answer has line feeds while
/// the atom runs, and then [`HuntAnswer`]. It is 409 where no executor is idle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HuntRequest {
    /// The subjob that the atom is.
    pub subjob_id: SubjobId,
    /// Which attempt the atom is told that it is.
    pub attempt: Attempt,
    /// The atom, such as `export TEST="x";`.
    pub atom: String,
    /// The job's command.
    pub command: String,
    /// How long it may run; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u64>,
    /// Which moment of which master the order belongs to.
    pub master: MasterMark,
}

/// How a hunt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HuntAnswer {
    /// How it ended.
    pub end: HuntEnd,
}
