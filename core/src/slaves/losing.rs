//! How the cluster changes when a slave is lost, is shut down, begins a set-up or drops a build.

use crate::Cluster;
use crate::builds::status::Status;
use crate::slaves::facts::Loss;
use crate::slaves::slave::{BuildOnSlave, Presence};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::collections::{BTreeMap, BTreeSet};

impl Cluster {
    pub(crate) fn replace_registrations(&mut self, url: &str) {
        for slave in self.slaves.values_mut().filter(|slave| slave.url == url) {
            slave.presence = Presence::Replaced;
        }
    }

    pub(crate) fn lose_slave(&mut self, id: SlaveId, reason: &Loss, at: Timestamp) {
        self.sick.remove(&id);
        self.end_reservation(id);
        let mut builds = BTreeMap::new();
        let mut delivering = BTreeSet::new();
        self.release_all(id, None);
        self.change_slave(id, |slave| {
            builds = slave.builds.clone();
            delivering = std::mem::take(&mut slave.delivering);
        });
        for build in builds.keys() {
            self.put(id, *build, None);
        }
        self.change_slave(id, |slave| {
            slave.presence = if slave.was_shut_down() {
                Presence::ShutDown
            } else {
                Presence::Lost {
                    reason: reason.to_string(),
                    at,
                    is_started_again: *reason == Loss::StartedAgain,
                    is_stopped: *reason == Loss::Stopped,
                }
            };
        });
        self.shutting_down.remove(&id);
        let url = self.known_slave_mut(id).url.clone();
        let returned = format!("slave {url} was lost: {reason}");
        let delivered = delivering.iter().map(|(build, _)| *build);
        let had: BTreeSet<BuildId> = builds.keys().copied().chain(delivered).collect();
        for (build, subjob) in delivering.into_iter().rev() {
            self.build_mut(build).return_subjob(subjob, &returned);
            self.settle_if_suspicious(build);
            self.settle(build);
        }
        for (build, place) in builds {
            self.leftover.remove(&(id, build));
            let building = self.build_mut(build);
            let subjobs = building.take_back(id, &returned);
            building.warn_of_return(&returned, subjobs);
            // A set-up that takes its slave down must not be asked for again and again.
            if matches!(place, BuildOnSlave::SettingUp { .. }) {
                let reason = format!("it was lost while it set the build up: {reason}");
                building.note_setup_failure(id, url.clone(), &reason);
            }
            self.settle_if_suspicious(build);
            self.settle(build);
        }
        for build in had {
            self.note_if_out_of_reach(build, &returned, at);
        }
    }

    /// Notes that a slave which was lost was the last one that had a build.
    fn note_if_out_of_reach(&mut self, id: BuildId, reason: &str, at: Timestamp) {
        let Some(build) = self.build(id).filter(|build| build.progress().is_some()) else {
            return;
        };
        let is_running = build.status().0 == Status::Running;
        let mut alive = self.slaves.values().filter(|slave| slave.is_alive());
        let is_reached = alive.any(|slave| match slave.builds.get(&id) {
            Some(BuildOnSlave::Ready) => true,
            Some(BuildOnSlave::SettingUp { .. }) => !is_running,
            Some(BuildOnSlave::TearingDown) | None => {
                slave.delivering.iter().any(|(build, _)| *build == id)
            }
        });
        if !is_reached {
            self.build_mut(id).note_slaves_lost(reason, at);
        }
    }

    pub(crate) fn enter_shutdown(&mut self, id: SlaveId) {
        self.end_reservation(id);
        self.change_slave(id, |slave| {
            slave.presence = if slave.is_alive() {
                Presence::ShuttingDown
            } else {
                // A slave that is lost has nothing to finish, and cannot be told.
                Presence::ShutDown
            };
        });
        if self.known_slave_mut(id).is_alive() {
            self.shutting_down.insert(id);
        }
    }

    pub(crate) fn set_up(
        &mut self,
        slave: SlaveId,
        build: BuildId,
        start_index: u32,
        at: Timestamp,
    ) {
        let place = BuildOnSlave::SettingUp {
            start_index,
            executors: self.executors_for(slave, build),
            since: Some(at),
        };
        self.put(slave, build, Some(place));
        let chosen = self.known_slave_mut(slave);
        let (num_executors, url) = (chosen.num_executors, chosen.url.clone());
        let building = self.build_mut(build);
        building.next_executor_index = start_index.saturating_add(num_executors);
        building.slave_urls.insert(slave, url);
        building.start_building(at);
    }

    /// Forgets that a slave has a build, and what it ran of it.
    pub(crate) fn drop_build(&mut self, slave: SlaveId, build: BuildId) {
        self.leftover.remove(&(slave, build));
        if self.reserved.get(&build) == Some(&slave) {
            self.end_reservation(slave);
        }
        self.put(slave, build, None);
        self.release_all(slave, Some(build));
    }
}
