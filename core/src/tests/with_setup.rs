//! What goes to slaves along with a set-up.

use super::scenario::{Scenario, Turn, big_plan, hand_out};
use crate::builds::build::BuildState;
use crate::effect::{Effect, SlaveCall};
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::time::Duration;

/// A build of the same project each time.
fn build(farm: &mut Scenario, number: u64, num_atoms: u32) -> Turn {
    farm.queue("the project");
    farm.prepared(number, big_plan(num_atoms, 0, 0))
}

/// A farm on which the first build, whose set-ups took no time, is over.
fn experienced(slaves: &[(&str, u32)]) -> Scenario {
    let mut farm = Scenario::with_slaves(slaves);
    let num_atoms = slaves.iter().map(|(_, executors)| executors).sum();
    build(&mut farm, 1, num_atoms);
    for (slave, (_, executors)) in (1..).zip(slaves) {
        farm.set_up(slave, 1);
        assert_eq!(held(&farm, slave, 1), *executors as usize);
    }
    let mut subjobs = 0..;
    for (slave, (_, executors)) in (1..).zip(slaves) {
        for subjob in subjobs.by_ref().take(*executors as usize) {
            farm.finish(hand_out(slave, 1, subjob, 1));
        }
    }
    farm.archived(1);
    for slave in 1..=slaves.len() as u64 {
        farm.torn_down(slave, 1);
    }
    farm
}

fn held(farm: &Scenario, slave: u64, build: u64) -> usize {
    let slave = farm.cluster.slave(SlaveId(slave)).unwrap();
    slave.num_running(BuildId(build))
}

/// What slaves are told of a build, in order.
fn calls(turn: &Turn, about: u64) -> Vec<(u64, &'static str)> {
    let calls = turn.effects.iter().filter_map(|effect| match effect {
        Effect::Call { slave, build, call } if build.0 == about => Some((slave.0, call)),
        _ => None,
    });
    let name = |call: &SlaveCall| match call {
        SlaveCall::SetUp(_) => "set up",
        SlaveCall::Start { .. } => "start",
        SlaveCall::KeepConsoles(_) => "keep consoles",
        SlaveCall::TearDown => "tear down",
    };
    calls.map(|(slave, call)| (slave, name(call))).collect()
}

#[test]
fn free_executors_begin_with_a_build_whose_set_up_takes_no_time() {
    let mut farm = experienced(&[("a", 2), ("b", 1)]);
    let turn = build(&mut farm, 2, 3);
    let expected = [
        (1, "set up"),
        (1, "start"),
        (1, "start"),
        (2, "set up"),
        (2, "start"),
    ];
    assert_eq!(calls(&turn, 2), expected);
    // It does not matter which is heard first.
    farm.finish(hand_out(1, 2, 0, 1));
    farm.set_up(1, 2);
    farm.finish(hand_out(1, 2, 1, 1));
    let last = farm.finish(hand_out(2, 2, 2, 1));
    assert_eq!(calls(&last, 2), [(1, "tear down"), (2, "tear down")]);
    assert_eq!(*farm.state(2), BuildState::Archiving);
}

#[test]
fn nothing_goes_along_with_the_first_set_up_of_a_job_or_after_a_slow_one() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    let turn = build(&mut farm, 1, 4);
    assert_eq!(calls(&turn, 1), [(1, "set up")]);
    farm.wait(Duration::from_secs(1));
    farm.set_up(1, 1);
    let turn = build(&mut farm, 2, 4);
    assert!(!calls(&turn, 2).contains(&(1, "start")));
}

#[test]
fn as_much_goes_along_as_executors_are_free_and_the_build_may_have() {
    let mut farm = experienced(&[("a", 4)]);
    farm.queue("the project");
    let plan = big_plan(9, 0, 3);
    let turn = farm.prepared(2, plan);
    assert_eq!(calls(&turn, 2).len(), 1 + 3);
    // One executor is left.
    let turn = build(&mut farm, 3, 9);
    assert_eq!(calls(&turn, 3), [(1, "set up"), (1, "start")]);
}

#[test]
fn a_set_up_that_fails_costs_its_hand_outs_nothing() {
    let mut farm = experienced(&[("a", 1), ("b", 1)]);
    build(&mut farm, 2, 2);
    assert_eq!((held(&farm, 1, 2), held(&farm, 2, 2)), (1, 1));
    farm.setup_failed(1, 2, "no");
    let build_state = farm.cluster.build(BuildId(2)).unwrap();
    assert!(
        build_state
            .subjobs
            .iter()
            .all(|subjob| subjob.mishaps().wasted == 0)
    );
    farm.set_up(2, 2);
    farm.finish(hand_out(2, 2, 0, 1));
    farm.finish(hand_out(2, 2, 1, 2));
    // The next time it has to show first that it can.
    farm.archived(2);
    farm.torn_down(2, 2);
    let turn = build(&mut farm, 3, 2);
    assert!(calls(&turn, 3).contains(&(2, "start")));
    assert!(!calls(&turn, 3).contains(&(1, "start")));
}

#[test]
fn what_was_lost_with_a_slave_goes_along_with_no_set_up() {
    let mut farm = experienced(&[("a", 1), ("b", 1)]);
    build(&mut farm, 2, 1);
    assert_eq!(held(&farm, 2, 2), 1);
    let turn = farm.die(2);
    assert_eq!(calls(&turn, 2), [(1, "set up")]);
    let turn = farm.set_up(1, 2);
    assert_eq!(calls(&turn, 2), [(1, "start")]);
}
