//! What happens to builds and to their subjobs.

use crate::accounts::owner::Owner;
use crate::builds::details::NewDetails;
use crate::builds::hunted::HuntedRun;
use crate::builds::mishaps::CutRun;
use crate::builds::outcome::AtomOutcome;
use crate::builds::plan::Plan;
use crate::builds::status::PostedStatus;
use clusterrunner_common::ids::{
    Attempt, BuildId, ExecutorIndex, ProjectId, SlaveId, SubjobId, UserId,
};
use clusterrunner_common::job::matrix::Combination;
use clusterrunner_common::work::BuildRequest;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What happens to a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildFact {
    /// It was accepted, under a new id.
    Queued {
        /// The project that it is a build of, which begins with its first build.
        project: ProjectId,
        /// The owner of build and project.
        owner: Owner,
        /// The user that asked for it, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_by: Option<UserId>,
        /// What to build.
        request: Box<BuildRequest>,
    },
    /// Its turn to be prepared came.
    PreparationStarted {
        /// The number of this preparation, from 1.
        attempt: Attempt,
    },
    /// The master shuts down and has stopped preparing it, so the build is not to blame for the master's end.
    PreparationStopped,
    /// Its atoms are known.
    Prepared {
        /// What is to be run.
        plan: Box<Plan>,
        /// Its subjobs: one inner list of atoms each.
        subjobs: Vec<Vec<String>>,
    },
    /// Its job has a matrix: it is the parent of these builds from now on, which wait to be prepared at its commit.
    Split {
        /// What its job says, and the commit.
        plan: Box<Plan>,
        /// The builds, which are new, and the combination of each.
        children: Vec<(BuildId, Combination)>,
    },
    /// It can not be run, or not to its end.
    Failed {
        /// A sentence about that for the user.
        reason: String,
    },
    /// A user canceled it.
    Canceled,
    /// All its subjobs have a result, or so many atoms failed that the rest is not run; its archives are next.
    ArchivingStarted,
    /// Its archives are there.
    Finished,
    /// It is over, no slave has anything of it, and its archived form is on disk: it leaves memory.
    Retired,
    /// It was archived and is no longer retained. Its id is not used again.
    Forgotten {
        /// The bound that it was beyond.
        bound: Bound,
    },
    /// A user deleted it: from now on nobody is shown it. It is canceled, archived and forgotten as soon as it can be.
    Deleted,
    /// It was forgotten, and nothing of it is on the disk any more.
    Cleared,
    /// A user said something of it. What is not given stays.
    Described {
        /// What is given.
        details: NewDetails,
    },
    /// Something about it went wrong that does not change its result.
    Warned {
        /// A sentence about that for the user.
        warning: String,
    },
    /// A user says where it stands.
    StatusPosted {
        /// The status.
        posted: Box<PostedStatus>,
    },
    /// A slave was chosen to work on it.
    SetupRequested {
        /// The slave that is to set it up.
        slave: SlaveId,
        /// `BUILD_EXECUTOR_INDEX` of the slave's executor 0.
        start_index: u32,
    },
    /// A slave is ready for its subjobs.
    SetupCompleted {
        /// The slave that has set it up.
        slave: SlaveId,
    },
    /// A slave can not work on it; what the slave ran of it goes back to the queue.
    SetupFailed {
        /// The slave that could not set it up.
        slave: SlaveId,
        /// A sentence about the cause.
        reason: String,
        /// Whether the master did not give the slave what it needs: that says nothing of the slave.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_withheld: bool,
    },
    /// A slave is to clear it away.
    TeardownRequested {
        /// The slave that has it.
        slave: SlaveId,
    },
    /// A slave has cleared it away.
    TeardownCompleted {
        /// The slave that had it.
        slave: SlaveId,
    },
    /// One of its subjobs was given to a slave.
    SubjobHandedOut {
        /// The slave that is to run the subjob.
        slave: SlaveId,
        /// The subjob that is handed out.
        subjob: SubjobId,
        /// The number of the hand-out.
        attempt: Attempt,
    },
    /// The build ended while a slave ran these subjobs, and what they had printed by then is on disk.
    CutOff {
        /// The slave that ran them.
        slave: SlaveId,
        /// Each subjob, and its hand-out.
        subjobs: Vec<(SubjobId, Attempt)>,
        /// Which atoms of these ran, as far as the slave had said so.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        runs: Vec<(SubjobId, CutRun)>,
    },
    /// The result of a subjob is recorded.
    SubjobFinished {
        /// The slave that ran the subjob.
        slave: SlaveId,
        /// The subjob that has a result now.
        subjob: SubjobId,
        /// The hand-out that counted.
        attempt: Attempt,
        /// Which executor of the slave ran it, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        executor: Option<ExecutorIndex>,
        /// One for each of its atoms.
        outcomes: Vec<AtomOutcome>,
    },
    /// A subjob failed, and its job allows another try: it waits again, behind all others of its build. The result is
    /// kept and does not count.
    AttemptFailed {
        /// The slave that ran the subjob.
        slave: SlaveId,
        /// The subjob that failed.
        subjob: SubjobId,
        /// The hand-out that failed.
        attempt: Attempt,
        /// Which executor of the slave ran it, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        executor: Option<ExecutorIndex>,
        /// One for each of its atoms.
        outcomes: Vec<AtomOutcome>,
    },
    /// A hand-out brought no result; the subjob goes back to the queue.
    SubjobReturned {
        /// The slave that had the subjob.
        slave: SlaveId,
        /// The subjob that waits again.
        subjob: SubjobId,
        /// The hand-out that is void.
        attempt: Attempt,
        /// A sentence about the cause.
        reason: String,
    },
    /// A slave died while it held a subjob, running or prefetched: the subjob may be the cause.
    SubjobSuspected {
        /// The slave that is lost.
        slave: SlaveId,
        /// The subjob that is suspected.
        subjob: SubjobId,
    },
    /// The subjob is poison: several slaves died with it, so no slave gets it again. Its atoms have failed.
    SubjobPoisoned {
        /// The subjob that is poison.
        subjob: SubjobId,
        /// How many slaves it took down.
        slaves_lost: u32,
    },
    /// Atoms of it that may be flaky are to run again while executors are idle, or no more.
    HuntGoesOn {
        /// Whether they are to.
        goes_on: bool,
    },
    /// Atoms that had passed ran again, while executors were idle.
    Hunted {
        /// The runs that are over.
        runs: Vec<HuntedRun>,
    },
    /// A failed result of a slave in doubt does not count yet: another slave runs the subjob first.
    ResultDoubted {
        /// The slave that brought the result.
        slave: SlaveId,
        /// The subjob that failed.
        subjob: SubjobId,
        /// The hand-out that is void.
        attempt: Attempt,
    },
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
    /// A user deleted it.
    Deleted,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Age => "it is too old (keep_builds_days)",
            Self::Number => "there are too many (keep_builds)",
            Self::Bytes => "the results of all are too large (keep_results_bytes)",
            Self::Deleted => "a user deleted it",
        })
    }
}

