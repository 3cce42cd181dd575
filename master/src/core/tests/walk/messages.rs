//! What the model's master and slaves say to each other, and what a slave does.

use super::master::Asked;
use crate::core::event::{AtomOutcome, KeptHandOut};
use clusterrunner_common::api::{FinishedAttempt, MasterMark, Seen};
use clusterrunner_common::ids::{Attempt, BuildId, SessionId, SlaveId, SubjobId};

#[derive(Clone, Debug)]
pub(super) enum ToMaster {
    Connect {
        machine: usize,
        session: SessionId,
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
}

#[derive(Clone, Debug)]
pub(super) enum ToMachine {
    Connected {
        session: SessionId,
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
}

/// Something that takes the slave a while.
#[derive(Clone, Debug)]
pub(super) enum Work {
    SetUp(SlaveId, BuildId),
    Run(SlaveId, BuildId, SubjobId, Attempt, Vec<AtomOutcome>),
    /// An atom that takes the machine down.
    RunPoison(SlaveId, BuildId),
}

impl Work {
    pub(super) fn slave(&self) -> SlaveId {
        match self {
            Self::SetUp(slave, _) | Self::Run(slave, ..) | Self::RunPoison(slave, _) => *slave,
        }
    }

    pub(super) fn build(&self) -> BuildId {
        match self {
            Self::SetUp(_, build) | Self::Run(_, build, ..) | Self::RunPoison(_, build) => *build,
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
