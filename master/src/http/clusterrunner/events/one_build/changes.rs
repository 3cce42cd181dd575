//! Which facts change what is shown of a build.

use crate::http::clusterrunner::events::room::Changes;
use clusterrunner_common::ids::{BuildId, SubjobId};
use clusterrunner_core::event::{BuildFact, Event, Fact, SlaveFact};
use std::collections::BTreeSet;

/// What has changed of a build.
#[derive(Debug)]
pub(in super::super) struct BuildChanges {
    pub(super) build: BuildId,
    /// Whether its own fields may have changed.
    pub(super) itself: bool,
    /// The subjobs whose atoms may have.
    pub(super) subjobs: BTreeSet<SubjobId>,
}

impl BuildChanges {
    pub(in super::super) fn of(build: BuildId) -> Self {
        Self {
            build,
            itself: false,
            subjobs: BTreeSet::new(),
        }
    }

    fn note_fact(&mut self, fact: &BuildFact) {
        self.itself = true;
        match fact {
            BuildFact::Prepared { subjobs, .. } => {
                let number = u32::try_from(subjobs.len()).unwrap_or(u32::MAX);
                self.subjobs.extend((0..number).map(SubjobId));
            }
            BuildFact::SubjobFinished { subjob, .. }
            | BuildFact::AttemptFailed { subjob, .. }
            | BuildFact::SubjobReturned { subjob, .. }
            | BuildFact::SubjobSuspected { subjob, .. }
            | BuildFact::SubjobPoisoned { subjob, .. }
            | BuildFact::ResultDoubted { subjob, .. } => {
                self.subjobs.insert(*subjob);
            }
            BuildFact::CutOff { subjobs, .. } => {
                self.subjobs.extend(subjobs.iter().map(|(id, _)| *id));
            }
            // A row tells of a hand-out when its atom has started, which no fact says.
            BuildFact::SubjobHandedOut { .. }
            | BuildFact::Queued { .. }
            | BuildFact::PreparationStarted { .. }
            | BuildFact::PreparationStopped
            | BuildFact::Split { .. }
            | BuildFact::Failed { .. }
            | BuildFact::Canceled
            | BuildFact::ArchivingStarted
            | BuildFact::Finished
            | BuildFact::Retired
            | BuildFact::Forgotten { .. }
            | BuildFact::Deleted
            | BuildFact::Cleared
            | BuildFact::Described { .. }
            | BuildFact::Warned { .. }
            | BuildFact::Hunted { .. }
            | BuildFact::HuntGoesOn { .. }
            | BuildFact::StatusPosted { .. }
            | BuildFact::SetupRequested { .. }
            | BuildFact::SetupCompleted { .. }
            | BuildFact::SetupFailed { .. }
            | BuildFact::TeardownRequested { .. }
            | BuildFact::TeardownCompleted { .. } => {}
        }
    }
}

impl Changes for BuildChanges {
    fn note(&mut self, event: &Event) {
        match &event.fact {
            Fact::Build(build, fact) if *build == self.build => self.note_fact(fact),
            // What a build waits for depends on the slaves, and so does what of it is on slaves that are lost.
            Fact::Slave(_, SlaveFact::Hosts(_) | SlaveFact::HasSnapshots { .. }) => {}
            Fact::Slave(..) | Fact::Farm(_) => self.itself = true,
            // Who may read it.
            Fact::Project(..) => self.itself = true,
            Fact::Build(..)
            | Fact::Account(..)
            | Fact::Template(..)
            | Fact::Instance(..)
            | Fact::App(..)
            | Fact::SlaveKey(_)
            | Fact::SignIn(_) => {}
        }
    }

    fn is_empty(&self) -> bool {
        !self.itself && self.subjobs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::clock::Timestamp;
    use clusterrunner_common::ids::{Attempt, SlaveId};
    use clusterrunner_core::actor::Actor;

    #[test]
    fn facts_of_the_build_name_the_rows_that_change() {
        let mut changes = BuildChanges::of(BuildId(1));
        let mut note = |build, fact| {
            changes.note(&Event {
                at: Timestamp(0),
                by: Actor::Master,
                fact: Fact::Build(BuildId(build), fact),
            });
            std::mem::replace(&mut changes, BuildChanges::of(BuildId(1)))
        };
        let (slave, subjob, attempt) = (SlaveId(1), SubjobId(3), Attempt(1));
        let finished = || BuildFact::SubjobFinished {
            slave,
            subjob,
            attempt,
            executor: None,
            outcomes: Vec::new(),
        };
        assert_eq!(note(1, finished()).subjobs, BTreeSet::from([subjob]));
        assert!(note(2, finished()).is_empty());
        let handed_out = BuildFact::SubjobHandedOut {
            slave,
            subjob,
            attempt,
        };
        let changed = note(1, handed_out);
        assert!(changed.itself && changed.subjobs.is_empty());
        let cut_off = BuildFact::CutOff {
            slave,
            subjobs: vec![(subjob, attempt)],
            runs: Vec::new(),
        };
        assert_eq!(note(1, cut_off).subjobs, BTreeSet::from([subjob]));
    }
}
