//! Suspect subjobs: a slave of their own, and the end of those that are poison.
//!
//! A reserved slave gets no other work, so it is idle when its running subjobs end, however much work
//! waits. A build has one such slave at a time and its suspects run there one after the
//! other, so that the rest of the farm works on.

use crate::Cluster;
use crate::builds::build::Build;
use crate::event::{BuildFact, Fact, SlaveFact};
use crate::slaves::slave::{BuildOnSlave, Slave};
use clusterrunner_common::ids::{BuildId, SlaveId};

/// What is next to be done about suspects, if there is anything.
pub(crate) fn next(cluster: &Cluster) -> Option<Fact> {
    let mut suspicious = cluster.suspicious.iter();
    suspicious.find_map(|id| of_build(cluster, cluster.builds.get(id)?))
}

fn of_build(cluster: &Cluster, build: &Build) -> Option<Fact> {
    let mut waiting = build.set_aside();
    if let Some((subjob, poison)) = waiting.find(|(_, subjob)| subjob.is_poison()) {
        return Some(Fact::Build(
            build.id,
            BuildFact::SubjobPoisoned {
                subjob,
                slaves_lost: poison.mishaps().slaves_lost,
            },
        ));
    }
    let subjob = build.waiting_suspect()?;
    let Some(slave) = cluster.reserved.get(&build.id) else {
        let slave = cluster.slaves().filter(|slave| may_be_kept(slave, build));
        let is_ready = |slave: &Slave| slave.builds.get(&build.id) == Some(&BuildOnSlave::Ready);
        let best = slave.min_by_key(|slave| (!is_ready(slave), slave.running.len(), slave.id))?;
        return Some(Fact::Slave(
            best.id,
            SlaveFact::Reserved { build: build.id },
        ));
    };
    let slave = cluster.slaves.get(slave)?;
    if !slave.running.is_empty() || build.num_running() >= build.max_executors() {
        return None;
    }
    match slave.builds.get(&build.id) {
        Some(BuildOnSlave::Ready) => Some(Fact::Build(
            build.id,
            BuildFact::SubjobHandedOut {
                slave: slave.id,
                subjob,
                attempt: build.next_attempt(subjob)?,
            },
        )),
        Some(BuildOnSlave::SettingUp { .. } | BuildOnSlave::TearingDown) => None,
        None => Some(Fact::Build(
            build.id,
            BuildFact::SetupRequested {
                slave: slave.id,
                start_index: build.next_executor_index,
            },
        )),
    }
}

fn may_be_kept(slave: &Slave, build: &Build) -> bool {
    let has_it = match slave.builds.get(&build.id) {
        Some(BuildOnSlave::Ready | BuildOnSlave::SettingUp { .. }) => true,
        Some(BuildOnSlave::TearingDown) => false,
        None => build.may_be_set_up_by(slave),
    };
    slave.takes_work() && slave.reserved_for.is_none() && has_it
}

impl Cluster {
    /// Keeps the index of builds with waiting suspects, and ends a reservation that nobody needs any
    /// more.
    pub(crate) fn settle_suspects(&mut self, id: BuildId) {
        let Some(build) = self.builds.get(&id) else {
            return;
        };
        let is_needed = build.has_suspects();
        if build.waiting_suspect().is_some() {
            self.suspicious.insert(id);
        } else {
            self.suspicious.remove(&id);
        }
        if !is_needed && let Some(slave) = self.reserved.remove(&id) {
            self.change_slave(slave, |slave| slave.reserved_for = None);
        }
    }

    /// Ends the reservation of a slave, if there is one.
    pub(crate) fn end_reservation(&mut self, id: SlaveId) {
        let Some(build) = self.slaves.get(&id).and_then(|slave| slave.reserved_for) else {
            return;
        };
        self.reserved.remove(&build);
        self.change_slave(id, |slave| slave.reserved_for = None);
    }
}
