//! What can be asked of a slave's work, what it answers, and what it asks of the world in turn.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, ExecutorIndex, Incarnation, SubjobId};
use clusterrunner_common::job::reports::Patterns;
use clusterrunner_common::process::variables::BuildVariables;
use clusterrunner_common::text::masking::Mask;
pub(crate) use clusterrunner_common::work::HuntEnd;
use clusterrunner_common::work::{
    AtomUsage, GivenSecrets, Isolation, LimitHit, ProjectSource, SetupJob, Worker,
};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What is said when one of our own parts panicked; the log has more.
pub(crate) const BROKE_OFF: &str = "an internal error of the slave; its log has the details";

/// One hand-out of a subjob: what runs, is packed and is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HandOut {
    pub(crate) build: BuildId,
    pub(crate) subjob: SubjobId,
    pub(crate) attempt: Attempt,
}

impl fmt::Display for HandOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            build,
            subjob,
            attempt,
        } = self;
        write!(f, "build {build}, subjob {subjob}, attempt {attempt}")
    }
}

/// All that is needed to set a build up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SetupOrder {
    pub(crate) build: BuildId,
    /// The incarnation of the master that orders it; none where that is one of the original.
    pub(crate) incarnation: Option<Incarnation>,
    /// `BUILD_EXECUTOR_INDEX` of executor 0.
    pub(crate) start_index: u32,
    pub(crate) source: ProjectSource,
    pub(crate) remote_files: IndexMap<String, String>,
    /// The commit to check out; there for git only.
    pub(crate) commit: Option<String>,
    /// Whether the master gives that commit.
    pub(crate) source_from_master: bool,
    pub(crate) job: JobSource,
    /// What the build's commands find in their environment.
    pub(crate) variables: Arc<BuildVariables>,
    /// The secrets that they are given.
    pub(crate) secrets: GivenSecrets,
    /// What is to run once it is set up.
    pub(crate) subjobs: Vec<OrderedSubjob>,
    /// How long each of their atoms may run.
    pub(crate) timeout: Option<Duration>,
}

/// Where a build's job is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum JobSource {
    /// The master has read it.
    Order(Box<SetupJob>),
    /// A master of the original leaves the reading to its slaves.
    Project {
        name: Option<String>,
        config: Option<Map<String, Value>>,
    },
}

impl JobSource {
    /// The job's name, where it is known before the project is there.
    pub(crate) fn job_name(&self) -> Option<&str> {
        match self {
            Self::Order(job) => Some(&job.name),
            Self::Project { name, .. } => name.as_deref(),
        }
    }

    /// How many of its subjobs may run here at a time, if the master did not see to that.
    pub(crate) fn max_executors(&self) -> Option<NonZeroU32> {
        match self {
            Self::Order(job) => job.max_executors,
            Self::Project { .. } => None,
        }
    }

    /// Its priority and weight; the usual ones where the master says nothing of them.
    pub(crate) fn rank(&self) -> (i32, NonZeroU32) {
        match self {
            Self::Order(job) => (job.priority, job.weight.unwrap_or(NonZeroU32::MIN)),
            Self::Project { .. } => (0, NonZeroU32::MIN),
        }
    }
}

/// A build's project as it lies on this slave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Project {
    /// `$PROJECT_DIR`.
    pub(crate) directory: PathBuf,
    /// What the build's commands find in their environment.
    pub(crate) variables: Arc<BuildVariables>,
    /// What `teardown_build` is, once `setup_build` has begun; nothing is to be undone before that.
    pub(crate) teardown_build: Option<String>,
    /// How long that may run.
    pub(crate) teardown_timeout: Option<Duration>,
    /// What the build's commands run in; none for no container.
    pub(crate) image: Option<Arc<str>>,
    /// Which files that atoms leave are reports of tests.
    pub(crate) junit: Arc<Patterns>,
    /// What runs many atoms in one process; none where each has a process of its own.
    pub(crate) batch_command: Option<Arc<str>>,
    /// What runs one atom after the other; none where each has a process of its own.
    pub(crate) worker: Option<Arc<Worker>>,
    /// How far its commands are kept apart from this machine.
    pub(crate) isolation: Isolation,
}

/// How a set-up ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SetupOutcome {
    Complete(Project),
    /// Also when it was told to stop. `left` is what came about before it failed.
    Failed {
        reason: String,
        left: Option<Project>,
    },
}

/// How an atom ended that was not stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AtomEnd {
    /// As it was run.
    pub(crate) command: String,
    pub(crate) exit_code: i32,
    /// By this machine's clock.
    pub(crate) started_at: Timestamp,
    pub(crate) took: Duration,
    /// In seconds since 1970.
    pub(crate) ended_at: u64,
    /// Its limit, if it ended by that.
    pub(crate) timed_out: Option<Duration>,
    /// The limit that it failed at, where that is known.
    pub(crate) hit: Option<LimitHit>,
    pub(crate) usage: AtomUsage,
    /// What it printed, cut to the limit.
    pub(crate) console: AtomConsole,
    /// Its artifact directory, if it left anything there. Packing removes it, or it goes
    /// with the build.
    pub(crate) artifacts: Option<PathBuf>,
    /// Which files there are reports of tests.
    pub(crate) junit: Arc<Patterns>,
    /// What is taken out of what they say.
    pub(crate) mask: Arc<Mask>,
    /// Its tests in the form that is kept, where they are known already and not looked for in files: of an atom of a
    /// batch.
    pub(crate) tests: Option<Vec<u8>>,
}

