//! The only code that changes the state. Live work and replay both use it, so it takes each event
//! for true: one that does not fit means a damaged journal.

use super::Cluster;
use super::event::{Event, Fact, KeptHandOut, Plan};
use crate::core::builds::build::{Build, BuildState, Subjob};
use crate::core::lifetime::incarnation::Named;
use crate::core::scheduling::load::Load;
use crate::core::scheduling::with_setup::QuickSetups;
use crate::core::slaves::health::Record;
use crate::core::slaves::quarantine::is_quarantined;
use crate::core::slaves::slave::{BuildOnSlave, Presence, Slave};
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use std::collections::{BTreeMap, BTreeSet};
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
        let at = event.at;
        match &event.fact {
            Fact::MasterStarted { life, after } => {
                if let Some(life) = life {
                    self.lineage.begin_life(life, *after);
                }
                self.outlive_master();
            }
            Fact::IncarnationBegun {
                incarnation,
                build,
                attempt,
                slave,
                reason: _,
            } => {
                let named = Named {
                    build: *build,
                    attempt: *attempt,
                    slave: *slave,
                };
                self.enter_incarnation(incarnation, named);
            }
            Fact::IdsReserved { build, slave } => self.reserve(*build, *slave),
            Fact::BuildQueued { build, request } => {
                self.last_build = build.0;
                let new = Build::new(*build, (**request).clone(), at);
                let queue = self.queued.entry(request.project_key()).or_default();
                queue.insert(*build);
                self.builds.insert(*build, Arc::new(new));
            }
            Fact::PreparationStarted { build, attempt } => {
                self.leave_queue(*build);
                let started = self.build_mut(*build);
                started.state = BuildState::Preparing;
                started.preparations.attempts = attempt.0;
                started.timestamps.preparing = Some(at);
                let project = started.request.preparation_key(*build);
                self.preparing.insert(project, *build);
            }
            Fact::PreparationStopped { build } => {
                self.build_mut(*build).preparations.is_stopped = true;
            }
            Fact::BuildPrepared {
                build,
                plan,
                subjobs,
            } => {
                self.stop_preparing(*build);
                // Masters that did not count went on preparing after a restart without saying so.
                self.leave_queue(*build);
                let prepared = self.build_mut(*build);
                prepared.state = BuildState::Prepared;
                prepared.timestamps.prepared = Some(at);
                let expected_ms = plan.expected_ms.clone();
                prepared.plan = Some(Plan {
                    expected_ms: Vec::new(),
                    ..(**plan).clone()
                });
                prepared.num_atoms = subjobs.iter().map(|atoms| atoms.len() as u64).sum();
                let mut expected_ms = expected_ms.into_iter();
                let new = subjobs.iter().map(|atoms| {
                    let expected_ms = expected_ms.by_ref().take(atoms.len());
                    let atoms = atoms.iter().map(|atom| Box::from(&**atom));
                    Subjob::new(atoms.collect(), expected_ms.collect())
                });
                prepared.subjobs = new.map(Arc::new).collect();
                self.line.weight += u64::from(prepared.weight());
                self.working.insert(*build);
                self.settle(*build);
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
            Fact::BuildForgotten { build, .. } => self.forget(*build),
            Fact::BuildCleared { build } => self.note_cleared(*build),
            Fact::SlaveForgotten { slave } => self.forget_slave(*slave),
            Fact::SlaveConnected {
                slave,
                url,
                session,
                num_executors,
                is_legacy,
                labels,
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
                    id: *slave,
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
                    load: Load::default(),
                    quick_setups: QuickSetups::default(),
                };
                self.num_executors += new.num_executors as usize;
                self.num_legacy += usize::from(new.is_legacy);
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
            Fact::DrainRequested { slave } => {
                let url = self.known_slave_mut(*slave).url.clone();
                self.drained.insert(url);
                self.end_reservation(*slave);
                self.change_slave(*slave, |slave| slave.is_drained = true);
            }
            Fact::DrainEnded { slave } => {
                let url = self.known_slave_mut(*slave).url.clone();
                self.drained.remove(&url);
                self.change_slave(*slave, |slave| slave.is_drained = false);
            }
            Fact::SlaveQuarantined { slave, reason } => self.quarantine(*slave, reason, at),
            Fact::SlaveReleased { slave } => self.release_from_quarantine(*slave),
            Fact::ProbeStarted { slave } => self.probe(*slave),
            Fact::SlaveReserved { slave, build } => {
                self.reserved.insert(*build, *slave);
                self.change_slave(*slave, |slave| slave.reserved_for = Some(*build));
            }
            Fact::SubjobSuspected { build, subjob, .. } => {
                self.build_mut(*build).suspect(*subjob);
                self.settle_if_suspicious(*build);
                self.settle(*build);
            }
            Fact::SubjobPoisoned {
                build,
                subjob,
                slaves_lost,
            } => {
                let poisoned = self.build_mut(*build);
                let attempt = poisoned.last_attempt(*subjob).unwrap_or(Attempt::FIRST);
                let outcomes = poisoned.subjob_mut(*subjob).poisoned(*slaves_lost);
                poisoned.finish_subjob(*subjob, attempt, &outcomes);
                self.settle_suspects(*build);
                self.settle(*build);
            }
            Fact::BuildWarned { build, warning } => {
                self.build_mut(*build).warnings.push(warning.clone());
            }
            Fact::SetupRequested {
                slave,
                build,
                start_index,
            } => {
                self.set_up(*slave, *build, *start_index, at);
            }
            Fact::SetupCompleted { slave, build } => {
                self.note_setup_time(*slave, *build, at);
                self.put(*slave, *build, Some(BuildOnSlave::Ready));
                self.note_setup(*slave, *build);
            }
            Fact::SetupFailed {
                slave,
                build,
                reason,
            } => {
                let place = self.known_slave_mut(*slave).builds.get(build).copied();
                self.drop_build(*slave, *build);
                let url = self.known_slave_mut(*slave).url.clone();
                let failed = self.build_mut(*build);
                // What went along with a set-up that failed did not run.
                if place == Some(BuildOnSlave::Ready) {
                    failed.waste(*slave);
                }
                failed.take_back(*slave, reason);
                failed.note_setup_failure(*slave, url, reason);
                self.note_quickness(*slave, *build, None);
                self.note_failed_setup(*slave, *build);
                self.settle_suspects(*build);
                self.settle(*build);
            }
            Fact::TeardownRequested { slave, build } => {
                self.leftover.remove(&(*slave, *build));
                self.put(*slave, *build, Some(BuildOnSlave::TearingDown));
            }
            Fact::TeardownCompleted { slave, build } => self.drop_build(*slave, *build),
            Fact::SubjobHandedOut {
                slave,
                build,
                subjob,
                attempt,
            } => {
                self.build_mut(*build).hand_out(*subjob, *slave, *attempt);
                self.hold(*slave, *build, *subjob);
                self.note_hand_out_with_setup(*slave, *build);
                self.settle_if_suspicious(*build);
                self.settle(*build);
            }
            Fact::SubjobFinished {
                slave,
                build,
                subjob,
                attempt,
                executor: _,
                outcomes,
            } => {
                self.release(*slave, *build, *subjob);
                let finished = self.build_mut(*build).subjob_mut(*subjob);
                let unusable_from =
                    finished.take_mishap(|mishaps| std::mem::take(&mut mishaps.unusable_from));
                let unusable_from = unusable_from.unwrap_or_default();
                let doubted_from = finished.take_mishap(|mishaps| mishaps.doubted_from.take());
                self.note_usable(*slave, &unusable_from);
                if let Some(doubted) = doubted_from.flatten() {
                    self.note_second_opinion(doubted, (*build, *subjob), *slave, outcomes);
                }
                self.note_outcome(*slave, *build, *subjob, outcomes);
                self.build_mut(*build)
                    .finish_subjob(*subjob, *attempt, outcomes);
                self.judge(*slave);
                self.settle_if_suspicious(*build);
                self.settle(*build);
            }
            Fact::HandOutsKept { slave, hand_outs } => {
                for hand_out in hand_outs {
                    let KeptHandOut {
                        build,
                        subjob,
                        attempt,
                    } = *hand_out;
                    self.build_mut(build).keep(subjob, *slave, attempt);
                    let keeper = self.known_slave_mut(*slave);
                    keeper.delivering.insert((build, subjob));
                    self.settle_if_suspicious(build);
                    self.settle(build);
                }
            }
            Fact::ResultDoubted {
                slave,
                build,
                subjob,
                ..
            } => {
                self.release(*slave, *build, *subjob);
                self.note_doubt(*slave, *build, *subjob);
                let doubted = self.build_mut(*build).subjob_mut(*subjob);
                doubted.mishaps_mut().doubted_from = Some(*slave);
                let url = self.known_slave_mut(*slave).url.clone();
                let reason = format!("it failed on slave {url}, as everything did there");
                self.build_mut(*build).return_subjob(*subjob, &reason);
                self.settle_if_suspicious(*build);
                self.settle(*build);
            }
            Fact::SubjobReturned {
                slave,
                build,
                subjob,
                reason,
                ..
            } => {
                self.release(*slave, *build, *subjob);
                let returned = self.build_mut(*build).subjob_mut(*subjob);
                let mishaps = returned.mishaps_mut();
                mishaps.wasted += 1;
                mishaps.unusable_from.insert(*slave);
                self.build_mut(*build).return_subjob(*subjob, reason);
                self.settle_if_suspicious(*build);
                self.settle(*build);
            }
        }
    }

    pub(super) fn build_mut(&mut self, id: BuildId) -> &mut Build {
        let build = self.builds.get_mut(&id);
        Arc::make_mut(build.expect("events name builds that exist"))
    }

    pub(super) fn known_slave_mut(&mut self, id: SlaveId) -> &mut Slave {
        self.slaves
            .get_mut(&id)
            .expect("events name slaves that exist")
    }

    /// Changes a slave and keeps the indexes of slaves by free executors, by what they are to clear
    /// away, and of those that are quarantined.
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
            let project = build.request.project_key();
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

    fn leave_queue(&mut self, build: BuildId) {
        let project = self.build_mut(build).request.project_key();
        if let Some(queue) = self.queued.get_mut(&project) {
            queue.remove(&build);
            if queue.is_empty() {
                self.queued.remove(&project);
            }
        }
    }

    fn stop_preparing(&mut self, build: BuildId) {
        self.deadly.remove(&build);
        let project = self.build_mut(build).request.preparation_key(build);
        if self.preparing.get(&project) == Some(&build) {
            self.preparing.remove(&project);
        }
    }

    /// No slave works on the build any more: whatever they run of it does not count.
    fn end_build(&mut self, id: BuildId, state: BuildState) {
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
        build.state = state;
        self.settle_suspects(id);
        self.settle(id);
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
