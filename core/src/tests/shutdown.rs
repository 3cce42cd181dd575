//! Slaves that are to end: what they finish, when they go, and what becomes of their builds.

use super::scenario::{Scenario, big_plan, hand_out, plan, unusable};
use crate::actor::Actor;
use crate::builds::build::BuildState;
use crate::command::{Command, SlaveChoice};
use crate::refusal::Refusal;
use crate::slaves::slave::Presence;
use clusterrunner_common::ids::SlaveId;

fn presence(farm: &Scenario, slave: u64) -> &Presence {
    &farm.cluster.slave(SlaveId(slave)).unwrap().presence
}

fn listed(farm: &Scenario) -> Vec<u64> {
    farm.cluster.slaves().map(|slave| slave.id.0).collect()
}

fn heard(slave: u64) -> Command {
    let slave = SlaveId(slave);
    Command::ReportEnding { slave }
}

#[test]
fn a_slave_without_work_is_told_at_once() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.shut_down(&[1]).check(
        &["slave 1 to shut down", "slave 1 to end"],
        &["slave 1: end"],
    );
    assert_eq!(listed(&farm), [2]);
    farm.tell(heard(1))
        .check(&["slave 1 ended"], &["close slave 1"]);
    farm.tell(heard(1)).check_nothing();
    farm.tell(heard(2)).check_nothing();
    assert_eq!(*presence(&farm, 1), Presence::ShutDown);
}

#[test]
fn a_busy_slave_finishes_what_it_runs_and_takes_nothing_new() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(big_plan(4, 0, 0));
    farm.set_up(1, 1);
    farm.shut_down(&[1]).check(&["slave 1 to shut down"], &[]);
    farm.shut_down(&[1]).check_nothing();
    assert_eq!(*presence(&farm, 1), Presence::ShuttingDown);
    assert_eq!(listed(&farm), [1]);
    let slave = farm.cluster.slave(SlaveId(1)).unwrap();
    assert!(slave.is_alive() && slave.was_shut_down(), "{slave:?}");
    farm.finish(hand_out(1, 1, 0, 1))
        .check_facts(&["1.0 finished by slave 1, attempt 1: [0]"]);
    // What brings no result is not run again here.
    farm.tell(unusable(hand_out(1, 1, 1, 1))).check(
        &[
            "1.1 back from slave 1, attempt 1: torn archive",
            "1 off slave 1",
        ],
        &["slave 1: tear down 1"],
    );
    farm.torn_down(1, 1).check(
        &["1 gone from slave 1", "slave 1 to end"],
        &["slave 1: end"],
    );
    assert!(listed(&farm).is_empty());
    // The build waits, and goes on with a slave that comes.
    assert!(matches!(farm.state(1), BuildState::Building(_)));
    farm.connect("b", "life 1", 3);
    farm.set_up(2, 1).check_facts(&[
        "1 ready on slave 2",
        "1.1 to slave 2, attempt 2",
        "1.2 to slave 2, attempt 1",
        "1.3 to slave 2, attempt 1",
    ]);
}

#[test]
fn the_last_subjob_of_a_build_ends_build_and_slave() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.shut_down(&[1]);
    farm.finish(hand_out(1, 1, 0, 1)).check_facts(&[
        "1.0 finished by slave 1, attempt 1: [0]",
        "1 archiving",
        "1 off slave 1",
    ]);
    farm.torn_down(1, 1)
        .check_facts(&["1 gone from slave 1", "slave 1 to end"]);
}

#[test]
fn a_set_up_under_way_is_given_up_and_another_slave_is_asked() {
    let mut farm = Scenario::with_slaves(&[("a", 2), ("b", 1)]);
    farm.build(plan(&["A"]));
    farm.shut_down(&[1]).check(
        &[
            "slave 1 to shut down",
            "1 off slave 1",
            "1 to slave 2 from index 2",
        ],
        &["slave 1: tear down 1", "slave 2: set up 1 from index 2"],
    );
    // It was ready before it heard of that.
    farm.set_up(1, 1).check_nothing();
    farm.torn_down(1, 1)
        .check_facts(&["1 gone from slave 1", "slave 1 to end"]);
}

#[test]
fn a_slave_with_several_builds_leaves_them_one_by_one() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.build(plan(&["B"]));
    farm.set_up(1, 2);
    farm.check_running(&[1, 1]);
    farm.shut_down(&[1]);
    farm.finish(hand_out(1, 1, 0, 1));
    farm.torn_down(1, 1).check_facts(&["1 gone from slave 1"]);
    farm.finish(hand_out(1, 2, 0, 1));
    farm.torn_down(1, 2)
        .check_facts(&["2 gone from slave 1", "slave 1 to end"]);
}

