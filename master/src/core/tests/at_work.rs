//! What is taken to run of what slaves have.

use super::scenario::{Scenario, big_plan, hand_out};
use crate::core::AtWork;
use crate::core::event::Plan;
use clusterrunner_common::ids::{BuildId, SlaveId};

fn at_work(farm: &Scenario, build: u64) -> Vec<u32> {
    let build = farm.cluster.build(BuildId(build)).unwrap();
    let mut at_work = AtWork::of(&farm.cluster, build);
    let subjobs = build.numbered_subjobs();
    let working = subjobs.filter(|(id, subjob)| at_work.includes(*id, subjob));
    working.map(|(id, _)| id.0).collect()
}

fn plan(expected_ms: Vec<u64>) -> Plan {
    let number = u32::try_from(expected_ms.len()).unwrap();
    Plan {
        expected_ms,
        ..big_plan(number, 0, 0)
    }
}

fn farm(expected_ms: Vec<u64>) -> Scenario {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(plan(expected_ms));
    farm.set_up(1, 1);
    farm
}

#[test]
fn what_only_waits_on_a_slave_does_not_run() {
    let mut farm = farm(vec![10; 100]);
    assert!(farm.cluster.slave(SlaveId(1)).unwrap().running.len() > 2);
    assert_eq!(at_work(&farm, 1), [0, 1]);
    farm.finish(hand_out(1, 1, 1, 1));
    assert_eq!(at_work(&farm, 1), [0, 2], "what came first goes on");
}

#[test]
fn the_longest_come_first() {
    let farm = farm((0..50).map(|number| 100 + number).collect());
    assert_eq!(at_work(&farm, 1), [48, 49]);
}

#[test]
fn all_run_where_nothing_waits() {
    let farm = farm(vec![60_000; 10]);
    assert_eq!(at_work(&farm, 1), [0, 1]);
}

#[test]
fn what_came_back_runs_before_what_waits() {
    let mut farm = Scenario::with_slaves(&[("a", 2), ("b", 2)]);
    farm.build(plan(vec![10; 1000]));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    let running = at_work(&farm, 1);
    assert_eq!(running.len(), 4);
    farm.die(1);
    assert_eq!(at_work(&farm, 1).len(), 2, "on the other slave");
}

#[test]
fn a_build_without_executors_has_nothing_at_work() {
    let mut farm = farm(vec![10; 100]);
    farm.build(plan(vec![10; 100]));
    farm.set_up(1, 2);
    let sum = at_work(&farm, 1).len() + at_work(&farm, 2).len();
    assert_eq!(sum, 2);
}
