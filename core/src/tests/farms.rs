//! Whole farms in made-up time: many slaves, many builds, tests that are broken in every way. No well slave may be
//! quarantined for what they fail, hardly anything may run twice, and a slave on which everything fails must be
//! found at once.

use super::scenario::{Scenario, Turn, finished, plan};
use super::walk::random::Random;
use crate::builds::build::BuildState;
use crate::builds::hand_out::HandOut;
use crate::builds::plan::Plan;
use crate::effect::{Effect, SlaveCall};
use crate::event::{BuildFact, Fact, SlaveFact};
use crate::slaves::doubts::SICK_AFTER;
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::collections::{BTreeMap, VecDeque};

/// How many farms of each kind.
const FARMS: u64 = 200;

/// In farms whose builds are so small that others hardly bring results it takes more atoms to be sure.
const ALL_THAT_IT_TAKES: usize = 8;

/// How an atom is, wherever it runs.
#[derive(Clone, Copy, Debug)]
struct Nature {
    /// How often it fails, in 1000.
    fails: u64,
    takes_ms: u64,
}

#[derive(Debug, Default)]
struct Machine {
    executors: usize,
    busy: usize,
    waiting: VecDeque<HandOut>,
    /// After how many atoms everything fails at once.
    turns_bad_after: Option<usize>,
    num_run: usize,
}

enum Happening {
    SetUp(SlaveId, BuildId),
    TornDown(SlaveId, BuildId),
    Ended(HandOut),
}

/// A farm, its builds, and what happens next. All builds are of one commit.
struct Farm {
    scenario: Scenario,
    random: Random,
    now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    num_scheduled: u64,
    machines: BTreeMap<SlaveId, Machine>,
    atoms: Vec<Nature>,
    num_builds: u64,
    /// How often a failed atom is run again.
    retries: u32,
}

impl Farm {
    fn new(seed: u64, executors: &[usize], atoms: Vec<Nature>) -> Self {
        let mut farm = Self {
            scenario: Scenario::default(),
            random: Random::new(seed),
            now: 0,
            queue: BTreeMap::new(),
            num_scheduled: 0,
            machines: BTreeMap::new(),
            atoms,
            num_builds: 0,
            retries: 0,
        };
        for (id, executors) in (1..).zip(executors) {
            let number = u32::try_from(*executors).unwrap();
            farm.scenario
                .connect(&format!("machine {id}"), "life 1", number);
            let machine = Machine {
                executors: *executors,
                ..Machine::default()
            };
            farm.machines.insert(SlaveId(id), machine);
        }
        farm
    }

    fn submit(&mut self) {
        self.num_builds += 1;
        self.scenario.queue("project");
        let names: Vec<String> = (0..self.atoms.len()).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let is_known = self.num_builds > 1;
        let plan = Plan {
            expected_ms: match is_known {
                true => self.atoms.iter().map(|atom| atom.takes_ms).collect(),
                false => Vec::new(),
            },
            retries: self.retries,
            ..plan(&names)
        };
        let turn = self.scenario.prepared(self.num_builds, plan);
        self.carry_out(turn);
    }

    fn schedule(&mut self, delay: u64, happening: Happening) {
        self.num_scheduled += 1;
        let at = (self.now + delay, self.num_scheduled);
        self.queue.insert(at, happening);
    }

    fn carry_out(&mut self, turn: Turn) {
        for effect in turn.effects {
            match effect {
                Effect::Call { slave, build, call } => match call {
                    SlaveCall::SetUp(_) => self.schedule(40, Happening::SetUp(slave, build)),
                    SlaveCall::KeepConsoles(_) => {}
                    SlaveCall::TearDown => self.schedule(5, Happening::TornDown(slave, build)),
                    SlaveCall::Start {
                        subjob, attempt, ..
                    } => {
                        let hand_out = HandOut {
                            slave,
                            build,
                            subjob,
                            attempt,
                        };
                        let machine = self.machines.get_mut(&slave).unwrap();
                        machine.waiting.push_back(hand_out);
                        self.start(slave);
                    }
                },
                Effect::Archive { build, .. } => {
                    let turn = self.scenario.archived(build.0);
                    self.carry_out(turn);
                }
                _ => {}
            }
        }
    }

