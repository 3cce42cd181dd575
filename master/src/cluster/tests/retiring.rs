//! What leaves memory, and what is said of it then.

use super::scenario::{Scenario, finished, hand_out, plan, stale};
use crate::cluster::command::{Command, Refusal};
use crate::cluster::{LOST_KEPT, SHUT_DOWN_KEPT};
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::time::Duration;

fn kept(farm: &mut Scenario, builds: &[u64]) -> super::scenario::Turn {
    let builds = builds.iter().copied().map(BuildId).collect();
    farm.tell(Command::ReportKept { builds })
}

/// A farm whose build 1 is finished and still set up on slave 1.
fn with_finished_build() -> Scenario {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.finish(hand_out(1, 1, 0, 1));
    farm.archived(1);
    farm
}

#[test]
fn a_build_leaves_when_it_is_over_and_no_slave_has_it() {
    let mut farm = with_finished_build();
    assert_eq!(farm.cluster.retirable().count(), 0);
    kept(&mut farm, &[1]).check_nothing();
    farm.torn_down(1, 1);
    kept(&mut farm, &[1, 7]).check(&["1 retired"], &[]);
    kept(&mut farm, &[1]).check_nothing();
    assert!(farm.cluster.is_ended(BuildId(1)));
    assert_eq!(farm.cluster.build(BuildId(1)), None);
    // What comes too late means no more than before.
    farm.cancel(1).check_nothing();
    farm.set_up(1, 1).check_nothing();
    let late = hand_out(1, 1, 0, 1);
    farm.check_refused(finished(late, &[0]), &stale(late));
    // Its id is taken.
    farm.queue("next").check_facts(&["2 queued", "2 preparing"]);
    assert!(!farm.cluster.is_forgotten(BuildId(1)));
    assert!(!farm.cluster.is_forgotten(BuildId(3)));
}

#[test]
fn a_build_that_is_not_over_stays() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.build(plan(&["A"]));
    kept(&mut farm, &[1]).check_nothing();
    let build = BuildId(2);
    farm.check_refused(
        Command::CancelBuild { build },
        &Refusal::UnknownBuild(build),
    );
}

#[test]
fn results_name_their_slave_when_it_is_forgotten() {
    let mut farm = with_finished_build();
    farm.lose(1);
    farm.wait(LOST_KEPT);
    farm.tell(Command::ForgetSlaves)
        .check(&["slave 1 forgotten"], &[]);
    assert_eq!(farm.cluster.slave(SlaveId(1)), None);
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(build.slave_urls[&SlaveId(1)], "a:1");
    farm.connect("b:1", "life 1", 1)
        .check_facts(&["slave 2 connected: b:1, life 1, 1 executors"]);
}

#[test]
fn slaves_that_are_of_use_stay() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1), ("b:1", 1), ("c:1", 1)]);
    farm.lose(2);
    farm.shut_down(&[3]);
    farm.wait(LOST_KEPT - Duration::from_secs(1));
    farm.tell(Command::ForgetSlaves).check_nothing();
    // A registration that another one took the place of goes at once.
    farm.connect("a:1", "life 2", 1);
    farm.tell(Command::ForgetSlaves)
        .check(&["slave 1 forgotten"], &[]);
}

#[test]
fn those_that_were_shut_down_do_not_gather_for_ever() {
    let mut farm = Scenario::default();
    for number in 0..=SHUT_DOWN_KEPT as u64 {
        farm.connect(&format!("s:{number}"), "life 1", 1);
        farm.lose(number + 1);
        farm.shut_down(&[number + 1]);
    }
    farm.tell(Command::ForgetSlaves)
        .check(&["slave 1 forgotten"], &[]);
}
