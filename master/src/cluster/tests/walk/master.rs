//! What stands around the core in a master: adapters that carry effects out and repeat calls until
//! they are answered, the watch over leases, and a process that may die in any turn.

use super::machine::{About, Report, Sickness, ToMachine, ToMaster};
use super::mutation::Mutation;
use super::plan::MOST_EXECUTORS;
use super::world::{Happening, TICK, World};
use super::{POISON, Tally};
use crate::cluster::Cluster;
use crate::cluster::build::Build;
use crate::cluster::command::{Command, HandOut, Refusal};
use crate::cluster::effect::{Effect, SlaveCall};
use crate::cluster::event::{AtomOutcome, Bound, Fact};
use crate::cluster::slave::BuildOnSlave;
use crate::cluster::tests::scenario::{Scenario, Turn, big_plan};
use clusterrunner_common::ids::{BuildId, SessionId, SlaveId};
use clusterrunner_common::retention::BuildBounds;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

/// Why a silent slave is given up.
pub(super) const SILENCE: &str = "no sign of life";

/// How long a slave may be silent.
const LEASE: u64 = 4 * TICK;

#[derive(Default)]
pub(super) struct Master {
    pub(super) farm: Scenario,
    pub(super) is_up: bool,
    life: u64,
    pub(super) doom: Option<Doom>,
    pub(super) mutation: Option<Mutation>,
    /// Slaves that may be called: their machine, their session, their last sign of life.
    open: BTreeMap<SlaveId, (usize, SessionId, u64)>,
    /// Calls without an answer.
    pub(super) calls: BTreeMap<u64, (SlaveId, Asked)>,
    num_calls: u64,
    /// Results that their slaves were told are recorded.
    pub(super) acknowledged: Vec<HandOut>,
    pub(super) tally: Tally,
    /// Builds that were put away.
    pub(super) kept: BTreeMap<BuildId, Build>,
    /// Builds that were removed, as they were.
    pub(super) removed: BTreeMap<BuildId, Build>,
}

/// The process will die after so many more turns, and nobody hears of them.
pub(super) struct Doom {
    pub(super) turns: u64,
    /// If nothing of these turns gets on the disk: how many events are there, and what they say.
    pub(super) lost: Option<(usize, Cluster)>,
}

/// What a machine is asked for.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    About(BuildId, SlaveCall),
    End,
}

pub(super) fn url(machine: usize) -> String {
    format!("machine-{machine}:43001")
}

fn machine_at(at: &str) -> usize {
    let number = at
        .strip_prefix("machine-")
        .and_then(|at| at.split(':').next());
    number.unwrap().parse().unwrap()
}

impl Master {
    pub(super) fn new(mutation: Option<Mutation>) -> Self {
        Self {
            mutation,
            ..Self::default()
        }
    }
}

impl World {
    /// One turn of the coordinator. `None` when the process dies before anybody is answered.
    pub(super) fn tell(&mut self, command: Command) -> Option<Result<(), Refusal>> {
        self.turn(Some(command))
    }

    /// A turn with a command, or one in which only time has passed.
    fn turn(&mut self, command: Option<Command>) -> Option<Result<(), Refusal>> {
        let is_result = matches!(command, Some(Command::ReportFinished { .. }));
        let clock = self.wall_clock();
        self.master.farm.set_clock(clock);
        let told = match command {
            Some(command) => self.master.take(command),
            None => Ok(self.master.farm.wait(Duration::ZERO)),
        };
        match &told {
            Ok(turn) => {
                let cluster = &self.master.farm.cluster;
                self.master.tally.count(turn, is_result, cluster);
            }
            Err(refusal) => self.master.tally.count_refusal(refusal),
        }
        let Some(doom) = &mut self.master.doom else {
            return Some(told.map(|turn| self.carry_out(turn)));
        };
        let is_last = doom.turns == 0;
        doom.turns = doom.turns.saturating_sub(1);
        let early = self.master.mutation == Some(Mutation::AnswersComeBeforeTheDisk);
        let told = early.then(|| told.map(|turn| self.carry_out(turn)));
        if is_last {
            self.crash_master();
        }
        told
    }