/// What an atom printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AtomConsole {
    /// All of it.
    Memory(Vec<u8>),
    /// A file. Packing removes it.
    File(PathBuf),
}

impl AtomConsole {
    /// How much memory it takes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Memory(text) => text.len(),
            Self::File(_) => 0,
        }
    }
}

/// One of the subjobs that are handed out in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderedSubjob {
    pub(crate) subjob: SubjobId,
    pub(crate) attempt: Attempt,
    /// Atom, a blank, and the job's command; the index is the atom's id.
    pub(crate) atomic_commands: Vec<String>,
    /// There where it may run in one process with others.
    pub(crate) batch: Option<Batchable>,
}

/// A subjob of one atom that may run in one process with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batchable {
    /// Its atom, such as `export TEST="x";`, as the shell is given it.
    pub(crate) atom: String,
    /// How long it is expected to take, if that is known.
    pub(crate) expected_ms: Option<u64>,
}

impl OrderedSubjob {
    /// The hand-out that it is, of a build.
    pub(crate) fn of(&self, build: BuildId) -> HandOut {
        HandOut {
            build,
            subjob: self.subjob,
            attempt: self.attempt,
        }
    }
}

/// An atom that has its result and is to run once more, while nothing else needs an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HuntOrder {
    pub(crate) build: BuildId,
    pub(crate) subjob: SubjobId,
    /// Which attempt the atom is told that it is.
    pub(crate) attempt: Attempt,
    /// Atom, a blank, and the job's command.
    pub(crate) command: String,
    /// How long it may run.
    pub(crate) timeout: Option<Duration>,
}

/// How the run of a subjob ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunOutcome {
    /// Every atom has a result, in their order.
    Completed(Vec<AtomEnd>),
    /// A batch ran to its end.
    Batch(BatchRun),
    /// We ended it; there is no result.
    Canceled,
    /// The slave itself could not run it.
    Trouble(String),
    /// The project's directory is gone, so the order is given back.
    NoProject {
        atomic_commands: Vec<String>,
        timeout: Option<Duration>,
    },
}

/// What a batch left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchRun {
    /// One for each of its members, in their order.
    pub(crate) ends: Vec<BatchEnd>,
    /// How long its tests took, where it says so.
    pub(crate) tests: Option<Duration>,
    /// By this machine's clock.
    pub(crate) started_at: Timestamp,
}

/// What it means for a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BatchEnd {
    /// The atom has a result.
    Ended(Box<AtomEnd>),
    /// It runs again.
    Again {
        /// In how many atoms' company at most; alone where that is one.
        most: usize,
        /// What is printed before its output once it runs alone.
        head: Arc<str>,
    },
}

/// How the delivery of a result ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryOutcome {
    /// The master has it, or does not want it any more, or we were told to drop it.
    Over,
    /// The master will never take it as it is.
    Rejected(String),
}

/// What is asked of the work: by the master, by the connection, or by an effect that ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    SetUp(Box<SetupOrder>),
    /// All are taken, or none.
    StartSubjobs {
        build: BuildId,
        subjobs: Vec<OrderedSubjob>,
        /// How long each atom may run.
        timeout: Option<Duration>,
    },
    TearDown(BuildId),
    /// Begin a hunt. It ends in [`Effect::HuntEnded`].
    Hunt(HuntOrder),
    /// Nobody wants to know any more how this hunt ends.
    EndHunt(HandOut),
    /// Other work than that of builds comes: all hunts are to end.
    EndHunts,
    /// The master took us in. `resumed`: everything it handed out before still counts.
    Connected {
        resumed: bool,
    },
    /// The process is to end.
    Stop,
    /// A note that users of a build get at its end; without a build, users of the oldest build get it.
    Note {
        build: Option<BuildId>,
        text: String,
    },
    SetupEnded {
        build: BuildId,
        outcome: SetupOutcome,
    },
    RunEnded {
        hand_out: HandOut,
        outcome: RunOutcome,
        /// How long it kept its executor.
        took: Duration,
    },
    /// Their results are packed: what they left on the disk is not needed any more.
    Packed(Vec<HandOut>),
    /// Also of those that could not be packed.
    DeliveriesEnded(Vec<(HandOut, DeliveryOutcome)>),
    CleanUpEnded {
        build: BuildId,
        /// How `teardown_build` failed, if it did.
        trouble: Option<String>,
    },
}

/// The answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    /// The first of the subjobs runs on this executor, or waits for one.
    Subjobs(Option<ExecutorIndex>),
    /// A hunt has begun.
    Hunting(HandOut),
}