    /// Free executors take what waits.
    fn start(&mut self, slave: SlaveId) {
        loop {
            let machine = self.machines.get_mut(&slave).unwrap();
            let is_bad = machine
                .turns_bad_after
                .is_some_and(|n| machine.num_run >= n);
            if machine.busy == machine.executors {
                return;
            }
            let Some(hand_out) = machine.waiting.pop_front() else {
                return;
            };
            machine.busy += 1;
            let takes = self.atoms[hand_out.subjob.0 as usize].takes_ms;
            let takes = if is_bad { 1 } else { takes };
            self.schedule(takes, Happening::Ended(hand_out));
        }
    }

    fn happen(&mut self, happening: Happening) {
        self.scenario.set_clock(self.now);
        let turn = match happening {
            Happening::SetUp(slave, build) => self.scenario.set_up(slave.0, build.0),
            Happening::TornDown(slave, build) => self.scenario.torn_down(slave.0, build.0),
            Happening::Ended(hand_out) => {
                let fails = self.atoms[hand_out.subjob.0 as usize].fails;
                let machine = self.machines.get_mut(&hand_out.slave).unwrap();
                let is_bad = machine
                    .turns_bad_after
                    .is_some_and(|n| machine.num_run >= n);
                machine.num_run += 1;
                machine.busy -= 1;
                let is_failed = self.random.happens(fails) || is_bad;
                let told = finished(hand_out, &[i32::from(is_failed)]);
                // What does not count any more is refused.
                let told = self.scenario.try_tell(told);
                let turn = told.unwrap_or_default();
                self.carry_out(turn);
                self.start(hand_out.slave);
                return;
            }
        };
        self.carry_out(turn);
    }

    fn run(&mut self) {
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = at;
            self.happen(happening);
        }
        for build in self.scenario.cluster.builds() {
            assert_eq!(build.state, BuildState::Finished, "{build:?}");
        }
    }

    fn count(&self, wanted: impl Fn(&Fact) -> bool) -> usize {
        let journal = self.scenario.journal.iter();
        journal.filter(|event| wanted(&event.fact)).count()
    }

    fn num_quarantines(&self) -> usize {
        self.count(|fact| matches!(fact, Fact::Slave(_, SlaveFact::Quarantined { .. })))
    }
}

fn random_slaves(random: &mut Random) -> Vec<usize> {
    let number = random.between(2, 5);
    (0..number).map(|_| random.index(4) + 1).collect()
}

fn random_atoms(random: &mut Random, most: u64, fails: impl Fn(&mut Random) -> u64) -> Vec<Nature> {
    let number = random.between(most / 4, most);
    let atom = |random: &mut Random| Nature {
        fails: fails(random),
        takes_ms: [20, 200, 2000][random.index(3)] + random.below(500),
    };
    (0..number).map(|_| atom(random)).collect()
}

/// A farm whose tests are broken, but not its slaves.
fn broken(seed: u64, retries: u32) -> Farm {
    let mut random = Random::new(seed);
    let mut slaves = random_slaves(&mut random);
    let often = [100, 500, 900][random.index(3)];
    let atoms = match seed % 5 {
        // Some tests always fail.
        0 => random_atoms(&mut random, 20, |random| {
            u64::from(random.happens(often)) * 1000
        }),
        // Some are flaky, all of them now and then.
        1 => random_atoms(&mut random, 20, |random| {
            u64::from(random.happens(often)) * 500
        }),
        2 => random_atoms(&mut random, 20, |random| random.below(1000)),
        // The build is broken as a whole.
        3 => random_atoms(&mut random, 20, |_| 1000),
        // One slow test of each of many builds always fails, on two slaves.
        _ => {
            slaves = vec![2, 2];
            let mut atoms = random_atoms(&mut random, 6, |_| 0);
            (atoms[0].fails, atoms[0].takes_ms) = (1000, 3000);
            atoms
        }
    };
    let mut farm = Farm::new(seed, &slaves, atoms);
    farm.retries = retries;
    for _ in 0..random.between(1, 5) {
        farm.submit();
    }
    farm.run();
    farm
}

