//! What the model's master and slaves say to each other, and what a slave does.

use super::master::Asked;
use crate::builds::outcome::AtomOutcome;
use crate::event::KeptHandOut;
use crate::instances::reported::ReportedInstances;
use clusterrunner_common::ids::{
    Attempt, BuildId, Generation, InstanceId, SessionId, SlaveId, SubjobId,
};
use clusterrunner_common::work::{FinishedAttempt, MasterMark, Seen};

#[derive(Clone, Debug)]
pub(super) enum ToMaster {
    Connect {
        machine: usize,
        session: SessionId,
        /// Counts the requests of a slave: an answer to an earlier one is read by nobody.
        number: u64,
        finished: Vec<FinishedAttempt>,
        known_as: Option<SlaveId>,
        seen: Vec<Seen>,
    },
    Heartbeat {
        machine: usize,
        slave: SlaveId,
        session: SessionId,
        /// The life of the master that it is meant for.
        of: Option<SessionId>,
    },
    Report {
        machine: usize,
        session: SessionId,
        number: u64,
        report: Report,
        of: Option<MasterMark>,
    },
    /// The slave has taken a call, or refuses it.
    Answer { call: u64, refusal: Option<String> },
    /// A call was meant for an earlier life of the slave.
    WasStartedAgain { call: u64 },
}

#[derive(Clone, Debug)]
pub(super) enum ToMachine {
    Connected {
        session: SessionId,
        /// The request that this answers.
        number: u64,
        slave: SlaveId,
        wanted: Vec<KeptHandOut>,
        master: MasterMark,
    },
    /// The master is in another life than the slave thinks.
    OtherLife,
    /// A registration does not count any more.
    Unknown { slave: SlaveId },
    /// A report was heard, be it taken or refused; with the moment at which a result was.
    Heard { number: u64, at: Option<MasterMark> },
    Call {
        session: SessionId,
        slave: SlaveId,
        number: u64,
        asked: Asked,
        master: MasterMark,
    },
}

/// A report, and the registration that it speaks for.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) slave: SlaveId,
    pub(super) about: About,
}

#[derive(Clone, Debug)]
pub(super) enum About {
    SetUp(BuildId),
    SetupFailed(BuildId),
    TornDown(BuildId),
    Finished(BuildId, SubjobId, Attempt, Vec<AtomOutcome>),
    Ending,
    Instances(ReportedInstances),
}

/// Something that takes the slave a while.
#[derive(Clone, Debug)]
pub(super) enum Work {
    SetUp(SlaveId, BuildId),
    Run(SlaveId, BuildId, SubjobId, Attempt, Vec<AtomOutcome>),
    /// An atom that takes the machine down.
    RunPoison(SlaveId, BuildId),
    /// The next step of an instance's process. No executor has to do with it.
    Instance(InstanceId, Generation),
}

impl Work {
    /// Which registration asked for it, and of which build; none where it is no work on a build.
    pub(super) fn of(&self) -> Option<(SlaveId, BuildId)> {
        match self {
            Self::SetUp(slave, build)
            | Self::Run(slave, build, ..)
            | Self::RunPoison(slave, build) => Some((*slave, *build)),
            Self::Instance(..) => None,
        }
    }
}

/// What a slave does to the world.
pub(super) enum Act {
    /// The machine dies at once, without a word.
    Die,
    Send(ToMaster),
    Begin(Work),
    /// The process ends.
    End,
}