/// A state of affairs in which a command can not be followed. The text goes to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "Attempted to start subjob {subjob} for build {build}, but that build is not set up on this slave."
    )]
    UnknownBuild { build: BuildId, subjob: SubjobId },
    #[error(
        "Attempted to start subjob {subjob} for build {build}, but that build is being torn down on this slave."
    )]
    BuildEnding { build: BuildId, subjob: SubjobId },
    #[error(
        "Attempted to start {hand_out}, but attempt {newest} of that subjob was handed out already."
    )]
    OldAttempt { hand_out: HandOut, newest: Attempt },
    #[error("{waiting} subjobs wait on this slave already: hand some out elsewhere.")]
    TooManyWaiting { waiting: usize },
    #[error("This slave is ending and takes no more work.")]
    Ending,
    #[error("No executor of this slave is idle for build {build}.")]
    NoRoomToHunt { build: BuildId },
}

/// What the world is asked to do. Each of those that take time ends in a [`Command`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Ends in `SetupEnded`.
    SetUp(Box<SetupOrder>),
    /// Sets a build up again whose project's directory is gone or damaged. Nothing of the build runs.
    SetUpAgain(Box<SetupOrder>),
    /// Ends in `RunEnded`.
    Run(RunOrder),
    /// Ends in `Packed`, unless packing fails, and then in `DeliveriesEnded`, each together with other hand-outs.
    Deliver {
        hand_out: HandOut,
        executor: ExecutorIndex,
        atoms: Vec<AtomEnd>,
    },
    /// Tells whoever waits for it how a hunt ended, and removes what its atom left.
    HuntEnded {
        hand_out: HandOut,
        end: HuntEnd,
        atoms: Vec<AtomEnd>,
    },
    /// Ends in `CleanUpEnded`. Nothing of the build runs any more.
    CleanUp {
        build: BuildId,
        project: Option<Project>,
    },
    /// Tell the effect that has this hand-out to stop; it still reports its end.
    Cancel(HandOut),
    /// The same for all effects of a build but its clean-up.
    CancelBuild(BuildId),
    /// `teardown_build` now has a time limit.
    Hurry(BuildId),
    /// Tells the master; replaces what was to be told of the build before and was not sent yet.
    Report(BuildId, BuildReport),
    /// What was to be told to the master counts no more.
    ForgetReports,
}

/// What the master is told of a build on this slave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BuildReport {
    /// Subjobs may come.
    SetUp,
    /// It can not be set up, or what was set up is lost.
    SetupFailed { reason: String },
    /// Nothing of it is here any more. `trouble` is what failed meanwhile.
    TornDown { trouble: Option<String> },
}

/// What an executor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExecutorNow {
    pub(crate) executor: ExecutorIndex,
    /// What it runs, if it runs anything.
    pub(crate) running: Option<HandOut>,
}

/// All that is needed to run a subjob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunOrder {
    pub(crate) hand_out: HandOut,
    /// Where this is a hunt, of which nothing is shown or kept: the attempt that its atom is told.
    pub(crate) hunt: Option<Attempt>,
    pub(crate) executor: ExecutorIndex,
    /// `$BUILD_EXECUTOR_INDEX`.
    pub(crate) build_executor_index: u32,
    pub(crate) project_directory: PathBuf,
    /// What the build's commands find in their environment.
    pub(crate) variables: Arc<BuildVariables>,
    /// Atom, a blank, and the job's command; the index is the atom's id. Empty for a batch.
    pub(crate) atomic_commands: Vec<String>,
    /// Several hand-outs that run in one process; `hand_out` is the first of them.
    pub(crate) batch: Option<BatchOrder>,
    /// What is printed before the output of its first atom.
    pub(crate) head: Option<Arc<str>>,
    /// How long each of them may run; the whole batch, if it is one.
    pub(crate) timeout: Option<Duration>,
    /// What they run in; none for no container.
    pub(crate) image: Option<Arc<str>>,
    /// Which files that they leave are reports of tests.
    pub(crate) junit: Arc<Patterns>,
    /// What runs them one after the other; none where each has a process of its own.
    pub(crate) worker: Option<Arc<Worker>>,
    /// How far they are kept apart from this machine.
    pub(crate) isolation: Isolation,
}

impl RunOrder {
    /// All hand-outs that it runs.
    pub(crate) fn hand_outs(&self) -> Vec<HandOut> {
        match &self.batch {
            Some(batch) => batch.members.iter().map(|member| member.hand_out).collect(),
            None => vec![self.hand_out],
        }
    }
}

/// Atoms that run in one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchOrder {
    /// What runs them.
    pub(crate) command: Arc<str>,
    /// At least two.
    pub(crate) members: Vec<BatchMember>,
}

/// An atom of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchMember {
    /// Its hand-out, of which it is the only atom.
    pub(crate) hand_out: HandOut,
    /// What runs it alone.
    pub(crate) command: String,
    /// Its value, as a shell would have it.
    pub(crate) value: String,
}