    fn crash_master(&mut self) {
        let doom = self.master.doom.take();
        if let Some((num_events, cluster)) = doom.and_then(|doom| doom.lost) {
            self.master.farm.truncate(num_events);
            self.master.farm.cluster = cluster;
            self.master.tally.failed_disks += 1;
        }
        self.master.is_up = false;
        self.master.life += 1;
        self.master.open.clear();
        self.master.calls.clear();
        self.master.tally.master_restarts += 1;
        let downtime = self.random.between(1, 2 * LEASE);
        self.schedule(downtime, Happening::MasterStarts);
    }

    pub(super) fn master_starts(&mut self) {
        let replayed = self.master.farm.replayed();
        assert_eq!(replayed, self.master.farm.cluster);
        self.master.farm.cluster = replayed;
        self.master.is_up = true;
        self.tell(Command::Start);
    }

    /// An adapter reports; one of an earlier life is gone with it.
    pub(super) fn master_is_told(&mut self, life: u64, command: Command) {
        if self.disk_full_until > self.now {
            // It waits for space.
            return self.schedule(TICK, Happening::AdapterReports(life, command));
        }
        if self.master.is_up && self.master.life == life {
            self.tell(command);
        }
    }

    /// Calls again whoever did not answer, and gives up whoever is silent.
    pub(super) fn master_tick(&mut self) {
        if self.master.mutation != Some(Mutation::CallsAreMadeOnce) {
            let calls: Vec<u64> = self.master.calls.keys().copied().collect();
            for call in calls {
                self.call(call);
            }
        }
        let now = self.now;
        let is_silent = |seen: u64| now - seen > LEASE;
        let open = self.master.open.iter();
        let silent: Vec<SlaveId> = open
            .filter(|(_, (.., seen))| is_silent(*seen))
            .map(|(slave, _)| *slave)
            .collect();
        for slave in silent {
            if self.master.is_up {
                let reason = SILENCE.to_owned();
                self.tell(Command::ReportSlaveDied { slave, reason });
            }
        }
        // Some things follow from the mere passing of time.
        if self.master.is_up {
            self.turn(None);
        }
        if self.master.is_up {
            self.tell(Command::ForgetSlaves);
        }
        self.put_ended_builds_away();
        self.forget_builds();
        self.schedule(TICK, Happening::MasterTick);
    }

    /// Bounds that most walks come up against, and sizes that are made up.
    fn forget_builds(&mut self) {
        if !self.master.is_up {
            return;
        }
        let ended = self.master.farm.cluster.ended();
        let sizes = ended.map(|(build, _)| (build, build.0 % 3)).collect();
        let bounds = BuildBounds {
            max_age: Some(Duration::from_secs(60)),
            max_number: Some(3),
            max_bytes: Some(3),
            max_partial_age: None,
        };
        self.tell(Command::ForgetBuilds { bounds, sizes });
    }

    fn put_ended_builds_away(&mut self) {
        if !self.master.is_up || self.random.happens(500) {
            return;
        }
        let retirable = self.master.farm.cluster.retirable().cloned();
        let retirable: Vec<Build> = retirable.collect();
        let builds = retirable.iter().map(|build| build.id).collect();
        for build in retirable {
            self.master.kept.insert(build.id, build);
        }
        let life = self.master.life;
        let delay = self.random.below(60);
        let kept = Command::ReportKept { builds };
        self.schedule(delay, Happening::AdapterReports(life, kept));
    }

    fn call(&mut self, number: u64) {
        let (slave, asked) = self.master.calls[&number].clone();
        let (machine, session, _) = self.master.open[&slave].clone();
        let message = ToMachine::Call {
            session,
            slave,
            number,
            asked,
        };
        self.send_to_machine(machine, message);
    }