#[test]
fn no_well_slave_is_quarantined_for_broken_tests() {
    let (mut handed_out, mut doubted, mut of_one_failing) = (0, 0, 0);
    for seed in 0..FARMS {
        let farm = broken(seed, 0);
        assert_eq!(farm.num_quarantines(), 0, "seed {seed}");
        let doubts =
            farm.count(|fact| matches!(fact, Fact::Build(_, BuildFact::ResultDoubted { .. })));
        handed_out +=
            farm.count(|fact| matches!(fact, Fact::Build(_, BuildFact::SubjobHandedOut { .. })));
        doubted += doubts;
        if seed % 5 == 4 {
            of_one_failing = of_one_failing.max(doubts);
        }
        for build in farm.scenario.cluster.builds() {
            let mut attempts = build.subjobs.iter().map(|subjob| subjob.attempts);
            assert!(attempts.all(|attempts| attempts <= 2), "seed {seed}");
        }
    }
    println!("{doubted} of {handed_out} hand-outs were repeated elsewhere");
    assert!(doubted * 50 < handed_out, "{doubted} of {handed_out}");
    assert!(of_one_failing <= 1, "{of_one_failing}");
}

#[test]
fn no_well_slave_is_quarantined_where_failed_tests_run_again() {
    for seed in 0..FARMS {
        let retries = 1 + u32::try_from(seed % 3).unwrap();
        let farm = broken(seed, retries);
        assert_eq!(farm.num_quarantines(), 0, "seed {seed}");
    }
}

/// What a black hole did before it was found: its executors, its results that count as failed, and those that
/// were doubted. Nothing where it got too few atoms to be found.
fn black_hole(seed: u64) -> Option<(usize, usize, usize)> {
    let mut random = Random::new(seed);
    let slaves = random_slaves(&mut random);
    let atoms = random_atoms(&mut random, 32, |_| 0);
    let mut farm = Farm::new(seed, &slaves, atoms);
    let id = SlaveId(1);
    let good = [0, 0, 20][random.index(3)];
    farm.machines.get_mut(&id).unwrap().turns_bad_after = Some(good);
    // As many as it takes for it to get enough atoms.
    while farm.num_quarantines() == 0 && farm.num_builds < 20 {
        farm.submit();
        farm.run();
    }
    let bad = farm.machines[&id].num_run.saturating_sub(good);
    if farm.num_quarantines() == 0 && bad < ALL_THAT_IT_TAKES {
        return None;
    }
    let journal = &farm.scenario.journal;
    let found = |fact: &Fact| matches!(fact, Fact::Slave(slave, SlaveFact::Quarantined { .. }) if *slave == id);
    let found = journal.iter().position(|event| found(&event.fact));
    let before =
        &journal[..found.unwrap_or_else(|| panic!("seed {seed}: never found in {bad} atoms"))];
    let (mut failed, mut doubted) = (0, 0);
    for event in before {
        match &event.fact {
            Fact::Build(
                _,
                BuildFact::SubjobFinished {
                    slave, outcomes, ..
                },
            ) if *slave == id => failed += usize::from(outcomes[0].exit_code != 0),
            Fact::Build(_, BuildFact::ResultDoubted { slave, .. }) => {
                assert_eq!(*slave, id, "seed {seed}");
                doubted += 1;
            }
            _ => {}
        }
    }
    assert_eq!(farm.num_quarantines(), 1, "seed {seed}");
    let wrong: u64 = farm.scenario.cluster.builds().map(|b| b.atoms_failed).sum();
    assert!(wrong <= 2, "seed {seed}: {wrong} wrong results");
    Some((slaves[0], failed, doubted))
}

#[test]
fn a_black_hole_is_found_within_five_atoms() {
    let sick_after = SICK_AFTER as usize;
    let mut found = 0;
    for seed in 0..FARMS {
        let Some((executors, failed, doubted)) = black_hole(seed) else {
            continue;
        };
        found += 1;
        println!("seed {seed}: {executors} executors, {failed} failed, {doubted} doubted");
        // What ran or waited there when it was first doubted comes on top.
        if executors == 1 {
            assert!(
                failed + doubted <= sick_after + 1,
                "seed {seed}: {failed}, {doubted}"
            );
        }
        assert!(failed <= 2, "seed {seed}");
    }
    assert!(found * 4 > FARMS * 3, "{found} were found");
}
