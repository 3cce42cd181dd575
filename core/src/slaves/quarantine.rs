//! Quarantine: a sick slave takes no work for a while, and is then tried again.
//!
//! The pause grows from one quarantine to the next, from [`SHORTEST_PAUSE`] to [`LONGEST_PAUSE`]. After it the slave
//! is on *probe*: it gets one atom at a time, and the first evidence against it quarantines it again. An atom that it
//! passes, or that another slave fails too, ends the probe. A user ends a quarantine at once by undraining or
//! restarting the slave.

use crate::Cluster;
use crate::event::{Fact, SlaveFact};
use crate::slaves::record::Record;
use crate::slaves::slave::Slave;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::SlaveId;
use std::time::Duration;

/// How long the first quarantine of a slave lasts. Each further one takes twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a quarantine lasts at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// After a slave passed so many results since its last quarantine, its next quarantine is as short as its first.
const WELL_AFTER: u32 = 20;

impl Slave {
    /// When it is tried again, if it is quarantined.
    #[must_use]
    pub fn next_probe(&self) -> Option<Timestamp> {
        self.quarantine.as_ref()?;
        // One that an earlier version quarantined has no time.
        let since = self.quarantined_at.unwrap_or(Timestamp(0));
        let pause = u64::try_from(self.pause().as_millis()).unwrap_or(u64::MAX);
        Some(Timestamp(since.0.saturating_add(pause)))
    }

    fn pause(&self) -> Duration {
        let doublings = self.relapses.saturating_sub(1).min(16);
        LONGEST_PAUSE.min(SHORTEST_PAUSE * (1 << doublings))
    }

    /// Whether it is time to try it again. Where the wall clock was set back nobody knows how long the pause was.
    fn is_due(&self, at: Timestamp) -> bool {
        let was_set_back = self.quarantined_at.is_some_and(|since| at < since);
        was_set_back || self.next_probe().is_some_and(|next| at >= next)
    }
}

/// Whether a slave is one of those that wait to be tried again.
pub(crate) fn is_quarantined(slave: &Slave) -> bool {
    slave.is_alive() && slave.quarantine.is_some()
}

impl Cluster {
    pub(crate) fn next_quarantine(&self) -> Option<Fact> {
        let (slave, reason) = self.sick.first_key_value()?;
        Some(Fact::Slave(
            *slave,
            SlaveFact::Quarantined {
                reason: reason.clone(),
            },
        ))
    }

    /// A quarantined slave whose pause is over.
    pub(crate) fn next_probe(&self, at: Timestamp) -> Option<Fact> {
        let quarantined = self.quarantined.iter().filter_map(|id| self.slave(*id));
        let mut due = quarantined.filter(|slave| slave.is_due(at));
        due.next()
            .map(|slave| Fact::Slave(slave.id, SlaveFact::ProbeStarted))
    }

    /// All that a sick slave has goes elsewhere.
    pub(crate) fn quarantine(&mut self, id: SlaveId, reason: &str, at: Timestamp) {
        self.sick.remove(&id);
        self.end_reservation(id);
        let mut builds = Vec::new();
        self.release_all(id, None);
        self.change_slave(id, |slave| {
            builds = slave.builds.keys().copied().collect();
            slave.quarantine = Some(reason.to_owned());
            slave.quarantined_at = Some(at);
            slave.relapses = slave.relapses.saturating_add(1);
            slave.limit = None;
            slave.record = Record::default();
        });
        let url = self.known_slave_mut(id).url.clone();
        let returned = format!("slave {url} was quarantined: {reason}");
        for build in builds {
            let subjobs = self.build_mut(build).take_back(id, &returned);
            self.build_mut(build).warn_of_return(&returned, subjobs);
            self.settle_suspects(build);
            self.settle(build);
        }
    }

    /// A slave begins anew, also with builds that it could not set up.
    pub(crate) fn release_from_quarantine(&mut self, id: SlaveId) {
        self.known_slave_mut(id).relapses = 0;
        self.let_work_again(id, Record::default());
    }

    /// A slave is tried again, also with builds that it could not set up.
    pub(crate) fn probe(&mut self, id: SlaveId) {
        self.doubted.insert(id);
        self.let_work_again(id, Record::probe());
    }

    /// Counts a passed result; after [`WELL_AFTER`] of them the slave's earlier quarantines count no more.
    pub(crate) fn note_well(&mut self, id: SlaveId) {
        let slave = self.known_slave_mut(id);
        if slave.relapses == 0 {
            return;
        }
        slave.record.passed_since = slave.record.passed_since.saturating_add(1);
        if slave.record.passed_since >= WELL_AFTER {
            slave.relapses = 0;
        }
    }

    fn let_work_again(&mut self, id: SlaveId, record: Record) {
        self.change_slave(id, |slave| {
            slave.quarantine = None;
            slave.quarantined_at = None;
            slave.record = record;
        });
        let url = self.known_slave_mut(id).url.clone();
        for build in self.working.clone() {
            self.build_mut(build).setup_failures.remove(&url);
            self.settle(build);
        }
    }
}