    pub(super) fn master_hears(&mut self, message: ToMaster) {
        if !self.master.is_up {
            return;
        }
        match message {
            ToMaster::Connect {
                machine,
                session,
                finished,
            } => {
                let told = self.tell(Command::ConnectSlave {
                    url: url(machine),
                    session: session.clone(),
                    num_executors: self.machines[machine].num_executors,
                    labels: std::collections::BTreeSet::new(),
                    // It asks only when it knows of no registration.
                    known_as: None,
                    finished,
                });
                if told.is_some() {
                    let cluster = &self.master.farm.cluster;
                    let slave = cluster.latest_at(&url(machine)).unwrap().id;
                    self.sign_of_life(slave);
                    let wanted = self.master.farm.cluster.to_be_delivered(slave);
                    let connected = ToMachine::Connected {
                        session,
                        slave,
                        wanted,
                    };
                    self.send_to_machine(machine, connected);
                }
            }
            ToMaster::Heartbeat {
                machine,
                slave,
                session,
            } => {
                // A read sees only what is on disk; here nobody will come to read.
                if self.master.doom.is_some() {
                    return;
                }
                let cluster = &self.master.farm.cluster;
                if cluster.known_slave(slave, &session).is_ok() {
                    self.sign_of_life(slave);
                } else {
                    self.send_to_machine(machine, ToMachine::Unknown { slave });
                }
            }
            ToMaster::Report {
                machine,
                session,
                number,
                report,
            } => self.reported(machine, session, number, report),
            ToMaster::Answer { call, refusal } => {
                let command = match (self.master.calls.remove(&call), refusal) {
                    (Some((slave, Asked::End)), _) => Command::ReportEnding { slave },
                    (Some((slave, Asked::About(build, _))), Some(reason)) => {
                        Command::ReportRefusal {
                            slave,
                            build,
                            reason,
                        }
                    }
                    (Some((_, Asked::About(..))), None) | (None, _) => return,
                };
                self.tell(command);
            }
        }
    }

    fn sign_of_life(&mut self, slave: SlaveId) {
        if let Some((.., seen)) = self.master.open.get_mut(&slave) {
            *seen = self.now;
        }
    }

    fn reported(&mut self, machine: usize, session: SessionId, number: u64, report: Report) {
        let slave = report.slave;
        let command = match report.about {
            About::SetUp(build) => Command::ReportSetUp {
                slave,
                session,
                build,
            },
            About::SetupFailed(build) => Command::ReportSetupFailed {
                slave,
                session,
                build,
                reason: "exit code 1".to_owned(),
            },
            About::TornDown(build) => Command::ReportTornDown { slave, build },
            About::Finished(..) if self.disk_full_until > self.now => {
                // 507: the slave keeps it.
                self.master.tally.results_put_off += 1;
                return;
            }
            About::Finished(build, subjob, attempt, outcomes) => {
                let hand_out = HandOut {
                    slave,
                    build,
                    subjob,
                    attempt,
                };
                self.upload(machine, hand_out, outcomes)
            }
            About::Ending => Command::GiveSlaveUp {
                slave,
                reason: "it ends".to_owned(),
            },
        };
        let result = match &command {
            Command::ReportFinished { hand_out, .. } => Some(*hand_out),
            _ => None,
        };
        let Some(told) = self.tell(command) else {
            return;
        };
        let farm = &self.master.farm;
        let is_recorded = |hand_out: &HandOut| farm.cluster.is_repeated(*hand_out) == Ok(true);
        if told.is_ok() {
            self.master.acknowledged.extend(result.filter(is_recorded));
        }
        if let Err(Refusal::UnknownSlave(_) | Refusal::SessionExpired(_)) = told {
            self.send_to_machine(machine, ToMachine::Unknown { slave });
        }
        self.send_to_machine(machine, ToMachine::Heard { number });
    }

