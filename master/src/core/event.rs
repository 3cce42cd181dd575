//! What has happened: the facts that are stored, and that the state is the fold of.
//!
//! Stored events are never edited. A new need is a new variant, or a new field with a default.

use clusterrunner_common::api::build_request::BuildRequest;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{
    Attempt, BuildId, ExecutorIndex, Incarnation, SessionId, SlaveId, SubjobId,
};
use clusterrunner_common::job::config::Timeouts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
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
    MasterStarted {
        /// The life of the process; absent in journals from before it was stored.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        life: Option<SessionId>,
        /// How many events there were before.
        #[serde(default)]
        after: u64,
    },
    /// The journal is a new one, was repaired, or is older than what slaves or stored results have seen.
    /// What was handed out before is void.
    IncarnationBegun {
        /// Which.
        incarnation: Incarnation,
        /// Ids of builds go on behind this one,
        build: BuildId,
        /// numbers of hand-outs of builds that are under way behind this one,
        attempt: Attempt,
        /// and ids of slaves behind this one.
        slave: SlaveId,
        /// What showed that.
        reason: String,
    },
    /// A slave knows ids that another master gave: they are not given here.
    IdsReserved {
        /// Up to this one for builds,
        build: BuildId,
        /// and this one for slaves.
        slave: SlaveId,
    },
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
        /// How often it came by now.
        #[serde(default = "first_attempt")]
        attempt: Attempt,
    },
    /// The master ends, and has stopped preparing a build: whatever comes, that is not the build's doing.
    PreparationStopped {
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
    /// It is over, no slave has anything of it, and it is stored apart: it leaves memory.
    BuildRetired {
        /// Which.
        build: BuildId,
    },
    /// It was put away, and is not kept any longer. Its id is not used again.
    BuildForgotten {
        /// Which.
        build: BuildId,
        /// Which bound it was beyond.
        bound: Bound,
    },
    /// Nothing of a forgotten build is on the disk any more.
    BuildCleared {
        /// Which.
        build: BuildId,
    },
    /// Nothing will be heard of a slave any more, and nobody wants to see it.
    SlaveForgotten {
        /// Which.
        slave: SlaveId,
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
        /// Whether it speaks as the original's slaves do: one build at a time, no attempts.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_legacy: bool,
        /// What builds may ask for in a slave.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        labels: BTreeSet<String>,
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
    /// A slave is to take no new work until that is taken back, whatever becomes of its process.
    DrainRequested {
        /// Which; what is drained is its address.
        slave: SlaveId,
    },
    /// A drained address takes work again.
    DrainEnded {
        /// Which slave is there.
        slave: SlaveId,
    },
    /// A slave is sick: it takes no new work for a while, and what it runs goes back to the queues.
    SlaveQuarantined {
        /// Which.
        slave: SlaveId,
        /// What speaks against it.
        reason: String,
    },
    /// Somebody says that a quarantined slave is well again.
    SlaveReleased {
        /// Which.
        slave: SlaveId,
    },
    /// The pause of a quarantined slave is over: it takes work again, one atom at a time until one has shown how it
    /// is.
    ProbeStarted {
        /// The slave that is tried.
        slave: SlaveId,
    },
    /// A slave is kept free for the suspect subjobs of a build.
    SlaveReserved {
        /// Which.
        slave: SlaveId,
        /// For which build.
        build: BuildId,
    },
    /// A slave was lost while it ran a subjob, and the subjob may be why.
    SubjobSuspected {
        /// Who is lost.
        slave: SlaveId,
        /// Of which build.
        build: BuildId,
        /// Which.
        subjob: SubjobId,
    },
    /// A subjob is not run again: it takes its slaves down. Its atoms have failed.
    SubjobPoisoned {
        /// Of which build.
        build: BuildId,
        /// Which.
        subjob: SubjobId,
        /// How many slaves it took down.
        slaves_lost: u32,
    },
    /// Something about a build went wrong that does not change its result.
    BuildWarned {
        /// Which.
        build: BuildId,
        /// What, for the user.
        warning: String,
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
        /// Which executor of the slave ran it, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        executor: Option<ExecutorIndex>,
        /// One for each of its atoms.
        outcomes: Vec<AtomOutcome>,
    },
    /// The failed result of a slave on which everything fails does not count yet: the subjob is run elsewhere first.
    ResultDoubted {
        /// The slave that brought it.
        slave: SlaveId,
        /// The build that the subjob is of.
        build: BuildId,
        /// The subjob that failed.
        subjob: SubjobId,
        /// The hand-out that is void.
        attempt: Attempt,
    },
    /// A slave that was lost is back in another life and still has results that nobody else was asked
    /// for since: they are waited for.
    HandOutsKept {
        /// Who, by its new registration.
        slave: SlaveId,
        /// Which.
        hand_outs: Vec<KeptHandOut>,
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

/// Masters before this field never counted.
fn first_attempt() -> Attempt {
    Attempt::FIRST
}

/// A hand-out whose result outlived the slave's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptHandOut {
    /// Of which build.
    pub build: BuildId,
    /// Which subjob.
    pub subjob: SubjobId,
    /// The number that it was handed out under.
    pub attempt: Attempt,
}

/// Why a build is not kept any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// It ended too long ago.
    Age,
    /// There were too many.
    Number,
    /// The results of all were too large.
    Bytes,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Age => "it is too old (keep_builds_days)",
            Self::Number => "there are too many (keep_builds)",
            Self::Bytes => "the results of all are too large (keep_results_bytes)",
        })
    }
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
    /// What its exit code does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<AtomTrouble>,
}

/// Why an atom has no end of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtomTrouble {
    /// It ran longer than it may.
    TimedOut {
        /// Its limit.
        after_s: u64,
    },
    /// Slaves were lost whenever they ran it.
    Poison {
        /// How many.
        slaves_lost: u32,
    },
}

impl std::fmt::Display for AtomTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimedOut { after_s } => write!(f, "timed out after {after_s} s"),
            Self::Poison { slaves_lost } => {
                write!(
                    f,
                    "poison: {slaves_lost} slaves were lost while they ran it"
                )
            }
        }
    }
}

/// What preparing a build found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Its atoms in the atomizers' order, such as `export TEST="x";`. Emptied once they are grouped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub atoms: Vec<String>,
    /// How long each of its atoms is expected to take, in the atomizers' order; none where nothing is
    /// known. Emptied once they are grouped and that is taken into the state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_ms: Vec<u64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form that serde asks for"
)]
fn is_usual(priority: &i32) -> bool {
    *priority == 0
}
