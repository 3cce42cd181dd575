//! Who is to be looked at before the cluster is at rest.
//!
//! Whatever is not in here was looked at, and there was nothing to do about it; so with a thousand
//! slaves and hundreds of builds only those are looked at that something happened to. Events that are
//! rare have everything looked at that a free executor could matter to.

use crate::core::Cluster;
use crate::core::event::Fact;
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::collections::BTreeSet;

/// A memory of what was looked at, no part of the state: two clusters that differ in it only are equal.
#[derive(Clone, Debug, Default)]
pub(in crate::core) struct DirtySet {
    /// Slaves that may take a hand-out, those with most room last.
    pub(in crate::core) slaves: BTreeSet<Room>,
    /// Slaves that take no hand-out, and may be set up for another build.
    pub(in crate::core) slaves_to_set_up: BTreeSet<SlaveId>,
    /// Builds of which something may go to a slave that has free executors.
    pub(in crate::core) builds: BTreeSet<BuildId>,
    /// Builds that need more slaves, perhaps.
    pub(in crate::core) builds_to_set_up: BTreeSet<BuildId>,
    /// Builds whose work may have come to its end.
    pub(in crate::core) endings: BTreeSet<BuildId>,
    /// The slave and the build of the set-up that was asked for last.
    pub(in crate::core) set_up: Option<(SlaveId, BuildId)>,
}

/// See [`crate::core::slaves::slave::Slave::room`].
pub(in crate::core) type Room = (usize, usize, SlaveId);

impl PartialEq for DirtySet {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Cluster {
    /// Notes who is to be looked at because of an event that was just applied, beside the slave and the
    /// build that it is about.
    pub(in crate::core) fn attend(&mut self, fact: &Fact) {
        match fact {
            Fact::BuildQueued { .. }
            | Fact::PreparationStarted { .. }
            | Fact::PreparationStopped { .. }
            | Fact::BuildFinished { .. }
            | Fact::BuildRetired { .. }
            | Fact::BuildForgotten { .. }
            | Fact::BuildCleared { .. }
            | Fact::SlaveForgotten { .. }
            | Fact::IdsReserved { .. }
            | Fact::BuildWarned { .. }
            | Fact::SlaveEnded { .. }
            | Fact::SubjobHandedOut { .. } => {}
            Fact::SetupRequested { slave, build, .. } => {
                self.dirty.set_up = Some((*slave, *build));
            }
            Fact::BuildPrepared { build, .. } => {
                self.dirty.endings.insert(*build);
            }
            Fact::SubjobFinished { build, .. } => {
                let finished = self.builds.get(build);
                if finished.is_some_and(|b| b.num_unstarted() == 0) {
                    self.dirty.endings.insert(*build);
                }
                // What is left was not worth a set-up while others worked on it.
                if finished.is_some_and(|b| b.num_executors() == 0) {
                    self.dirty.builds_to_set_up.insert(*build);
                }
                // A slave that is kept for suspects counts among a build's executors.
                if !self.reserved.is_empty() || !self.suspicious.is_empty() {
                    self.attend_to_all();
                }
            }
            Fact::SetupCompleted { build, .. } => {
                // Executors that it counted on may have gone to others meanwhile.
                self.dirty.builds_to_set_up.insert(*build);
            }
            // Each build is torn down on many slaves; that matters to itself, if it is not over.
            Fact::TeardownRequested { build, .. } | Fact::TeardownCompleted { build, .. } => {
                if self.working.contains(build) {
                    self.dirty.builds.insert(*build);
                    self.dirty.endings.insert(*build);
                }
            }
            Fact::BuildFailed { .. }
            | Fact::BuildCanceled { .. }
            | Fact::ArchivingStarted { .. } => {
                if self.suspicious.is_empty() && self.reserved.is_empty() {
                    self.attend_to_shares();
                } else {
                    self.attend_to_all();
                }
            }
            Fact::MasterStarted { .. }
            | Fact::IncarnationBegun { .. }
            | Fact::SlaveConnected { .. }
            | Fact::SlaveLost { .. }
            | Fact::ShutdownRequested { .. }
            | Fact::EndRequested { .. }
            | Fact::DrainRequested { .. }
            | Fact::DrainEnded { .. }
            | Fact::SlaveQuarantined { .. }
            | Fact::SlaveReleased { .. }
            | Fact::ProbeStarted { .. }
            | Fact::ResultDoubted { .. }
            | Fact::SlaveReserved { .. }
            | Fact::SubjobSuspected { .. }
            | Fact::SubjobPoisoned { .. }
            | Fact::SetupFailed { .. }
            | Fact::HandOutsKept { .. }
            | Fact::SubjobReturned { .. } => self.attend_to_all(),
        }
    }

    /// The others have a greater share of the farm. What a free executor of a slave could have had of
    /// them it has: only slaves that had something of the build are looked at for that.
    fn attend_to_shares(&mut self) {
        self.dirty.builds_to_set_up.extend(self.line.iter());
    }

    pub(in crate::core) fn attend_to_all(&mut self) {
        self.dirty.builds.extend(self.line.iter());
        self.dirty.endings.extend(&self.working);
        if !self.suspicious.is_empty() || !self.reserved.is_empty() {
            let working: Vec<BuildId> = self.working.iter().copied().collect();
            for build in working {
                self.settle(build);
            }
        }
    }
}
