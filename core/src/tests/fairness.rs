//! Builds of one priority beside each other on few executors: a small build gets on, however much others have to do.

use super::scenario::{Scenario, big_plan, hand_out};
use crate::builds::hand_out::HandOut;
use crate::builds::outcome::AtomOutcome;
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::event::{BuildFact, Fact};
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::collections::VecDeque;

/// A slave of two executors that works, and three builds with 40 atoms each.
fn busy_with_three(atoms_take_ms: u64) -> Model {
    let mut model = Model::default();
    model.farm.connect("a", "life 1", 2);
    for _ in 1..=3 {
        let expected_ms = vec![atoms_take_ms; 40];
        model.farm.build(Plan {
            expected_ms,
            ..big_plan(40, 0, 0)
        });
    }
    model.end(10, atoms_take_ms);
    model
}

fn ended(hand_out: HandOut, duration_ms: u64) -> Command {
    let outcome = AtomOutcome {
        exit_code: 0,
        duration_ms,
        trouble: None,
        started_at: None,
        usage: None,
    };
    Command::ReportFinished {
        hand_out,
        executor: None,
        outcomes: vec![outcome],
    }
}

/// A farm with one slave, on which set-ups take no time and subjobs end in the order in which they were handed out.
#[derive(Default)]
struct Model {
    farm: Scenario,
    heard: usize,
    on_slave: VecDeque<HandOut>,
}

impl Model {
    /// Takes note of what the master asked for.
    fn listen(&mut self) {
        while let Some(event) = self.farm.journal.get(self.heard) {
            self.heard += 1;
            match event.fact {
                Fact::Build(build, BuildFact::SetupRequested { .. }) => {
                    self.farm.set_up(1, build.0);
                }
                Fact::Build(
                    build,
                    BuildFact::SubjobHandedOut {
                        subjob, attempt, ..
                    },
                ) => {
                    let hand_out = hand_out(1, build.0, subjob.0, attempt.0);
                    self.on_slave.push_back(hand_out);
                }
                _ => {}
            }
        }
    }

    fn end(&mut self, num_subjobs: usize, took_ms: u64) {
        for _ in 0..num_subjobs {
            self.listen();
            let next = self.on_slave.pop_front().unwrap();
            self.farm.tell(ended(next, took_ms));
        }
        self.listen();
    }

    fn results_of(&self, build: u64) -> usize {
        self.farm
            .cluster
            .build(BuildId(build))
            .unwrap()
            .num_finished
    }

    fn is_on_slave(&self, build: u64) -> bool {
        let slave = self.farm.cluster.slave(SlaveId(1)).unwrap();
        slave.builds.contains_key(&BuildId(build))
    }
}

#[test]
fn a_small_build_gets_on_beside_more_builds_than_executors() {
    for atoms_take_ms in [100, 1_000, 60_000] {
        let mut model = busy_with_three(atoms_take_ms);
        model.farm.build(big_plan(5, 0, 0));
        model.end(40, atoms_take_ms);
        assert_eq!(model.results_of(4), 5, "{atoms_take_ms} ms");
        assert!(model.results_of(1) < 40, "{atoms_take_ms} ms");
    }
}

#[test]
fn builds_of_long_atoms_take_turns() {
    let mut model = busy_with_three(60_000);
    let all_results = |model: &Model| [1, 2, 3].map(|build| model.results_of(build));
    let before = all_results(&model);
    model.end(60, 60_000);
    for (before, after) in before.into_iter().zip(all_results(&model)) {
        assert!((19..=21).contains(&(after - before)), "{before} to {after}");
    }
}

/// What a build has had before says nothing of its turn: who comes later has to wait, too.
#[test]
fn a_build_that_has_run_for_long_goes_on_beside_new_ones() {
    let mut model = Model::default();
    model.farm.connect("a", "life 1", 1);
    model.farm.build(big_plan(100, 0, 0));
    model.end(40, 60_000);
    for _ in 2..=3 {
        model.farm.build(big_plan(100, 0, 0));
    }
    model.end(30, 60_000);
    let results = [1, 2, 3].map(|build| model.results_of(build));
    assert!((49..=52).contains(&results[0]), "{results:?}");
    assert!(results[1].abs_diff(results[2]) <= 1, "{results:?}");
}

#[test]
fn a_slave_is_ready_for_a_bounded_number_of_builds() {
    let mut model = busy_with_three(1_000);
    for _ in 4..=40 {
        model.farm.build(big_plan(40, 0, 0));
    }
    model.end(60, 1_000);
    let num_on_slave = |model: &Model| (1..=40).filter(|build| model.is_on_slave(*build)).count();
    assert_eq!(num_on_slave(&model), 13);
    // Another build comes in for one that ends.
    model.farm.cancel(1);
    model.farm.torn_down(1, 1);
    model
        .on_slave
        .retain(|hand_out| hand_out.build != BuildId(1));
    model.end(1, 1_000);
    assert_eq!(num_on_slave(&model), 13);
    assert!(!model.is_on_slave(1));
}
