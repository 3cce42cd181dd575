//! What master and slaves say to each other about instances and templates. Both sides always say all of it, so that a
//! message that is lost, late or repeated does no harm.

use crate::ids::{Generation, InstanceId, SessionId, SlaveId};
use crate::templates::{TemplateContent, TemplateDescription};
use crate::work::{MasterMark, ReportedState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Body of the slave's `PUT /v1/instances`: all instances that it is to run from now on. It starts those that it has not,
/// ends those that are not named, and leaves the others alone. An order with an older mark than one before is
/// dropped. The answer is 200 [`Success`](super::Success).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstancesOrder {
    /// All instances that the slave is to run.
    pub instances: Vec<InstanceOrder>,
    /// Templates that it is to fetch before anything asks for them, by the digests of their snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preloads: Vec<TemplateContent>,
    /// Which moment of which master the order belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<MasterMark>,
}

/// Part of [`InstancesOrder`]: an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceOrder {
    /// The instance.
    pub id: InstanceId,
    /// The number of its placement. A copy with another one is ended first.
    pub generation: Generation,
    /// Its public id: 32 lower-case hexadecimal digits.
    pub key: String,
    /// The name of the template, as it was when the instance was asked for.
    pub template: String,
    /// What it runs; none where `image` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<TemplateContent>,
    /// The reference of an image that the slave's container runtime pulls, where there is no snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "OrderedPurpose::is_launch")]
    pub purpose: OrderedPurpose,
    /// It counts as up when it has lived so long, or when its port answers before; none where its port has to answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settles_after_ms: Option<u64>,
    /// The command; empty for the default start of the template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Variables beside those of the template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The most memory that it may have, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_bytes: Option<u64>,
    /// Its share of the processors among the instances of the slave, where they are all busy; none for the usual share.
    /// An instance with twice the number gets twice the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u32>,
}

impl InstanceOrder {
    /// What the template says of itself; none for an image that is pulled.
    #[must_use]
    pub fn description(&self) -> Option<&TemplateDescription> {
        self.snapshot.as_ref().map(|snapshot| &snapshot.description)
    }
}

/// What an instance is for, as far as its slave treats it differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderedPurpose {
    /// Somebody looks at it. It is given up when it has failed too often in a row, and shows its files where its template
    /// names nothing to start.
    #[default]
    Launch,
    /// A process of an app. It is started again without end, and fails where its template names nothing to start.
    App,
    /// It runs once, to its end, and is never started again. It needs no port.
    Run,
}

impl OrderedPurpose {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_launch(&self) -> bool {
        *self == Self::Launch
    }
}

/// The most bytes of the output of one [run](OrderedPurpose::Run) that slave and master keep. Of more, the last are kept.
pub const MAX_RUN_OUTPUT: u64 = 256 << 20;

/// Body of the master's `POST /v1/slave/<id>/instances`: all instances that the slave has, whatever their state. It is
/// sent after each connect before anything else, and after each change. The answer is 200
/// [`Success`](super::Success).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstancesReport {
    /// The life of the slave's process.
    pub session_id: SessionId,
    /// Counts the reports of one life of the slave: an older one than the last is dropped.
    pub number: u64,
    /// How many instances it runs at a time.
    pub max_instances: u32,
    /// Whether it can run images.
    pub runs_images: bool,
    /// All that it has.
    pub instances: Vec<InstanceReport>,
    /// The digests of the snapshots that it has whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<String>,
}

/// Part of [`InstancesReport`]: an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// The instance.
    pub id: InstanceId,
    /// The number of the placement that the slave was ordered.
    pub generation: Generation,
    /// Where it stands.
    pub state: ReportedState,
    /// How often its process was started again after it ended.
    #[serde(default)]
    pub restarts: u32,
}

/// Body of the master's `POST /v1/snapshot`: a slave asks for a snapshot, or for the rest of it. The answer is 200 with
/// the bytes from `offset` on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// The slave that asks.
    pub slave_id: SlaveId,
    /// The life of the slave's process.
    pub session_id: SessionId,
    /// The snapshot.
    pub digest: String,
    /// How many of its bytes the slave has already.
    #[serde(default)]
    pub offset: u64,
    /// Whether all of it came and was not what the digest says: the master looks whether its own is damaged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_damaged: bool,
}

/// How many bytes of output there are in one [`LogsReport`] at most.
pub const MAX_LOGS_REPORT: u64 = 1 << 20;

/// How long the body of a [`LogsReport`] may be: JSON says some bytes in six.
pub const MAX_LOGS_BODY: usize = 8 << 20;

/// Body of the master's `POST /v1/slave/<id>/instance_logs`: what instances printed. The answer is 200
/// [`LogsAnswer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsReport {
    /// The life of the slave's process.
    pub session_id: SessionId,
    /// Pieces, each of another instance.
    pub logs: Vec<LogPiece>,
}

/// Part of [`LogsReport`]: a piece of what an instance printed under one placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPiece {
    /// The instance.
    pub id: InstanceId,
    /// The number of the placement.
    pub generation: Generation,
    /// How many bytes this placement had printed before.
    pub offset: u64,
    /// The bytes as text; what is no UTF-8 was replaced, so `length` may differ.
    pub text: String,
    /// How many bytes of the output the piece stands for.
    pub length: u64,
}

/// Answer to [`LogsReport`]: how much of each placement the master has. A slave goes on from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsAnswer {
    /// The end of what the master has, in bytes of output, for each piece in the order of the report; none for an
    /// instance that it does not know, whose output nobody wants.
    pub ends: Vec<Option<u64>>,
}
