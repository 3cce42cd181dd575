//! What has happened: the facts that are stored, and that the state is the fold of.
//!
//! Stored events are never edited. A new need is a new variant, or a new field with a default.

use clusterrunner_common::build_request::BuildRequest;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, SessionId, SlaveId, SubjobId};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// A fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub fact: Fact,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// A master process began its work on this data directory.
    MasterStarted,
    /// A build was accepted.
    BuildQueued {
        /// Its new id.
        build: BuildId,
        /// What to build.
        request: Box<BuildRequest>,
    },
    /// Its turn to be prepared came.
    PreparationStarted {
        /// Which.
        build: BuildId,
    },
    /// Its atoms are known.
    BuildPrepared {
        /// Which.
        build: BuildId,
        /// What is to be run.
        plan: Box<Plan>,
        /// Its subjobs: one inner list of atoms each.
        subjobs: Vec<Vec<String>>,
    },
    /// It can not be run, or not to its end.
    BuildFailed {
        /// Which.
        build: BuildId,
        /// Why, for the user.
        reason: String,
    },
    /// Somebody canceled it.
    BuildCanceled {
        /// Which.
        build: BuildId,
    },
    /// All its subjobs have a result; its archives are next.
    ArchivingStarted {
        /// Which.
        build: BuildId,
    },
    /// Its archives are there.
    BuildFinished {
        /// Which.
        build: BuildId,
    },
    /// A slave joined the farm.
    SlaveConnected {
        /// Its new id.
        slave: SlaveId,
        /// `host:port` at which it is called.
        url: String,
        /// The life of its process.
        session: SessionId,
        /// How many subjobs it runs at a time.
        num_executors: u32,
    },
    /// A slave is not counted on any more; what it ran goes back to the queues.
    SlaveLost {
        /// Which.
        slave: SlaveId,
        /// Why.
        reason: String,
    },
    /// Somebody wants a slave to end: it takes no new work from now on.
    ShutdownRequested {
        /// Which.
        slave: SlaveId,
    },
    /// A slave in shutdown mode has nothing left and is told to end. It leaves the list.
    EndRequested {
        /// Which.
        slave: SlaveId,
    },
    /// A slave that was told to end is not called any more.
    SlaveEnded {
        /// Which.
        slave: SlaveId,
    },
    /// A slave was chosen to work on a build.
    SetupRequested {
        /// Who.
        slave: SlaveId,
        /// Which build.
        build: BuildId,
        /// `BUILD_EXECUTOR_INDEX` of its executor 0.
        start_index: u32,
    },
    /// A slave is ready for a build's subjobs.
    SetupCompleted {
        /// Who.
        slave: SlaveId,
        /// Which build.
        build: BuildId,
    },
    /// A slave can not work on a build; what it ran of it goes back to the queue.
    SetupFailed {
        /// Who.
        slave: SlaveId,
        /// Which build.
        build: BuildId,
        /// Why.
        reason: String,
    },
    /// A slave is to clear a build away.
    TeardownRequested {
        /// Who.
        slave: SlaveId,
        /// Which build.
        build: BuildId,
    },
    /// A slave has cleared a build away.
    TeardownCompleted {
        /// Who.
        slave: SlaveId,
        /// Which build.
        build: BuildId,
    },
    /// A subjob was given to a slave.
    SubjobHandedOut {
        /// Who.
        slave: SlaveId,
        /// Of which build.
        build: BuildId,
        /// Which.
        subjob: SubjobId,
        /// The number of the hand-out.
        attempt: Attempt,
    },
    /// The result of a subjob is recorded.
    SubjobFinished {
        /// Who ran it.
        slave: SlaveId,
        /// Of which build.
        build: BuildId,
        /// Which.
        subjob: SubjobId,
        /// The hand-out that counted.
        attempt: Attempt,
        /// One for each of its atoms.
        outcomes: Vec<AtomOutcome>,
    },
    /// A hand-out brought no result; the subjob goes back to the queue.
    SubjobReturned {
        /// Who had it.
        slave: SlaveId,
        /// Of which build.
        build: BuildId,
        /// Which.
        subjob: SubjobId,
        /// The hand-out that is void.
        attempt: Attempt,
        /// Why.
        reason: String,
    },
}

/// The reason of [`Fact::SlaveLost`] where a slave says itself that it ends.
pub const STOPPED: &str = "it was stopped";

/// How one atom ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtomOutcome {
    /// Its exit code; `-N` for an end by signal N.
    pub exit_code: i32,
    /// How long it took.
    pub duration_ms: u64,
}

/// What preparing a build found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The commit that is built (git only).
    pub commit: Option<String>,
    /// The job's name.
    pub job_name: String,
    /// The job's joined command, appended to each atom.
    pub command: String,
    /// Joined command, run on each slave before its first subjob.
    pub setup_build: Option<String>,
    /// Joined command, run on each slave at the end.
    pub teardown_build: Option<String>,
    /// How many executors may work on it at a time.
    pub max_executors: Option<NonZeroU32>,
    /// How many executors of one slave may work on it at a time.
    pub max_executors_per_slave: Option<NonZeroU32>,
    /// Its atoms in the atomizers' order, such as `export TEST="x";`. Emptied once they are grouped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub atoms: Vec<String>,
}
