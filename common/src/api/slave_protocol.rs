//! What master and slaves say to each other.

use super::lenient;
use crate::clock::Timestamp;
use crate::git::PackRequest;
use crate::ids::{
    AtomId, Attempt, BuildId, ExecutorIndex, Incarnation, SessionId, SlaveId, SubjobId,
};
use crate::process::variables::BuildVariables;
use crate::work::{AtomUsage, BatchTerms, FinishedAttempt, MasterMark, Seen, SetupJob};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
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
    /// Ours: see [`super::PROTOCOL`].
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
/// does not, a [`StateReport`] will; so will one that the order failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderAnswer {
    /// `SUCCESS`: the order was taken.
    pub status: String,
    /// Ours: what a [`StateReport`] about the build would say, which there will be none of.
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

/// The field `__encoded_body__` of a result upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultReport {
    /// The slave's address exactly as at connect.
    pub slave: String,
    /// Which executor ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric_data: Option<ResultMetrics>,
    /// Ours: the slave's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<SlaveId>,
    /// Ours: the life of the slave's process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Ours: the incarnation of the master that handed it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// Ours: the hand-out that this is the result of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Ours: what the archive does not say about its atoms; those of which there is nothing to say
    /// are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub atoms: Vec<AtomReport>,
}

/// Part of [`ResultReport`]: about one atom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtomReport {
    /// Its number.
    pub id: AtomId,
    /// It was ended since it ran longer than this; its exit code is [`TIMED_OUT_EXIT_CODE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timed_out_after_s: Option<u64>,
}

/// The exit code of an atom that ran longer than it may, as that of timeout(1).
pub const TIMED_OUT_EXIT_CODE: i32 = 124;

/// Part of [`ResultReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultMetrics {
    /// Which executor ran the subjob.
    #[serde(
        default,
        deserialize_with = "lenient::executor",
        skip_serializing_if = "Option::is_none"
    )]
    pub executor_id: Option<ExecutorIndex>,
}

/// Body of the slave's `POST /v1/build/<id>/subjobs`: ours. Many hand-outs in one call; all are taken,
/// or none. Taking one again that the slave has already does no harm. The answer is 201
/// [`Success`](super::Success).
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

/// How a hunt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HuntEnd {
    /// The atom's exit code was 0.
    Passed,
    /// It was another one, or the atom ran too long.
    Failed,
    /// The atom was ended, or could not be run: nothing is known.
    Dropped,
}

/// The field `__encoded_body__` of the master's `POST /v1/build/<id>/results`: ours. Its file is a block
/// ([`crate::results::block`]) with exactly these results, in this order. Each is judged by itself; the
/// answer is 200 [`ResultsAnswer`] once those that count are on the master's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultsReport {
    /// Who ran them.
    pub slave_id: SlaveId,
    /// The life of the slave's process.
    pub session_id: SessionId,
    /// The incarnation of the master that handed them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// At least one.
    pub results: Vec<ResultEntry>,
    /// What a heartbeat says of them; none where there is nothing new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Vec<RunningAtom>>,
}

/// Part of [`ResultsReport`]: the result of one hand-out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultEntry {
    /// Of which subjob.
    pub subjob_id: SubjobId,
    /// The number of the hand-out.
    pub attempt: Attempt,
    /// Which executor ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_id: Option<ExecutorIndex>,
    /// What the block does not say about its atoms; those of which there is nothing to say are left
    /// out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub atoms: Vec<AtomReport>,
    /// When its atoms started.
    #[serde(default, skip_serializing_if = "Starts::is_empty")]
    pub starts: Starts,
    /// What its atoms used, of the first ones where there are very many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usages: Vec<AtomUsage>,
}

/// When the atoms of a subjob started, by the master's clock as far as the slave knows it. The first is in
/// milliseconds since 1970, each other in milliseconds since the one before, as that is short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Starts(Vec<u64>);

impl Starts {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The moments themselves.
    pub fn times(&self) -> impl Iterator<Item = Timestamp> {
        let mut last = 0_u64;
        self.0.iter().map(move |after| {
            last = last.saturating_add(*after);
            Timestamp(last)
        })
    }
}

impl FromIterator<Timestamp> for Starts {
    fn from_iter<T: IntoIterator<Item = Timestamp>>(times: T) -> Self {
        let mut last = 0;
        let after = |time: Timestamp| {
            let after = time.0.saturating_sub(last);
            last += after;
            after
        };
        Self(times.into_iter().map(after).collect())
    }
}

/// Answer to [`ResultsReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultsAnswer {
    /// `SUCCESS`.
    pub status: String,
    /// How many events the journal of this life of the master has, those results among them. A journal that has
    /// fewer later has lost them, and the slave is the only one left that can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Those that were not recorded; all others are on disk now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<RejectedResult>,
}

/// Part of [`ResultsAnswer`]: a result that the master does not take, now or ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedResult {
    /// Of which subjob.
    pub subjob_id: SubjobId,
    /// The number of the hand-out.
    pub attempt: Attempt,
    /// The HTTP status that it alone would have been answered with, such as 409 for a hand-out that
    /// does not count any more.
    pub status: u16,
    /// What went wrong.
    pub error: String,
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
