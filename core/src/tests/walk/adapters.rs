//! How the model's master has effects carried out.

use super::launching::content;
use super::master::{Asked, machine_at};
use super::world::{Happening, World};
use super::{BROKEN, DEADLY, FLAKY, POISON, oracle};
use crate::command::Command;
use crate::effect::{Effect, MadeResult};
use crate::instances::orders::latest_orders;
use crate::tests::scenario::{Turn, big_plan};
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId};
use clusterrunner_common::work::BuildRequest;
use std::num::NonZeroU32;

fn is_deadly(request: &BuildRequest) -> bool {
    *request == super::super::scenario::request(&format!("project {DEADLY}"))
}

impl World {
    #[expect(clippy::too_many_lines, reason = "an arm for each effect")]
    pub(super) fn carry_out(&mut self, turn: Turn) {
        for effect in latest_orders(turn.effects) {
            match effect {
                Effect::Prepare { build, request } if is_deadly(&request) => {
                    let (life, delay) = (self.master.life, self.random.between(1, 100));
                    self.schedule(delay, Happening::PreparingKills(life, build));
                }
                Effect::Prepare { build, request } => {
                    let report = match &request.product {
                        Some(_) => self.preparation_of_product(build),
                        None => self.preparation(build),
                    };
                    self.report_from_adapter(report);
                }
                Effect::Archive {
                    build,
                    results,
                    failed_attempts,
                    made,
                    product,
                    failures: _,
                } => {
                    for made in &made {
                        self.make_result(build, made);
                    }
                    let archived = self.master.farm.cluster.build(build).unwrap();
                    let is_whole = results.len() == archived.subjobs.len();
                    assert!(
                        is_whole || archived.may_be_cut_short(None),
                        "{build} lacks results"
                    );
                    let stored = self.master.results.get(&build);
                    let is_there = |key| stored.is_some_and(|stored| stored.contains(key));
                    let mut all = results.iter().chain(&failed_attempts);
                    let report = if !all.all(is_there) {
                        // Only a wrong disk loses results, or the fact that they were removed.
                        assert!(self.branch > 0, "a result of build {build} is not stored");
                        let reason = "a result is not there".to_owned();
                        self.master.tally.results_missed += 1;
                        Command::ReportArchivingFailed { build, reason }
                    } else if self.random.happens(20) {
                        let reason = "disk full".to_owned();
                        Command::ReportArchivingFailed { build, reason }
                    } else {
                        Command::ReportArchived {
                            build,
                            template: product.map(|_| content(build, self.branch)),
                        }
                    };
                    self.report_from_adapter(report);
                }
                Effect::MakeResult { build, made } => {
                    assert!(!made.atoms.is_empty());
                    self.make_result(build, &made);
                }
                Effect::RemoveBuild { build } => {
                    // Once more after a restart, where it may be gone already.
                    self.master.results.remove(&build);
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
                    incarnation: _,
                    is_legacy: _,
                } => {
                    let opened = (machine_at(&url), session, self.now);
                    self.master.open.insert(slave, opened);
                }
                Effect::CloseSlave { slave } => {
                    // A slave of the life before may be lost at the very start.
                    self.master.open.remove(&slave);
                    self.master.calls.retain(|_, (called, ..)| *called != slave);
                }
                Effect::EndSlave { slave } => self.ask(slave, Asked::End),
                Effect::OrderInstances {
                    slave,
                    instances,
                    preloads,
                } => {
                    let is_older = |(called, asked): (SlaveId, &Asked)| {
                        called == slave && matches!(asked, Asked::Instances(..))
                    };
                    let calls = &mut self.master.calls;
                    calls.retain(|_, (called, asked, _)| !is_older((*called, asked)));
                    self.ask(slave, Asked::Instances(instances, preloads));
                }
                Effect::RemoveSnapshot { digest } => {
                    let mut kept = self.master.farm.cluster.snapshots();
                    assert!(kept.all(|kept| kept != digest), "{digest} is in use");
                }
                Effect::RemoveInstanceLog { instance } => {
                    assert!(self.master.farm.cluster.instance(instance).is_none());
                }
                Effect::Call { slave, build, call } => {
                    self.ask(slave, Asked::About(build, call));
                }
            }
        }
    }

    fn make_result(&mut self, build: BuildId, made: &MadeResult) {
        let results = self.master.results.entry(build).or_default();
        results.insert((made.subjob, made.attempt));
    }

    pub(super) fn ask(&mut self, slave: SlaveId, asked: Asked) {
        self.master.num_calls += 1;
        let number = self.master.num_calls;
        let mark = self.master.farm.cluster.mark().unwrap();
        self.master.calls.insert(number, (slave, asked, mark));
        self.call(number);
    }

    pub(super) fn report_from_adapter(&mut self, command: Command) {
        let life = self.master.life;
        for _ in 0..self.random.between(1, 2) {
            let delay = self.random.between(1, 150);
            self.schedule(delay, Happening::AdapterReports(life, command.clone()));
        }
    }

    /// One atom, of one of two commits.
    fn preparation_of_product(&mut self, build: BuildId) -> Command {
        if self.random.happens(50) {
            let reason = "no such branch".to_owned();
            return Command::ReportPreparationFailed { build, reason };
        }
        let mut plan = big_plan(1, 0, 0);
        plan.commit = Some(format!("commit {}", self.random.below(2)));
        // Others wait, so that there is soon something to launch.
        plan.priority = 1;
        let command = |number| format!("build-template {build} {number}");
        let succeeds = |command: &String| {
            oracle(&format!("{} {command}", plan.atoms[0]), Attempt::FIRST).exit_code == 0
        };
        plan.command = match self.random.happens(100) {
            true => format!("{BROKEN} build-template {build}"),
            false => (0..).map(command).find(succeeds).unwrap(),
        };
        let plan = Box::new(plan);
        Command::ReportPrepared { build, plan }
    }

    pub(super) fn preparation(&mut self, build: BuildId) -> Command {
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
            *atom = match self.branch {
                0 => format!("export BUILD={build}; {atom}"),
                // The build of this id that is lost was another one.
                branch => format!("export BUILD={build}.{branch}; {atom}"),
            };
        }
        if let Some(atom) = poison.and_then(|index| plan.atoms.get_mut(index)) {
            atom.push_str(POISON);
        }
        // What chance there is here is of the build, so that builds without retries walk as ever.
        let kind = super::random::mix(build.0 + u64::from(num_atoms));
        plan.retries = u32::try_from(kind % 4).unwrap();
        plan.flaky_fails = kind.is_multiple_of(3);
        plan.max_fail = match kind / 8 % 4 {
            0 => NonZeroU32::new(1),
            1 => NonZeroU32::new(3),
            _ => None,
        };
        let is_whole = self.master.farm.cluster.build(build);
        let is_whole = is_whole.is_some_and(|known| known.request.part.is_none());
        let odds = super::random::mix(build.0 ^ 0x6d61_7472_6978);
        if is_whole && odds.is_multiple_of(6) {
            let value = |n: u64| [("V".to_owned(), n.to_string())].into_iter().collect();
            plan.matrix = (0..1 + odds / 6 % 3).map(value).collect();
        }
        if plan.retries > 0 {
            for atom in plan.atoms.iter_mut().step_by(4) {
                atom.push_str(FLAKY);
            }
        }
        // Now and then a build is broken as a whole.
        if self.random.happens(100) {
            for atom in &mut plan.atoms {
                atom.push_str(BROKEN);
            }
        }
        let plan = Box::new(plan);
        Command::ReportPrepared { build, plan }
    }
}