    /// A result as it arrives: now and then damaged.
    fn upload(
        &mut self,
        machine: usize,
        hand_out: HandOut,
        mut outcomes: Vec<AtomOutcome>,
    ) -> Command {
        let is_sick = self.machines[machine].sickness == Sickness::TearsResults;
        if is_sick || self.random.happens(30) {
            let reason = "torn archive".to_owned();
            return Command::ReportUnusable { hand_out, reason };
        }
        if self.random.happens(10) {
            outcomes.extend_from_within(..);
        }
        Command::ReportFinished { hand_out, outcomes }
    }

    fn carry_out(&mut self, turn: Turn) {
        for effect in turn.effects {
            match effect {
                Effect::Prepare { build, .. } => {
                    let report = self.preparation(build);
                    self.report_from_adapter(report);
                }
                Effect::Archive { build, results, .. } => {
                    let archived = self.master.farm.cluster.build(build).unwrap();
                    assert_eq!(
                        results.len(),
                        archived.subjobs.len(),
                        "{build} lacks results"
                    );
                    let report = if self.random.happens(20) {
                        let reason = "disk full".to_owned();
                        Command::ReportArchivingFailed { build, reason }
                    } else {
                        Command::ReportArchived { build }
                    };
                    self.report_from_adapter(report);
                }
                Effect::MakeResult { made, .. } => assert!(!made.atoms.is_empty()),
                Effect::RemoveBuild { build } => {
                    // Once more after a restart, where it may be gone already.
                    if let Some(removed) = self.master.kept.remove(&build) {
                        self.master.removed.insert(build, removed);
                    }
                    self.report_from_adapter(Command::ReportCleared { build });
                }
                Effect::Abandon { build } | Effect::ClearResults { build } => {
                    assert!(self.master.farm.cluster.build(build).unwrap().is_over());
                }
                Effect::OpenSlave {
                    slave,
                    url,
                    session,
                    is_legacy: _,
                } => {
                    let opened = (machine_at(&url), session, self.now);
                    self.master.open.insert(slave, opened);
                }
                Effect::CloseSlave { slave } => {
                    self.master.open.remove(&slave).expect("it was open");
                    self.master.calls.retain(|_, (called, ..)| *called != slave);
                }
                Effect::EndSlave { slave } => self.ask(slave, Asked::End),
                Effect::Call { slave, build, call } => {
                    self.ask(slave, Asked::About(build, call));
                }
            }
        }
    }

    fn ask(&mut self, slave: SlaveId, asked: Asked) {
        self.master.num_calls += 1;
        let number = self.master.num_calls;
        self.master.calls.insert(number, (slave, asked));
        self.call(number);
    }

    fn report_from_adapter(&mut self, command: Command) {
        let life = self.master.life;
        for _ in 0..self.random.between(1, 2) {
            let delay = self.random.between(1, 150);
            self.schedule(delay, Happening::AdapterReports(life, command.clone()));
        }
    }

    fn preparation(&mut self, build: BuildId) -> Command {
        if self.random.happens(30) {
            let reason = "no such branch".to_owned();
            return Command::ReportPreparationFailed { build, reason };
        }
        let [num_atoms, max_executors, per_slave] =
            [9, 4, 3].map(|end| u32::try_from(self.random.below(end)).unwrap());
        // Now and then enough for a slave to fail many of them in a row.
        let num_atoms = if self.random.happens(200) {
            u32::try_from(self.random.between(40, 61)).unwrap()
        } else {
            num_atoms
        };
        let poison = self.random.happens(100).then(|| self.random.index(9));
        let mut plan = big_plan(num_atoms, max_executors, per_slave);
        // Of every other build something is known.
        if num_atoms % 2 == 1 {
            plan.expected_ms = (0..u64::from(num_atoms)).map(|n| n * 7 % 5).collect();
        }
        plan.weight = NonZeroU32::new(num_atoms % 4);
        plan.priority = i32::from(num_atoms % 5 == 0);
        for atom in &mut plan.atoms {
            *atom = format!("export BUILD={build}; {atom}");
        }
        if let Some(atom) = poison.and_then(|index| plan.atoms.get_mut(index)) {
            atom.push_str(POISON);
        }
        let plan = Box::new(plan);
        Command::ReportPrepared { build, plan }
    }
}

