//! What stands around the core in a master: adapters that carry effects out and repeat calls until
//! they are answered, the watch over leases, and a process that may die in any turn.

use super::Tally;
use super::machine::{About, Report, ToMachine, ToMaster};
use super::world::{Happening, TICK, World};
use crate::cluster::build::Build;
use crate::cluster::command::{Command, HandOut, Refusal};
use crate::cluster::effect::{Effect, SlaveCall};
use crate::cluster::event::{AtomOutcome, Fact};
use crate::cluster::tests::scenario::{Scenario, Turn, big_plan};
use clusterrunner_common::ids::{BuildId, SessionId, SlaveId};
use std::collections::BTreeMap;

/// How long a slave may be silent.
const LEASE: u64 = 4 * TICK;

#[derive(Default)]
pub(super) struct Master {
    pub(super) farm: Scenario,
    pub(super) is_up: bool,
    life: u64,
    /// The process dies in the next turn: before it is on disk (0), or right after (1).
    pub(super) doom_turns: Option<u64>,
    /// Slaves that may be called: their machine, their session, their last sign of life.
    open: BTreeMap<SlaveId, (usize, SessionId, u64)>,
    /// Calls without an answer.
    pub(super) calls: BTreeMap<u64, (SlaveId, Asked)>,
    num_calls: u64,
    pub(super) tally: Tally,
    /// Builds that were put away.
    pub(super) kept: BTreeMap<BuildId, Build>,
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

impl World {
    /// One turn of the coordinator. `None` when the process died in it: nobody gets an answer.
    pub(super) fn tell(&mut self, command: Command) -> Option<Result<(), Refusal>> {
        let doom = self.master.doom_turns.take();
        if doom == Some(0) {
            self.crash_master();
            return None;
        }
        let is_result = matches!(command, Command::ReportFinished { .. });
        let told = self.master.farm.try_tell(command);
        match &told {
            Ok(turn) => self.master.tally.count(turn, is_result),
            Err(refusal) => self.master.tally.count_refusal(refusal),
        }
        if doom.is_some() {
            self.crash_master();
            return None;
        }
        Some(told.map(|turn| self.carry_out(turn)))
    }

    fn crash_master(&mut self) {
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
        if self.master.is_up && self.master.life == life {
            self.tell(command);
        }
    }

    /// Calls again whoever did not answer, and gives up whoever is silent.
    pub(super) fn master_tick(&mut self) {
        let calls: Vec<u64> = self.master.calls.keys().copied().collect();
        for call in calls {
            self.call(call);
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
                let reason = "no sign of life".to_owned();
                self.tell(Command::GiveSlaveUp { slave, reason });
            }
        }
        if self.master.is_up {
            self.tell(Command::ForgetSlaves);
        }
        self.put_ended_builds_away();
        self.schedule(TICK, Happening::MasterTick);
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
            ToMaster::Connect { machine, session } => {
                let told = self.tell(Command::ConnectSlave {
                    url: url(machine),
                    session: session.clone(),
                    num_executors: self.machines[machine].num_executors,
                    // It asks only when it knows of no registration.
                    known_as: None,
                });
                if told.is_some() {
                    let cluster = &self.master.farm.cluster;
                    let slave = cluster.latest_at(&url(machine)).unwrap().id;
                    self.sign_of_life(slave);
                    self.send_to_machine(machine, ToMachine::Connected { session, slave });
                }
            }
            ToMaster::Heartbeat {
                machine,
                slave,
                session,
            } => {
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
            About::Finished(build, subjob, attempt, outcomes) => {
                let hand_out = HandOut {
                    slave,
                    build,
                    subjob,
                    attempt,
                };
                self.upload(hand_out, outcomes)
            }
            About::Ending => Command::GiveSlaveUp {
                slave,
                reason: "it ends".to_owned(),
            },
        };
        let Some(told) = self.tell(command) else {
            return;
        };
        if let Err(Refusal::UnknownSlave(_) | Refusal::SessionExpired(_)) = told {
            self.send_to_machine(machine, ToMachine::Unknown { slave });
        }
        self.send_to_machine(machine, ToMachine::Heard { number });
    }

    /// A result as it arrives: now and then damaged.
    fn upload(&mut self, hand_out: HandOut, mut outcomes: Vec<AtomOutcome>) -> Command {
        if self.random.happens(30) {
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
                Effect::Abandon { build } | Effect::ClearResults { build } => {
                    assert!(self.master.farm.cluster.build(build).unwrap().is_over());
                }
                Effect::OpenSlave {
                    slave,
                    url,
                    session,
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
        let mut plan = big_plan(num_atoms, max_executors, per_slave);
        for atom in &mut plan.atoms {
            *atom = format!("export BUILD={build}; {atom}");
        }
        let plan = Box::new(plan);
        Command::ReportPrepared { build, plan }
    }
}

impl Tally {
    fn count(&mut self, turn: &Turn, is_result: bool) {
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
                Fact::BuildRetired { .. } => self.retired += 1,
                Fact::SlaveForgotten { .. } => self.slaves_forgotten += 1,
                Fact::SubjobHandedOut { attempt, .. } => {
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
            | Refusal::NoSuchSlave(_)
            | Refusal::UnknownBuild(_)
            | Refusal::ForgottenBuild(_)
            | Refusal::UnknownSubjob(_) => {}
        }
    }
}