impl BuildFact {
    /// The slave that has to do with it, if there is one.
    #[must_use]
    pub fn slave(&self) -> Option<SlaveId> {
        match self {
            Self::SetupRequested { slave, .. }
            | Self::SetupCompleted { slave }
            | Self::SetupFailed { slave, .. }
            | Self::TeardownRequested { slave }
            | Self::TeardownCompleted { slave }
            | Self::SubjobHandedOut { slave, .. }
            | Self::CutOff { slave, .. }
            | Self::SubjobFinished { slave, .. }
            | Self::AttemptFailed { slave, .. }
            | Self::SubjobReturned { slave, .. }
            | Self::SubjobSuspected { slave, .. }
            | Self::ResultDoubted { slave, .. } => Some(*slave),
            _ => None,
        }
    }
}

impl fmt::Display for BuildFact {
    /// What comes after the build's id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued { .. } => f.write_str(" queued"),
            Self::PreparationStarted { .. } => f.write_str(" preparing"),
            Self::PreparationStopped => f.write_str(" stops being prepared"),
            Self::Prepared { subjobs, .. } => write!(f, " prepared: {} subjobs", subjobs.len()),
            Self::Split { children, .. } => {
                let ids: Vec<String> = children.iter().map(|(id, _)| id.to_string()).collect();
                write!(f, " split into the builds {}", ids.join(", "))
            }
            Self::Failed { reason } => write!(f, " failed: {reason}"),
            Self::Canceled => f.write_str(" canceled"),
            Self::ArchivingStarted => f.write_str(" archiving"),
            Self::Finished => f.write_str(" finished"),
            Self::Retired => f.write_str(" retired"),
            Self::Forgotten { bound } => write!(f, " forgotten: {bound:?}"),
            Self::Deleted => f.write_str(" deleted"),
            Self::Cleared => f.write_str(" cleared"),
            Self::Described { .. } => f.write_str(" described"),
            Self::Warned { warning } => write!(f, " warned: {warning}"),
            Self::StatusPosted { posted } => write!(f, " is {:?}, a user says", posted.status),
            Self::SetupRequested { slave, start_index } => {
                write!(f, " to slave {slave} from index {start_index}")
            }
            Self::SetupCompleted { slave } => write!(f, " ready on slave {slave}"),
            Self::SetupFailed { slave, reason, .. } => {
                write!(f, " not ready on slave {slave}: {reason}")
            }
            Self::TeardownRequested { slave } => write!(f, " off slave {slave}"),
            Self::TeardownCompleted { slave } => write!(f, " gone from slave {slave}"),
            Self::SubjobHandedOut {
                slave,
                subjob,
                attempt,
            } => write!(f, ".{subjob} to slave {slave}, attempt {attempt}"),
            Self::CutOff { slave, subjobs, .. } => {
                write!(f, " cut off on slave {slave}: {} subjobs", subjobs.len())
            }
            Self::SubjobFinished {
                slave,
                subjob,
                attempt,
                outcomes,
                ..
            } => {
                let codes: Vec<i32> = outcomes.iter().map(|o| o.exit_code).collect();
                write!(
                    f,
                    ".{subjob} finished by slave {slave}, attempt {attempt}: {codes:?}"
                )
            }
            Self::AttemptFailed {
                slave,
                subjob,
                attempt,
                ..
            } => write!(
                f,
                ".{subjob} failed on slave {slave}, attempt {attempt}, and is run again"
            ),
            Self::SubjobReturned {
                slave,
                subjob,
                attempt,
                reason,
            } => write!(
                f,
                ".{subjob} back from slave {slave}, attempt {attempt}: {reason}"
            ),
            Self::SubjobSuspected { slave, subjob } => {
                write!(
                    f,
                    ".{subjob} suspected: slave {slave} was lost while it ran this subjob"
                )
            }
            Self::SubjobPoisoned {
                subjob,
                slaves_lost,
            } => write!(
                f,
                ".{subjob} poisoned: {slaves_lost} slaves were lost while they ran it"
            ),
            Self::HuntGoesOn { goes_on: true } => f.write_str(" is hunted for flakes"),
            Self::HuntGoesOn { goes_on: false } => {
                f.write_str(" is not hunted for flakes any more")
            }
            Self::Hunted { runs } => write!(f, " hunted for flakes: {} runs", runs.len()),
            Self::ResultDoubted {
                slave,
                subjob,
                attempt,
            } => write!(
                f,
                ".{subjob} doubted, as all fails on slave {slave}, attempt {attempt}"
            ),
        }
    }
}
