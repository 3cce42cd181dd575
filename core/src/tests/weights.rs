//! What builds of unequal weight get where atoms are shorter than a round trip: by the clock of a model,
//! whose slaves choose what runs next as real ones do.

use super::scenario::{Scenario, big_plan, hand_out};
use crate::builds::hand_out::HandOut;
use crate::builds::outcome::AtomOutcome;
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::event::{BuildFact, Fact};
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;

/// How long an atom takes, and what is said on its way from master to slave or back, in milliseconds.
const ATOM_MS: u64 = 4;
const HALF_A_ROUND_TRIP_MS: u64 = 10;

/// What a slave has of a build: what waits there, and what executors spent on it for its weight.
#[derive(Default)]
struct OnSlave {
    waiting: VecDeque<HandOut>,
    used: f64,
}

struct Slave {
    id: u64,
    /// When what it runs ends.
    executors: Vec<Option<(u64, HandOut)>>,
    builds: BTreeMap<BuildId, OnSlave>,
    /// The clock of whoever was the next.
    now: f64,
}

struct Model {
    farm: Scenario,
    weights: Vec<u32>,
    slaves: Vec<Slave>,
    /// When it arrives, and where.
    to_slaves: VecDeque<(u64, u64, HandOut)>,
    to_master: VecDeque<(u64, HandOut)>,
    heard: usize,
    now: u64,
    /// How long executors worked on each build.
    had: BTreeMap<BuildId, u64>,
}

impl Model {
    /// Builds of these weights on slaves with so many executors. Of some is known how long they take.
    fn new(weights: &[u32], executors: &[u32], num_atoms: u32) -> Self {
        let mut farm = Scenario::default();
        let mut slaves = Vec::new();
        for (id, number) in (1..).zip(executors) {
            farm.connect(&format!("slave {id}"), "life 1", *number);
            slaves.push(Slave {
                id,
                executors: vec![None; *number as usize],
                builds: BTreeMap::new(),
                now: 0.0,
            });
        }
        for (index, weight) in weights.iter().enumerate() {
            let known = vec![ATOM_MS; num_atoms as usize];
            farm.build(Plan {
                weight: NonZeroU32::new(*weight),
                expected_ms: if index % 2 == 0 { known } else { Vec::new() },
                ..big_plan(num_atoms, 0, 0)
            });
        }
        Self {
            farm,
            weights: weights.to_vec(),
            slaves,
            to_slaves: VecDeque::new(),
            to_master: VecDeque::new(),
            heard: 0,
            now: 0,
            had: BTreeMap::new(),
        }
    }

    fn weight(&self, build: BuildId) -> f64 {
        f64::from(self.weights[usize::try_from(build.0).unwrap() - 1])
    }

    /// Takes note of what the master asked for meanwhile; set-ups take no time.
    fn listen(&mut self) {
        while let Some(event) = self.farm.journal.get(self.heard) {
            self.heard += 1;
            match event.fact {
                Fact::Build(build, BuildFact::SetupRequested { slave, .. }) => {
                    self.farm.set_up(slave.0, build.0);
                }
                Fact::Build(
                    build,
                    BuildFact::SubjobHandedOut {
                        slave: SlaveId(slave),
                        subjob,
                        attempt,
                    },
                ) => {
                    let one = hand_out(slave, build.0, subjob.0, attempt.0);
                    let arrives = self.now + HALF_A_ROUND_TRIP_MS;
                    self.to_slaves.push_back((arrives, slave, one));
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        while self.now < end {
            self.listen();
            self.now += 1;
            let now = self.now;
            while let Some((_, hand_out)) = self.to_master.pop_front_if(|(at, _)| *at <= now) {
                let outcome = AtomOutcome {
                    exit_code: 0,
                    duration_ms: ATOM_MS,
                    trouble: None,
                    started_at: None,
                    usage: None,
                };
                let outcomes = vec![outcome];
                self.farm.tell(Command::ReportFinished {
                    hand_out,
                    executor: None,
                    outcomes,
                });
            }
            while let Some((_, slave, one)) = self.to_slaves.pop_front_if(|(at, ..)| *at <= now) {
                let slave = self.slaves.iter_mut().find(|known| known.id == slave);
                let builds = &mut slave.unwrap().builds;
                builds.entry(one.build).or_default().waiting.push_back(one);
            }
            for index in 0..self.slaves.len() {
                self.work(index);
            }
        }
    }

    /// Ends what is over on a slave, and begins what is next.
    fn work(&mut self, index: usize) {
        let now = self.now;
        for executor in 0..self.slaves[index].executors.len() {
            if let Some((_, over)) =
                self.slaves[index].executors[executor].take_if(|(end, _)| *end <= now)
            {
                *self.had.entry(over.build).or_default() += ATOM_MS;
                self.to_master.push_back((now + HALF_A_ROUND_TRIP_MS, over));
            }
        }
        for executor in 0..self.slaves[index].executors.len() {
            if self.slaves[index].executors[executor].is_some() {
                continue;
            }
            let slave = &mut self.slaves[index];
            let used = slave.now;
            let waiting = slave.builds.iter_mut();
            let waiting = waiting.filter(|(_, build)| !build.waiting.is_empty());
            let next = waiting
                .min_by(|(_, one), (_, other)| one.used.max(used).total_cmp(&other.used.max(used)));
            let Some((id, build)) = next else { continue };
            let (id, first) = (*id, build.waiting.pop_front().unwrap());
            slave.now = build.used.max(used);
            slave.executors[executor] = Some((now + ATOM_MS, first));
            let used = slave.now + ATOM_MS as f64 / self.weight(id);
            self.slaves[index].builds.get_mut(&id).unwrap().used = used;
        }
    }

    /// What each build gets of the executors in so much time, and how busy they are, in percent.
    fn shares(&mut self, milliseconds: u64) -> (Vec<f64>, f64) {
        let before = self.had.clone();
        self.run(milliseconds);
        let num_executors: usize = self.slaves.iter().map(|slave| slave.executors.len()).sum();
        let gain = |(build, had): (&BuildId, &u64)| had - before.get(build).unwrap_or(&0);
        let gains: Vec<u64> = self.had.iter().map(gain).collect();
        let all: u64 = gains.iter().sum();
        let percent = |part: u64, all: u64| 100.0 * part as f64 / all as f64;
        let shares = gains.iter().map(|gain| percent(*gain, all)).collect();
        (shares, percent(all, milliseconds * num_executors as u64))
    }
}

#[track_caller]
fn check_shares(weights: &[u32], executors: &[u32]) {
    let num_executors: u32 = executors.iter().sum();
    let mut model = Model::new(weights, executors, 250 * num_executors);
    model.run(100);
    let (shares, busy) = model.shares(400);
    let all: u32 = weights.iter().sum();
    for (share, weight) in shares.iter().zip(weights) {
        let due = 100.0 * f64::from(*weight) / f64::from(all);
        let name = format!("{weights:?} on {executors:?}: {shares:?}, busy {busy}");
        assert!((share - due).abs() <= due / 10.0, "{name}");
        assert!(busy > 97.0, "{name}");
    }
}

#[test]
fn builds_get_executors_by_weight_where_atoms_are_short() {
    check_shares(&[3, 1], &[1]);
    check_shares(&[1, 3], &[2]);
    check_shares(&[1, 3], &[1, 1]);
    check_shares(&[5, 2, 1], &[2]);
    check_shares(&[1, 1, 1], &[1]);
}