impl Tally {
    fn count(&mut self, turn: &Turn, is_result: bool, cluster: &Cluster) {
        let suspected = turn.events.iter();
        let suspected =
            suspected.filter(|event| matches!(event.fact, Fact::SubjobSuspected { .. }));
        self.lost_with_a_queue += usize::from(suspected.count() > MOST_EXECUTORS);
        self.repeated_results += usize::from(is_result && turn.events.is_empty());
        let is = |wanted: fn(&Fact) -> bool| turn.events.iter().any(|event| wanted(&event.fact));
        let is_told_again = is(|fact| matches!(fact, Fact::SlaveConnected { .. }))
            && is(|fact| matches!(fact, Fact::ShutdownRequested { .. }));
        self.slaves_told_again += usize::from(is_told_again);
        for event in &turn.events {
            match &event.fact {
                Fact::BuildFinished { .. } => self.finished += 1,
                Fact::BuildFailed { .. } => self.failed += 1,
                Fact::BuildCanceled { .. } => self.canceled += 1,
                Fact::SlaveLost { .. } => self.slaves_lost += 1,
                Fact::SlaveEnded { .. } => self.slaves_shut_down += 1,
                Fact::SetupFailed { .. } => self.setups_failed += 1,
                Fact::SubjobReturned { .. } => self.results_unusable += 1,
                Fact::SlaveQuarantined { reason, .. } => {
                    self.sick_of_setups += usize::from(reason.contains("set up"));
                    self.sick_of_failures += usize::from(reason.contains("failed while others"));
                    self.sick_of_results += usize::from(reason.contains("could not be used"));
                }
                Fact::DrainRequested { .. } => self.slaves_drained += 1,
                Fact::SlaveReleased { .. } => self.slaves_released += 1,
                Fact::SlaveReserved { .. } => self.slaves_reserved += 1,
                Fact::SubjobPoisoned { .. } => self.poisoned += 1,
                Fact::HandOutsKept { hand_outs, .. } => self.results_kept += hand_outs.len(),
                Fact::BuildRetired { .. } => self.retired += 1,
                Fact::BuildForgotten { bound, .. } => match bound {
                    Bound::Age => self.too_old += 1,
                    Bound::Number => self.too_many += 1,
                    Bound::Bytes => self.too_large += 1,
                },
                Fact::BuildCleared { .. } => self.cleared += 1,
                Fact::SlaveForgotten { .. } => self.slaves_forgotten += 1,
                Fact::SubjobHandedOut {
                    slave,
                    build,
                    attempt,
                    ..
                } => {
                    let slave = cluster.slave(*slave);
                    let place = slave.and_then(|slave| slave.builds.get(build));
                    let is_early = matches!(place, Some(BuildOnSlave::SettingUp { .. }));
                    self.handed_out_with_setup += usize::from(is_early);
                    let has_queue =
                        slave.is_some_and(|s| s.running.len() > s.num_executors as usize);
                    self.handed_out_ahead += usize::from(has_queue);
                    self.handed_out_again += usize::from(attempt.0 > 1);
                }
                _ => {}
            }
        }
    }

    fn count_refusal(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::StaleAttempt { .. } => self.stale_attempts += 1,
            Refusal::UnknownSlave(_) => self.unknown_slaves += 1,
            Refusal::SessionExpired(_)
            | Refusal::AddressTaken(_)
            | Refusal::NotLegacy(_)
            | Refusal::UnknownAddress(_)
            | Refusal::NoSuchSlave(_)
            | Refusal::UnknownBuild(_)
            | Refusal::ForgottenBuild(_)
            | Refusal::UnknownSubjob(_) => {}
        }
    }
}
