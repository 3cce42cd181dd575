//! The only code that changes the state. Live work and replay both use it, so it takes each event
//! for true: one that does not fit means a damaged journal.

use super::Cluster;
use super::build::{Build, BuildState, Subjob};
use super::event::{Event, Fact};
use super::slave::{BuildOnSlave, Presence, Slave};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SlaveId, SubjobId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Cluster {
    /// Takes a fact into the state.
    ///
    /// # Panics
    /// When the event does not fit the state, which only a damaged journal can cause.
    pub fn apply(&mut self, event: &Event) {
        let at = event.at;
        match &event.fact {
            Fact::MasterStarted => {}
            Fact::BuildQueued { build, request } => {
                self.last_build = build.0;
                let new = Build::new(*build, (**request).clone(), at);
                self.builds.insert(*build, new);
                self.queued.insert(*build);
            }
            Fact::PreparationStarted { build } => {
                self.queued.remove(build);
                let started = self.build_mut(*build);
                started.state = BuildState::Preparing;
                started.timestamps.preparing = Some(at);
                let project = started.request.project_key();
                self.preparing.insert(project, *build);
            }
            Fact::BuildPrepared {
                build,
                plan,
                subjobs,
            } => {
                self.stop_preparing(*build);
                let prepared = self.build_mut(*build);
                prepared.state = BuildState::Prepared;
                prepared.timestamps.prepared = Some(at);
                prepared.plan = Some((**plan).clone());
                prepared.num_atoms = subjobs.iter().map(|atoms| atoms.len() as u64).sum();
                let new = subjobs.iter().cloned().map(Subjob::new);
                prepared.subjobs = new.map(Arc::new).collect();
                self.working.insert(*build);
            }
            Fact::BuildFailed { build, reason } => {
                let reason = reason.clone();
                self.end_build(*build, BuildState::Error { reason });
                self.build_mut(*build).timestamps.error = Some(at);
            }
            Fact::BuildCanceled { build } => {
                self.end_build(*build, BuildState::Canceled);
                self.build_mut(*build).timestamps.canceled = Some(at);
            }
            Fact::ArchivingStarted { build } => self.end_build(*build, BuildState::Archiving),
            Fact::BuildFinished { build } => {
                let finished = self.build_mut(*build);
                finished.state = BuildState::Finished;
                finished.timestamps.finished = Some(at);
            }
            Fact::BuildRetired { build } => self.retire(*build, at),
            Fact::SlaveForgotten { slave } => self.forget_slave(*slave),
            Fact::SlaveConnected {
                slave,
                url,
                session,
                num_executors,
            } => {
                self.last_slave = slave.0;
                self.replace_registrations(url);
                let new = Slave {
                    id: *slave,
                    url: url.clone(),
                    session: session.clone(),
                    num_executors: *num_executors,
                    presence: Presence::Alive,
                    builds: BTreeMap::new(),
                    running: BTreeSet::new(),
                };
                self.slaves.insert(*slave, new);
                self.change_slave(*slave, |_| {});
            }
            Fact::SlaveLost { slave, reason } => self.lose_slave(*slave, reason, at),
            Fact::ShutdownRequested { slave } => self.enter_shutdown(*slave),
            Fact::EndRequested { slave } => {
                self.shutting_down.remove(slave);
                self.change_slave(*slave, |slave| slave.presence = Presence::Ending);
            }
            Fact::SlaveEnded { slave } => {
                self.change_slave(*slave, |slave| slave.presence = Presence::ShutDown);
            }
            Fact::SetupRequested {
                slave,
                build,
                start_index,
            } => {
                self.set_up(*slave, *build, *start_index, at);
            }
            Fact::SetupCompleted { slave, build } => {
                self.setting_up.remove(&(*build, *slave));
                self.change_slave(*slave, |slave| {
                    slave.builds.insert(*build, BuildOnSlave::Ready);
                });
            }
            Fact::SetupFailed {
                slave,
                build,
                reason,
            } => {
                self.drop_build(*slave, *build);
                let url = self.known_slave_mut(*slave).url.clone();
                let failed = self.build_mut(*build);
                failed.take_back(*slave, reason);
                failed.note_setup_failure(*slave, url, reason);
            }
            Fact::TeardownRequested { slave, build } => {
                self.leftover.remove(&(*slave, *build));
                self.setting_up.remove(&(*build, *slave));
                self.change_slave(*slave, |slave| {
                    slave.builds.insert(*build, BuildOnSlave::TearingDown);
                });
            }
            Fact::TeardownCompleted { slave, build } => self.drop_build(*slave, *build),
            Fact::SubjobHandedOut {
                slave,
                build,
                subjob,
                attempt,
            } => {
                self.build_mut(*build).hand_out(*subjob, *slave, *attempt);
                self.change_slave(*slave, |slave| {
                    slave.running.insert((*build, *subjob));
                });
            }
            Fact::SubjobFinished {
                slave,
                build,
                subjob,
                attempt,
                outcomes,
            } => {
                self.release(*slave, *build, *subjob);
                self.build_mut(*build)
                    .finish_subjob(*subjob, *attempt, outcomes.clone());
            }
            Fact::SubjobReturned {
                slave,
                build,
                subjob,
                reason,
                ..
            } => {
                self.release(*slave, *build, *subjob);
                self.build_mut(*build).return_subjob(*subjob, reason);
            }
        }
    }

    fn build_mut(&mut self, id: BuildId) -> &mut Build {
        self.builds
            .get_mut(&id)
            .expect("events name builds that exist")
    }

    fn known_slave_mut(&mut self, id: SlaveId) -> &mut Slave {
        self.slaves
            .get_mut(&id)
            .expect("events name slaves that exist")
    }

    /// Changes a slave and keeps the order of slaves by free executors.
    fn change_slave(&mut self, id: SlaveId, change: impl FnOnce(&mut Slave)) {
        let slave = self
            .slaves
            .get_mut(&id)
            .expect("events name slaves that exist");
        self.roomy.remove(&(slave.num_free(), id));
        change(slave);
        if slave.num_free() > 0 {
            self.roomy.insert((slave.num_free(), id));
        }
    }

    fn stop_preparing(&mut self, build: BuildId) {
        let project = self.build_mut(build).request.project_key();
        if self.preparing.get(&project) == Some(&build) {
            self.preparing.remove(&project);
        }
    }

    /// No slave works on the build any more: whatever they run of it does not count.
    fn end_build(&mut self, id: BuildId, state: BuildState) {
        self.stop_preparing(id);
        self.queued.remove(&id);
        self.working.remove(&id);
        let build = self.build_mut(id);
        let running: Vec<(SubjobId, SlaveId)> = build
            .progress()
            .into_iter()
            .flat_map(|progress| &progress.running)
            .map(|(subjob, (slave, _))| (*subjob, *slave))
            .collect();
        build.state = state;
        for (subjob, slave) in running {
            self.release(slave, id, subjob);
        }
        let holders = self.slaves.values().filter(|slave| slave.is_alive());
        let leftover = holders
            .filter(|slave| {
                matches!(
                    slave.builds.get(&id),
                    Some(BuildOnSlave::SettingUp { .. } | BuildOnSlave::Ready)
                )
            })
            .map(|slave| (slave.id, id));
        self.leftover.extend(leftover);
    }

    fn replace_registrations(&mut self, url: &str) {
        for slave in self.slaves.values_mut().filter(|slave| slave.url == url) {
            slave.presence = Presence::Replaced;
        }
    }

    fn lose_slave(&mut self, id: SlaveId, reason: &str, at: Timestamp) {
        let mut builds = BTreeMap::new();
        self.change_slave(id, |slave| {
            builds = std::mem::take(&mut slave.builds);
            slave.running.clear();
            slave.presence = if slave.was_shut_down() {
                Presence::ShutDown
            } else {
                let reason = reason.to_owned();
                Presence::Lost { reason, at }
            };
        });
        self.shutting_down.remove(&id);
        let url = self.known_slave_mut(id).url.clone();
        let returned = format!("slave {url} was lost: {reason}");
        for (build, place) in builds {
            self.setting_up.remove(&(build, id));
            self.leftover.remove(&(id, build));
            let building = self.build_mut(build);
            building.take_back(id, &returned);
            // A set-up that takes its slave down must not be asked for again and again.
            if matches!(place, BuildOnSlave::SettingUp { .. }) {
                let reason = format!("it was lost while it set the build up: {reason}");
                building.note_setup_failure(id, url.clone(), &reason);
            }
        }
    }

    fn enter_shutdown(&mut self, id: SlaveId) {
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

    fn set_up(&mut self, slave: SlaveId, build: BuildId, start_index: u32, at: Timestamp) {
        let (mut num_executors, mut url) = (0, String::new());
        self.change_slave(slave, |slave| {
            slave
                .builds
                .insert(build, BuildOnSlave::SettingUp { start_index });
            num_executors = slave.num_executors;
            url.clone_from(&slave.url);
        });
        self.setting_up.insert((build, slave));
        let building = self.build_mut(build);
        building.next_executor_index = start_index.saturating_add(num_executors);
        building.slave_urls.insert(slave, url);
        building.start_building(at);
    }

    /// Forgets that a slave has a build, and what it ran of it.
    fn drop_build(&mut self, slave: SlaveId, build: BuildId) {
        self.setting_up.remove(&(build, slave));
        self.leftover.remove(&(slave, build));
        self.change_slave(slave, |slave| {
            slave.builds.remove(&build);
            slave.running.retain(|(running, _)| *running != build);
        });
    }

    fn release(&mut self, slave: SlaveId, build: BuildId, subjob: SubjobId) {
        self.change_slave(slave, |slave| {
            slave.running.remove(&(build, subjob));
        });
    }
}
