//! How a slave connects, and what it says of itself from then on.

use crate::api::lenient;
use crate::clock::Timestamp;
use crate::ids::{
    AtomId, Attempt, BuildId, ExecutorIndex, PublicKey, SessionId, SlaveId, SubjobId,
};
use crate::work::{FinishedAttempt, IsolationLevel, MasterMark, Seen};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Body of `POST /v1/slave`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectRequest {
    /// `host:port` at which the master reaches the slave.
    pub slave: String,
    /// How many subjobs it runs at a time; at least 1. The original takes a string of digits, too.
    #[serde(deserialize_with = "lenient::num_executors")]
    pub num_executors: u32,
    /// The life of the slave's process.
    #[serde(default)]
    pub session_id: Option<SessionId>,
    /// Ours: see [`PROTOCOL`](crate::api::PROTOCOL).
    #[serde(default)]
    pub protocol: Option<u32>,
    /// Ours: the registration that the slave knows itself by, if it was connected before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<SlaveId>,
    /// Ours: what builds may ask for in a slave.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
    /// Ours: results of earlier lives that the slave still has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finished: Vec<FinishedAttempt>,
    /// Ours: what the slave has seen of each incarnation of a master that it still knows something of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Seen>,
    /// Ours: the version of the slave's program, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Ours: how far the slave keeps the commands of all builds apart from its machine, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<IsolationLevel>,
    /// Ours: the key that it signs with from then on, and that it has it. Without one it goes on with the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<SlaveIdentity>,
}

/// Answer to `POST /v1/slave`: status 201.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectAnswer {
    /// `SUCCESS`.
    pub status: String,
    /// The slave's id, as text (the original's form).
    pub slave_id: String,
    /// Ours: the protocol both will speak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u32>,
    /// Ours: true when the registration that the slave knows itself by still counts, and with it
    /// everything that was handed out; otherwise the slave drops all work it has.
    #[serde(default)]
    pub resumed: bool,
    /// Ours: which results of earlier lives are wanted, by build, subjob and attempt; the slave drops
    /// the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted: Vec<(BuildId, SubjobId, Attempt)>,
    /// Ours: the master as it is now. A slave drops all that it has of another incarnation, and takes orders of
    /// this life only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<MasterMark>,
    /// Ours: the key of the master, to a slave that has shown one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<MasterIdentity>,
}

/// What a slave shows of itself when it connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlaveIdentity {
    /// Its key.
    pub key: PublicKey,
    /// Its signature of what `auth::joining` says, in hexadecimal digits: it has the key.
    pub proof: String,
    /// Random, so that no old answer fits.
    pub challenge: String,
    /// The key of the master that it has joined, whose orders alone it takes; the proof covers it. None of a slave that has
    /// joined none, and of one of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<PublicKey>,
}

/// What a master shows of itself in its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterIdentity {
    /// Its key.
    pub key: PublicKey,
    /// Its signature of what `auth::joining` says, in hexadecimal digits.
    pub proof: String,
    /// Where the slave joined with the secret or a join token, an HMAC under that: the master knows it, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<String>,
}

/// Body of `POST /v1/slave/<id>/heartbeat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRequest {
    /// The slave that reports.
    pub slave: Heartbeat,
}

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Always true.
    pub heartbeat: bool,
    /// Ours: the life of the slave's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Ours: all atoms that run, but those that began a moment ago.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<RunningAtom>,
}

/// An atom that a slave runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningAtom {
    /// Its build.
    pub build_id: BuildId,
    /// Its subjob.
    pub subjob_id: SubjobId,
    /// The number of the hand-out.
    pub attempt: Attempt,
    /// Its id in the subjob.
    pub atom_id: AtomId,
    /// The executor that runs it.
    pub executor_id: ExecutorIndex,
    /// When it started, by the master's clock as far as the slave knows it.
    pub started_at_ms: Timestamp,
}

/// Answer to a heartbeat. A slave that is told `false`, or gets 404, connects anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// Whether the master counts on this slave.
    pub is_alive: bool,
    /// Ours: the master's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now_ms: Option<Timestamp>,
}

/// What a slave reports about itself; the original's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SlaveState {
    /// A build is set up: subjobs may come.
    SetupComplete,
    /// A build could not be set up.
    SetupFailed,
    /// A build is torn down.
    Idle,
    /// The process is ending; what it ran is not finished.
    Disconnected,
}

/// Body of `PUT /v1/slave/<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReport {
    /// The report.
    pub slave: StateReportBody,
}

/// What a slave reports. Repeating a report does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReportBody {
    /// The new state.
    pub state: SlaveState,
    /// Ours: which build it is about (all but `DISCONNECTED`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<BuildId>,
    /// Ours: the life of the slave's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Ours: why a set-up failed, with the end of its output; with `IDLE` what went wrong when the
    /// build was torn down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET /v1` of a slave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlaveStatusBody {
    /// The slave.
    pub slave: SlaveStatusView,
}

/// A slave about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlaveStatusView {
    /// False once it is ending.
    pub is_alive: bool,
    /// Its master as configured.
    pub master_url: String,
    /// The build it is set up for; the oldest where there are several.
    pub current_build_id: Option<BuildId>,
    /// Null before it is connected.
    pub slave_id: Option<SlaveId>,
    /// Its executors.
    pub executors: Vec<ExecutorView>,
    /// The life of its process.
    pub session_id: SessionId,
}

/// An executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorView {
    /// Its index.
    pub id: ExecutorIndex,
    /// What it runs.
    pub current_build: Option<BuildId>,
    /// What it runs.
    pub current_subjob: Option<SubjobId>,
}
