//! Walks among slaves of the original only. Their calls come in order and at most once, but they
//! know nothing of attempts: what they would do wrong, if they were driven wrong, is asserted here.

use super::check_history;
use super::random::Random;
use crate::actor::Actor;
use crate::builds::build::{Build, BuildState};
use crate::builds::hand_out::HandOut;
use crate::builds::outcome::AtomOutcome;
use crate::command::{Command, SlaveChoice};
use crate::effect::{Effect, SlaveCall};
use crate::slaves::legacy::LegacyReport;
use crate::slaves::slave::Slave;
use crate::tests::scenario::{Scenario, Turn, big_plan, request};
use clusterrunner_common::ids::{BuildId, SessionId, SlaveId, SubjobId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const NUM_SEEDS: u64 = 300;
/// Users and faults come in this many steps, and then no more.
const STIR: usize = 600;
/// Far more steps than the longest walk has needed after that.
const PATIENCE: usize = 60_000;

/// After how many steps without further trouble slaves are let out of quarantine.
const UNDRAINED_EVERY: usize = 1000;
/// What an atom ends with when its slave ends it.
const KILLED: i32 = -15;

enum Call {
    About(BuildId, SlaveCall),
    End,
}

/// A slave as the original is: what it was told, and what it has still to say.
#[derive(Default)]
struct Old {
    url: String,
    num_executors: usize,
    life: u64,
    id: Option<SlaveId>,
    build: Option<BuildId>,
    is_setting_up: bool,
    is_tearing_down: bool,
    running: BTreeSet<(BuildId, SubjobId)>,
    /// Results that wait to be uploaded: an executor is free before that.
    results: Vec<(BuildId, SubjobId, i32)>,
}

struct World {
    random: Random,
    farm: Scenario,
    slaves: Vec<Old>,
    calls: BTreeMap<SlaveId, VecDeque<Call>>,
    /// Uploads that have begun: the hand-out that was meant then, if it counted, and the exit code.
    arriving: Vec<(Option<HandOut>, i32)>,
}

fn exit_code(subjob: SubjobId) -> i32 {
    i32::from(subjob.0 % 3 == 1)
}

/// Names the seed if the walk fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this walk again: CLUSTERRUNNER_WALK_SEED={}", self.0);
        }
    }
}

