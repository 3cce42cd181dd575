//! What a fact about a slave changes.

use crate::Cluster;
use crate::beside::Beside;
use crate::scheduling::load::Load;
use crate::slaves::facts::{KeptHandOut, SlaveFact};
use crate::slaves::record::Record;
use crate::slaves::slave::{Presence, Slave};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::SlaveId;
use std::collections::{BTreeMap, BTreeSet};

impl Cluster {
    pub(crate) fn apply_to_slave(&mut self, slave: SlaveId, fact: &SlaveFact, at: Timestamp) {
        match fact {
            SlaveFact::Forgotten => self.forget_slave(slave),
            SlaveFact::Connected {
                url,
                session,
                num_executors,
                is_legacy,
                labels,
                key,
            } => {
                self.last_slave = slave.0;
                let before = self
                    .latest_at(url)
                    .filter(|slave| slave.session == *session);
                // The same life of its process: whatever made it sick is still there.
                let quarantine = before.and_then(|slave| slave.quarantine.clone());
                let quarantined_at = before.and_then(|slave| slave.quarantined_at);
                let relapses = before.map_or(0, |slave| slave.relapses);
                self.replace_registrations(url);
                let new = Slave {
                    id: slave,
                    url: url.clone(),
                    session: session.clone(),
                    num_executors: *num_executors,
                    is_legacy: *is_legacy,
                    labels: labels.clone(),
                    presence: Presence::Alive,
                    builds: BTreeMap::new(),
                    running: BTreeSet::new(),
                    is_drained: self.drained.contains(url),
                    quarantine,
                    quarantined_at,
                    relapses,
                    limit: None,
                    reserved_for: None,
                    record: Record::default(),
                    delivering: BTreeSet::new(),
                    connected: Some(at),
                    hosting: None,
                    snapshots: BTreeSet::new(),
                    key: *key,
                    load: Load::default(),
                    quick_setups: Beside::default(),
                };
                self.num_executors += new.num_executors as usize;
                self.num_legacy += usize::from(new.is_legacy);
                self.slaves.insert(slave, new);
                self.change_slave(slave, |_| {});
            }
            SlaveFact::Lost { reason } => self.lose_slave(slave, reason, at),
            SlaveFact::ShutdownRequested => self.enter_shutdown(slave),
            SlaveFact::EndRequested => {
                self.shutting_down.remove(&slave);
                self.change_slave(slave, |slave| slave.presence = Presence::Ending);
            }
            SlaveFact::Ended => {
                self.change_slave(slave, |slave| slave.presence = Presence::ShutDown);
            }
            SlaveFact::DrainRequested => {
                let url = self.known_slave_mut(slave).url.clone();
                self.drained.insert(url);
                self.end_reservation(slave);
                self.change_slave(slave, |slave| slave.is_drained = true);
            }
            SlaveFact::DrainEnded => {
                let url = self.known_slave_mut(slave).url.clone();
                self.drained.remove(&url);
                self.change_slave(slave, |slave| slave.is_drained = false);
            }
            SlaveFact::Quarantined { reason } => self.quarantine(slave, reason, at),
            SlaveFact::Released => self.release_from_quarantine(slave),
            SlaveFact::ProbeStarted => self.probe(slave),
            SlaveFact::Reserved { build } => {
                self.reserved.insert(*build, slave);
                self.change_slave(slave, |slave| slave.reserved_for = Some(*build));
            }
            SlaveFact::Hosts(hosting) => {
                self.change_slave(slave, |slave| slave.hosting = Some(*hosting));
            }
            SlaveFact::HasSnapshots { digests } => {
                self.known_slave_mut(slave).snapshots.clone_from(digests);
            }
            SlaveFact::HandOutsKept { hand_outs } => {
                for hand_out in hand_outs {
                    let KeptHandOut {
                        build,
                        subjob,
                        attempt,
                    } = *hand_out;
                    self.build_mut(build).keep(subjob, slave, attempt);
                    self.build_mut(build).note_slave_ready(slave, at);
                    let keeper = self.known_slave_mut(slave);
                    keeper.delivering.insert((build, subjob));
                    self.settle_if_suspicious(build);
                    self.settle(build);
                }
            }
        }
    }
}