#[test]
fn an_order_with_an_unknown_slave_touches_none() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    let slaves = SlaveChoice::Named(vec![SlaveId(1), SlaveId(9)]);
    let order = Command::ShutDownSlaves {
        by: Actor::SecretHolder,
        slaves,
    };
    farm.check_refused(order, &Refusal::NoSuchSlave(SlaveId(9)));
    farm.shut_down(&[1, 1]);
    let slaves = SlaveChoice::Named(vec![SlaveId(1)]);
    let order = Command::ShutDownSlaves {
        by: Actor::SecretHolder,
        slaves,
    };
    farm.check_refused(order, &Refusal::NoSuchSlave(SlaveId(1)));
    let slaves = SlaveChoice::All;
    farm.tell(Command::ShutDownSlaves {
        by: Actor::SecretHolder,
        slaves,
    })
    .check_facts(&["slave 2 to shut down", "slave 2 to end"]);
}

#[test]
fn a_slave_that_is_lost_meanwhile_is_just_gone() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(2, 1);
    farm.set_up(1, 1);
    let busy = if farm.cluster.slave(SlaveId(1)).unwrap().running.is_empty() {
        2
    } else {
        1
    };
    farm.shut_down(&[busy]);
    let turn = farm.lose(busy);
    assert!(turn.events.len() > 1, "its subjob goes to the other one");
    assert_eq!(*presence(&farm, busy), Presence::ShutDown);
    assert_eq!(listed(&farm), [3 - busy]);
    // One that was told and never answered.
    farm.connect("c", "life 1", 1);
    farm.shut_down(&[3]);
    farm.lose(3)
        .check(&["slave 3 lost: silent"], &["close slave 3"]);
    farm.lose(3).check_nothing();
    assert_eq!(*presence(&farm, 3), Presence::ShutDown);
}

#[test]
fn a_lost_slave_leaves_the_list() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.lose(1);
    assert_eq!(listed(&farm), [1]);
    farm.shut_down(&[1]).check(&["slave 1 to shut down"], &[]);
    assert!(listed(&farm).is_empty());
}

#[test]
fn a_life_that_is_to_end_is_told_again_and_a_new_one_works() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.shut_down(&[1]);
    // Its heartbeat was faster than the call; or nobody answered the call.
    farm.connect_as("a", "life 1", 1, Some(SlaveId(1))).check(
        &[
            "slave 1 lost: it connected anew",
            "slave 2 connected: a, life 1, 1 executor",
            "slave 2 to shut down",
            "slave 2 to end",
        ],
        &["close slave 1", "open slave 2: a, life 1", "slave 2: end"],
    );
    farm.tell(heard(2));
    farm.connect_as("a", "life 1", 1, None).check_facts(&[
        "slave 3 connected: a, life 1, 1 executor",
        "slave 3 to shut down",
        "slave 3 to end",
    ]);
    farm.connect_as("a", "life 2", 1, None).check_facts(&[
        "slave 3 lost: it was started again",
        "slave 4 connected: a, life 2, 1 executor",
    ]);
    assert_eq!(listed(&farm), [4]);
}

#[test]
fn a_slave_in_shutdown_mode_may_come_back_and_go_on() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A", "B"]));
    farm.set_up(1, 1);
    farm.shut_down(&[1]);
    farm.connect("a", "life 1", 1).check_nothing();
    farm.finish(hand_out(1, 1, 0, 1))
        .check_facts(&["1.0 finished by slave 1, attempt 1: [0]", "1 off slave 1"]);
}

#[test]
fn a_master_that_starts_again_tells_again() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(plan(&["A", "B"]));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    farm.shut_down(&[1, 2]);
    farm.finish(hand_out(1, 1, 0, 1));
    farm.torn_down(1, 1)
        .check_facts(&["1 gone from slave 1", "slave 1 to end"]);
    farm.cluster = farm.replayed();
    farm.restart().check(
        &["master started"],
        &[
            "open slave 1: a, life 1",
            "slave 1: end",
            "open slave 2: b, life 1",
            "slave 2: start 1.1, attempt 1",
        ],
    );
    assert_eq!(*presence(&farm, 2), Presence::ShuttingDown);
}

#[test]
fn a_build_that_the_others_can_not_set_up_waits_for_new_slaves_only() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.setup_failed(1, 1, "exit code 1");
    assert!(matches!(farm.state(1), BuildState::Error { .. }));
    // Where the slave that failed goes before the build is given up, the build waits for another one.
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(plan(&["A"]));
    let (asked, spare) = match farm.cluster.slave(SlaveId(1)).unwrap().builds.len() {
        0 => (2, 1),
        _ => (1, 2),
    };
    farm.shut_down(&[spare]);
    farm.shut_down(&[asked]).check_facts(&[
        format!("slave {asked} to shut down").as_str(),
        format!("1 off slave {asked}").as_str(),
    ]);
    farm.setup_failed(asked, 1, "too late");
    assert!(matches!(farm.state(1), BuildState::Building(_)));
    farm.connect("c", "life 1", 1).check_facts(&[
        "slave 3 connected: c, life 1, 1 executor",
        "1 to slave 3 from index 1",
    ]);
}
