//! The only code that changes the state. Live work and replay both use it, so it takes each event
//! for true: one that does not fit means a damaged journal.

use super::Cluster;
use super::event::{Event, Fact, FarmFact, IncarnationCause};
use crate::builds::build::{Build, BuildState};
use crate::lifetime::incarnation::Named;
use crate::slaves::quarantine::is_quarantined;
use crate::slaves::slave::{BuildOnSlave, Slave};
use clusterrunner_common::ids::{BuildId, SlaveId, SubjobId};
use std::sync::Arc;

impl Cluster {
    /// Takes a fact into the state.
    ///
    /// # Panics
    /// When the event does not fit the state, which only a damaged journal can cause.
    pub fn apply(&mut self, event: &Event) {
        self.lineage.count_event();
        self.take_in(event);
        self.settle_doubts();
        self.attend(&event.fact);
    }

    fn take_in(&mut self, event: &Event) {
        match &event.fact {
            Fact::Build(build, fact) => {
                self.apply_to_build(*build, fact, event.at);
                self.note_on_parent(*build);
            }
            Fact::Slave(slave, fact) => self.apply_to_slave(*slave, fact, event.at),
            Fact::Farm(fact) => self.apply_to_farm(fact),
            Fact::Account(user, fact) => self.apply_to_account(*user, fact, event.at),
            Fact::Project(project, fact) => self.apply_to_project(*project, fact, event.at),
            Fact::Template(template, fact) => self.apply_to_template(*template, fact, event.at),
            Fact::Instance(instance, fact) => self.apply_to_instance(*instance, fact, event.at),
            Fact::App(project, fact) => self.apply_to_app(*project, fact, event.at),
            Fact::SlaveKey(fact) => self.apply_to_key(fact, event.at),
            // Only the audit log has it.
            Fact::SignIn(_) => {}
        }
    }

    fn apply_to_farm(&mut self, fact: &FarmFact) {
        match fact {
            FarmFact::MasterStarted { life, after } => {
                self.lineage.begin_life(life, *after);
                self.outlive_master();
            }
            FarmFact::IncarnationBegun {
                incarnation,
                build,
                attempt,
                slave,
                cause,
            } => {
                let named = Named {
                    build: *build,
                    attempt: *attempt,
                    slave: *slave,
                };
                self.enter_incarnation(incarnation, named);
                if let IncarnationCause::EventsMissing(_) = cause {
                    self.void_placements(incarnation);
                }
            }
            FarmFact::IdsReserved { build, slave } => self.reserve(*build, *slave),
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "events name what exists; a journal that does not is damaged"
    )]
    pub(super) fn build_mut(&mut self, id: BuildId) -> &mut Build {
        let build = self.builds.get_mut(&id);
        Arc::make_mut(build.expect("events name builds that exist"))
    }

    #[expect(
        clippy::expect_used,
        reason = "events name what exists; a journal that does not is damaged"
    )]
    pub(super) fn known_slave_mut(&mut self, id: SlaveId) -> &mut Slave {
        self.slaves
            .get_mut(&id)
            .expect("events name slaves that exist")
    }

    /// Changes a slave and keeps the indexes of slaves by free executors, by what they are to clear
    /// away, and of those that are quarantined.
    #[expect(
        clippy::expect_used,
        reason = "events name what exists; a journal that does not is damaged"
    )]
    pub(super) fn change_slave(&mut self, id: SlaveId, change: impl FnOnce(&mut Slave)) {
        let slave = self
            .slaves
            .get_mut(&id)
            .expect("events name slaves that exist");
        let (before, was_alive) = (slave.room(), slave.is_alive());
        change(slave);
        let (room, is_alive) = (slave.room(), slave.is_alive());
        if room != before {
            self.roomy.remove(&before);
            self.dirty.slaves.remove(&before);
        }
        if room.1 > 0 {
            self.roomy.insert(room);
        }
        if is_alive {
            self.dirty.slaves.insert(room);
        }
        if was_alive && !is_alive {
            self.num_executors -= slave.num_executors as usize;
            self.num_legacy -= usize::from(slave.is_legacy);
        }
        if slave.withdraws() {
            self.withdrawing.insert(id);
        } else {
            self.withdrawing.remove(&id);
        }
        if is_quarantined(slave) {
            self.quarantined.insert(id);
        } else {
            self.quarantined.remove(&id);
        }
    }

    /// What was being prepared is begun anew, and what happens to a slave from now on may be older than this life
    /// of the master.
    fn outlive_master(&mut self) {
        for id in std::mem::take(&mut self.preparing).into_values() {
            let build = self.build_mut(id);
            let is_stopped = std::mem::take(&mut build.preparations.is_stopped);
            build.preparations.deaths += u32::from(!is_stopped);
            build.state = BuildState::Queued;
            let project = build.project;
            if build.preparations.deaths > 0 {
                self.deadly.insert(id);
            }
            self.queued.entry(project).or_default().insert(id);
        }
        for build in self.builds.values_mut() {
            let running = build.progress().into_iter().flat_map(|p| p.running.keys());
            let running: Vec<SubjobId> = running.copied().collect();
            if running.is_empty() {
                continue;
            }
            let build = Arc::make_mut(build);
            for subjob in running {
                build.subjob_mut(subjob).mishaps_mut().outlived_master = true;
            }
        }
    }

    pub(super) fn settle_if_suspicious(&mut self, build: BuildId) {
        let aside = self
            .build(build)
            .is_some_and(|b| b.set_aside().next().is_some());
        if aside || self.suspicious.contains(&build) || self.reserved.contains_key(&build) {
            self.settle_suspects(build);
        }
    }

    pub(super) fn leave_queue(&mut self, build: BuildId) {
        let project = self.build_mut(build).project;
        if let Some(queue) = self.queued.get_mut(&project) {
            queue.remove(&build);
            if queue.is_empty() {
                self.queued.remove(&project);
            }
        }
    }

    pub(super) fn stop_preparing(&mut self, build: BuildId) {
        self.deadly.remove(&build);
        let preparation = self.build_mut(build).preparation();
        if self.preparing.get(&preparation) == Some(&build) {
            self.preparing.remove(&preparation);
        }
    }

    /// No slave works on the build any more: whatever they run of it does not count.
    pub(super) fn end_build(&mut self, id: BuildId, state: BuildState) {
        self.stop_preparing(id);
        self.leave_queue(id);
        if self.working.remove(&id) {
            let weight = self.builds.get(&id).map_or(0, |build| build.weight());
            self.line.weight -= u64::from(weight);
        }
        let build = self.build_mut(id);
        let running: Vec<(SubjobId, SlaveId)> = build
            .progress()
            .into_iter()
            .flat_map(|progress| progress.running.iter().chain(&progress.kept))
            .map(|(subjob, (slave, _))| (*subjob, *slave))
            .collect();
        let held = build.progress().map(|progress| progress.running.clone());
        build.state = state;
        if build.ended_early() {
            build.held_at_end = held.unwrap_or_default();
        }
        self.settle_suspects(id);
        self.settle(id);
        self.settle_parent(id);
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
}