#[test]
fn slaves_of_the_original_end_every_build_and_every_result_counts_once() {
    let one = std::env::var("CLUSTERRUNNER_WALK_SEED").ok();
    let one: Option<u64> = one.map(|seed| seed.parse().unwrap());
    let seeds = one.map_or(0..NUM_SEEDS, |seed| seed..seed + 1);
    let mut finished = 0;
    for seed in seeds {
        let named = Named(seed);
        let mut world = World::new(seed);
        world.run();
        finished += world.check_end();
        drop(named);
    }
    assert!(
        one.is_some() || finished > 500,
        "only {finished} builds finished"
    );
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let num_slaves = random.between(1, 3);
        let slaves = (0..num_slaves).map(|index| Old {
            url: format!("old-{index}:43001"),
            num_executors: 1 + random.index(3),
            ..Old::default()
        });
        let slaves = slaves.collect();
        Self {
            random,
            farm: Scenario::default(),
            slaves,
            calls: BTreeMap::new(),
            arriving: Vec::new(),
        }
    }

    fn run(&mut self) {
        for step in 0.. {
            let is_over = self.farm.cluster.builds().all(Build::is_over);
            if step > STIR && is_over && self.arriving.is_empty() {
                return;
            }
            assert!(step < PATIENCE, "it does not end: {:#?}", self.farm.cluster);
            if step < STIR && self.random.happens(60) {
                self.stir();
            }
            if step > STIR && step.is_multiple_of(UNDRAINED_EVERY) {
                self.undrain_quarantined();
            }
            let slave = self.random.index(self.slaves.len());
            self.step(slave);
            if !self.arriving.is_empty() && self.random.happens(400) {
                self.arrive();
            }
        }
    }

    /// Lets slaves work again, of which the last one may have been quarantined: here no time passes that would do it.
    fn undrain_quarantined(&mut self) {
        let slaves = self.farm.cluster.slaves();
        let quarantined = slaves.filter(|slave| slave.quarantine.is_some());
        for slave in quarantined.map(|slave| slave.id).collect::<Vec<_>>() {
            self.tell(Command::UndrainSlave {
                by: Actor::SecretHolder,
                slave,
            });
        }
    }

    fn check_end(&self) -> usize {
        check_history(&self.farm);
        let mut finished = 0;
        for build in self.farm.cluster.builds() {
            if build.state != BuildState::Finished {
                continue;
            }
            finished += 1;
            for (id, subjob) in build.numbered_subjobs() {
                let (_, outcomes) = subjob.result.as_ref().unwrap();
                // Slaves that died with it three times, by chance, make an atom poison.
                if outcomes[0].trouble.is_none() {
                    assert_eq!(outcomes[0].exit_code, exit_code(id), "{build:?}");
                }
            }
        }
        finished
    }

    fn tell(&mut self, command: Command) {
        // A refusal changes nothing, and whoever it is for has learnt what it wanted.
        if let Ok(turn) = self.farm.try_tell(command) {
            self.carry_out(turn);
        }
    }

    fn carry_out(&mut self, turn: Turn) {
        for effect in turn.effects {
            match effect {
                Effect::Prepare { build, .. } => {
                    let num_atoms = u32::try_from(self.random.between(1, 8)).unwrap();
                    let limit = [0, 0, 1, 2][self.random.index(4)];
                    let plan = Box::new(big_plan(num_atoms, limit, 0));
                    self.tell(Command::ReportPrepared { build, plan });
                }
                Effect::Archive { build, .. } => self.tell(Command::ReportArchived {
                    build,
                    template: None,
                }),
                Effect::OpenSlave { slave, .. } => {
                    self.calls.insert(slave, VecDeque::new());
                }
                Effect::CloseSlave { slave } => drop(self.calls.remove(&slave)),
                Effect::EndSlave { slave } => self.call(slave, Call::End),
                Effect::Call { slave, build, call } => self.call(slave, Call::About(build, call)),
                Effect::MakeResult { .. }
                | Effect::Abandon { .. }
                | Effect::ClearResults { .. }
                | Effect::RemoveBuild { .. }
                | Effect::OrderInstances { .. }
                | Effect::RemoveSnapshot { .. }
                | Effect::RemoveInstanceLog { .. } => {}
            }
        }
    }

    fn call(&mut self, slave: SlaveId, call: Call) {
        let calls = self.calls.get_mut(&slave);
        calls.expect("only open slaves are called").push_back(call);
    }

    /// A user, or a fault.
    fn stir(&mut self) {
        let builds = self.farm.cluster.builds().count() as u64;
        match self.random.below(10) {
            0..5 if builds < 8 => {
                let request = Box::new(request(&format!("project {builds}")));
                self.tell(Command::QueueBuild {
                    by: Actor::SecretHolder,
                    request,
                });
            }
            5 => {
                let build = BuildId(self.random.between(1, builds.max(1)));
                self.tell(Command::CancelBuild {
                    by: Actor::SecretHolder,
                    build,
                });
            }
            6 => {
                let slave = self.random.index(self.slaves.len());
                if let Some(id) = self.slaves[slave].id {
                    let slaves = SlaveChoice::Named(vec![id]);
                    self.tell(Command::ShutDownSlaves {
                        by: Actor::SecretHolder,
                        slaves,
                    });
                }
            }
            7 => {
                let slave = self.random.index(self.slaves.len());
                self.ends(slave);
            }
            8 => {
                // The master dies and starts again; uploads that were arriving have failed.
                self.farm.cluster = self.farm.replayed();
                self.calls.clear();
                self.arriving.clear();
                let turn = self.farm.restart();
                self.carry_out(turn);
            }
            _ => {}
        }
    }

    /// A process ends, with or without a word, and forgets everything.
    fn ends(&mut self, index: usize) {
        let old = std::mem::take(&mut self.slaves[index]);
        self.slaves[index] = Old {
            url: old.url,
            num_executors: old.num_executors,
            life: old.life + 1,
            ..Old::default()
        };
        if old.id.is_some() && self.random.happens(500) {
            self.say(old.id, LegacyReport::Ending);
        }
    }

    fn say(&mut self, slave: Option<SlaveId>, report: LegacyReport) {
        let Some(slave) = slave else { return };
        if let Ok(Some(command)) = self.farm.cluster.legacy_command(slave, report) {
            self.tell(command);
        }
    }

    /// One thing that a slave does, or that is done to it.
    fn step(&mut self, index: usize) {
        let old = &mut self.slaves[index];
        let Some(id) = old.id else {
            let session = SessionId(format!("life {}", old.life));
            let (url, num_executors) = (old.url.clone(), old.num_executors);
            self.tell(Command::ConnectLegacySlave {
                url: url.clone(),
                session,
                num_executors: u32::try_from(num_executors).unwrap(),
            });
            self.slaves[index].id = self.farm.cluster.slave_at(&url).map(|slave| slave.id);
            return;
        };
        match self.random.below(5) {
            0 => self.hear(index, id),
            1 if old.is_setting_up => {
                old.is_setting_up = false;
                let failed = self.random.happens(80);
                let report = if failed {
                    LegacyReport::SetupFailed
                } else {
                    LegacyReport::SetUp
                };
                self.say(Some(id), report);
            }
            2 => {
                if let Some((build, subjob)) = old.running.pop_first() {
                    old.results.push((build, subjob, exit_code(subjob)));
                }
            }
            3 if !old.results.is_empty() => self.upload(index),
            4 if old.is_tearing_down && old.running.is_empty() => {
                old.is_tearing_down = false;
                old.build = None;
                self.say(Some(id), LegacyReport::TornDown);
            }
            // A heartbeat: one that is given up, or not known any more, ends.
            _ => {
                let known = self.farm.cluster.known_legacy_slave(id);
                if !known.is_ok_and(Slave::is_alive) {
                    self.ends(index);
                }
            }
        }
    }

    /// The next call arrives; sometimes its answer gets lost.
    fn hear(&mut self, index: usize, id: SlaveId) {
        let Some(call) = self.calls.get_mut(&id).and_then(VecDeque::pop_front) else {
            return;
        };
        let old = &mut self.slaves[index];
        match call {
            Call::End => {
                self.ends(index);
                return self.tell(Command::ReportEnding { slave: id });
            }
            Call::About(build, SlaveCall::SetUp(_)) => {
                assert_eq!(old.build, None, "it has a build already");
                assert!(old.running.is_empty() && !old.is_setting_up);
                old.build = Some(build);
                old.is_setting_up = true;
            }
            Call::About(build, SlaveCall::Start { subjob, .. }) => {
                assert_eq!(old.build, Some(build), "another build's subjob");
                assert!(!old.is_setting_up && !old.is_tearing_down);
                assert!(old.running.len() < old.num_executors, "it would block");
                assert!(old.running.insert((build, subjob)), "twice");
            }
            Call::About(_, SlaveCall::KeepConsoles(_)) => {}
            Call::About(build, SlaveCall::TearDown) => {
                assert_eq!(old.build, Some(build), "another build's teardown");
                assert!(!old.is_setting_up && !old.is_tearing_down);
                old.is_tearing_down = true;
                for (build, subjob) in std::mem::take(&mut old.running) {
                    old.results.push((build, subjob, KILLED));
                }
            }
        }
        if self.random.happens(10) {
            let reason = "its answer got lost".to_owned();
            self.tell(Command::GiveSlaveUp { slave: id, reason });
        }
    }

    /// An upload begins: now it is said what it is for. Sometimes it comes twice.
    fn upload(&mut self, index: usize) {
        let is_repeated = self.random.happens(200);
        let old = &mut self.slaves[index];
        let next = old.results[0];
        if !is_repeated {
            old.results.remove(0);
        }
        let (build, subjob, code) = next;
        let meant = self.farm.cluster.legacy_hand_out(&old.url, build, subjob);
        let hand_out = meant.unwrap().map(|(hand_out, _)| hand_out);
        self.arriving.push((hand_out, code));
    }

    fn arrive(&mut self) {
        let arrived = self.random.index(self.arriving.len());
        let (hand_out, exit_code) = self.arriving.swap_remove(arrived);
        let Some(hand_out) = hand_out else { return };
        let duration_ms = 1;
        let outcomes = vec![AtomOutcome {
            exit_code,
            duration_ms,
            trouble: None,
            started_at: None,
            usage: None,
        }];
        self.tell(Command::ReportFinished {
            hand_out,
            executor: None,
            outcomes,
        });
    }
}
