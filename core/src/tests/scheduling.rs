//! Who works on what.

use super::scenario::{Scenario, big_plan, fact_text, hand_out, plan};
use crate::builds::build::BuildState;
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::instances::reported::ReportedInstances;
use crate::scheduling::kept_out::KeptOut;
use clusterrunner_common::ids::{BuildId, SlaveId, SubjobId};
use std::time::Duration;

#[test]
fn max_executors_is_honoured() {
    let mut farm = Scenario::with_slaves(&[("a", 2), ("b", 2)]);
    farm.build(big_plan(10, 3, 0));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    farm.check_running(&[3]);
    // A free executor that it may not use does not help; one that it gave back does.
    farm.connect("c", "life 1", 4)
        .check_facts(&["slave 3 connected: c, life 1, 4 executors"]);
    farm.finish(hand_out(1, 1, 1, 1));
    farm.check_running(&[3]);
}

#[test]
fn max_executors_per_slave_is_honoured() {
    let mut farm = Scenario::with_slaves(&[("a", 4), ("b", 1)]);
    farm.build(big_plan(10, 0, 2)).check_facts(&[
        "1 prepared: 10 subjobs",
        "1 to slave 1 from index 0",
        "1 to slave 2 from index 4",
    ]);
    farm.set_up(1, 1).check_facts(&[
        "1 ready on slave 1",
        "1.0 to slave 1, attempt 1",
        "1.1 to slave 1, attempt 1",
    ]);
    farm.set_up(2, 1);
    farm.check_running(&[3]);
    farm.finish(hand_out(1, 1, 1, 1)).check_facts(&[
        "1.1 finished by slave 1, attempt 1: [0]",
        "1.3 to slave 1, attempt 1",
    ]);
}

#[test]
fn a_limit_leaves_the_other_executors_to_other_builds() {
    let mut farm = Scenario::with_slaves(&[("a", 4)]);
    farm.build(big_plan(10, 0, 1));
    farm.build(big_plan(10, 0, 0));
    farm.set_up(1, 1);
    farm.set_up(1, 2);
    farm.check_running(&[1, 3]);
}

#[test]
fn two_builds_share_the_executors_evenly() {
    let mut farm = Scenario::with_slaves(&[("a", 4), ("b", 4)]);
    farm.build(big_plan(20, 0, 0));
    farm.build(big_plan(20, 0, 0));
    farm.set_up(1, 2);
    farm.check_running(&[0, 4]);
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    farm.check_running(&[4, 4]);
    farm.set_up(2, 2);
    // Whoever gives an executor back has the fewest then, and gets it.
    for subjob in 0..4 {
        farm.finish(hand_out(1, 2, subjob, 1));
        farm.check_running(&[4, 4]);
    }
}

#[test]
fn a_build_that_came_first_gives_up_half_as_its_subjobs_end() {
    let mut farm = Scenario::with_slaves(&[("a", 4)]);
    farm.build(big_plan(20, 0, 0));
    farm.set_up(1, 1);
    farm.build(big_plan(20, 0, 0));
    farm.check_running(&[4, 0]);
    // The set-up needs no executor: until it is done the free one stays with the first build.
    farm.finish(hand_out(1, 1, 0, 1)).check_facts(&[
        "1.0 finished by slave 1, attempt 1: [0]",
        "1.4 to slave 1, attempt 1",
        "2 to slave 1 from index 0",
    ]);
    farm.set_up(1, 2).check_facts(&["2 ready on slave 1"]);
    for (subjob, expected) in [(1, [3, 1]), (2, [2, 2]), (3, [2, 2])] {
        farm.finish(hand_out(1, 1, subjob, 1));
        farm.check_running(&expected);
    }
}

#[test]
fn a_small_build_behind_a_big_one_gets_the_next_free_executor() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(big_plan(100, 0, 0));
    farm.set_up(1, 1);
    farm.build(plan(&["A"]))
        .check_facts(&["2 prepared: 1 subjobs"]);
    farm.finish(hand_out(1, 1, 0, 1));
    farm.set_up(1, 2);
    farm.finish(hand_out(1, 1, 1, 1)).check_facts(&[
        "1.1 finished by slave 1, attempt 1: [0]",
        "2.0 to slave 1, attempt 1",
    ]);
}

#[test]
fn a_small_build_spreads_over_the_slaves_with_most_room() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 3), ("c", 2)]);
    farm.build(big_plan(2, 0, 0))
        .check_facts(&["1 prepared: 2 subjobs", "1 to slave 2 from index 0"]);
}

#[test]
fn a_build_is_set_up_on_no_more_slaves_than_it_needs() {
    let mut farm = Scenario::with_slaves(&[("a", 2), ("b", 2), ("c", 2)]);
    farm.build(big_plan(3, 0, 0)).check_facts(&[
        "1 prepared: 3 subjobs",
        "1 to slave 3 from index 0",
        "1 to slave 2 from index 2",
    ]);
    farm.set_up(3, 1);
    farm.set_up(2, 1)
        .check_facts(&["1 ready on slave 2", "1.2 to slave 2, attempt 1"]);
}

#[test]
fn executors_that_are_ready_spare_a_set_up() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(big_plan(2, 0, 0));
    farm.connect("b", "life 1", 4)
        .check_facts(&["slave 2 connected: b, life 1, 4 executors"]);
    farm.set_up(1, 1).check_facts(&[
        "1 ready on slave 1",
        "1.0 to slave 1, attempt 1",
        "1.1 to slave 1, attempt 1",
    ]);
}

#[test]
fn executors_that_are_ready_and_taken_spare_none() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(big_plan(3, 0, 0));
    farm.set_up(1, 1);
    farm.connect("b", "life 1", 1).check_facts(&[
        "slave 2 connected: b, life 1, 1 executor",
        "1 to slave 2 from index 2",
    ]);
}

#[test]
fn executors_of_a_limited_slave_do_not_count_beyond_the_limit() {
    let mut farm = Scenario::with_slaves(&[("a", 4)]);
    farm.build(big_plan(3, 0, 1));
    farm.set_up(1, 1);
    farm.connect("b", "life 1", 4).check_facts(&[
        "slave 2 connected: b, life 1, 4 executors",
        "1 to slave 2 from index 4",
    ]);
}

/// Nobody knows whose executor is free next, so a build that waits though it is set up somewhere is set up
/// on the next slave too: it never waits for one certain slave.
#[test]
fn a_build_that_waits_is_set_up_on_one_slave_after_the_other() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(100, 0, 0));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    farm.build(plan(&["A"]));
    farm.finish(hand_out(1, 1, 0, 1)).check_facts(&[
        "1.0 finished by slave 1, attempt 1: [0]",
        "1.2 to slave 1, attempt 1",
        "2 to slave 1 from index 0",
    ]);
    // While that goes on it needs no other.
    farm.finish(hand_out(2, 1, 1, 1)).check_facts(&[
        "1.1 finished by slave 2, attempt 1: [0]",
        "1.3 to slave 2, attempt 1",
    ]);
    farm.set_up(1, 2);
    farm.finish(hand_out(2, 1, 3, 1)).check_facts(&[
        "1.3 finished by slave 2, attempt 1: [0]",
        "1.4 to slave 2, attempt 1",
        "2 to slave 2 from index 1",
    ]);
    farm.finish(hand_out(1, 1, 2, 1)).check_facts(&[
        "1.2 finished by slave 1, attempt 1: [0]",
        "2.0 to slave 1, attempt 1",
    ]);
}

/// A plan with atoms that are expected to take so long each.
fn expected(milliseconds: &[u64]) -> Plan {
    Plan {
        expected_ms: milliseconds.to_vec(),
        ..big_plan(u32::try_from(milliseconds.len()).unwrap(), 0, 0)
    }
}

#[test]
fn the_longest_atoms_go_first_and_what_came_back_before_them() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    // So long that none waits on a slave.
    farm.build(expected(&[10_000, 90_000, 50_000, 90_000, 20_000]));
    farm.set_up(1, 1).check_facts(&[
        "1 ready on slave 1",
        "1.1 to slave 1, attempt 1",
        "1.3 to slave 1, attempt 1",
    ]);
    farm.finish(hand_out(1, 1, 3, 1)).check_facts(&[
        "1.3 finished by slave 1, attempt 1: [0]",
        "1.2 to slave 1, attempt 1",
    ]);
    farm.lose(1);
    farm.connect("b", "life 1", 1);
    farm.set_up(2, 1)
        .check_facts(&["1 ready on slave 2", "1.1 to slave 2, attempt 2"]);
    for (subjob, attempt, next) in [
        (1, 2, "1.2 to slave 2, attempt 2"),
        (2, 2, "1.4 to slave 2, attempt 1"),
        (4, 1, "1.0 to slave 2, attempt 1"),
    ] {
        let turn = farm.finish(hand_out(2, 1, subjob, attempt));
        let finished = format!("1.{subjob} finished by slave 2, attempt {attempt}: [0]");
        turn.check_facts(&[&finished, next]);
    }
    assert_eq!(farm.replayed(), farm.cluster);
}

#[test]
fn durations_that_do_not_fit_the_atoms_say_nothing() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(Plan {
        expected_ms: vec![1, 2],
        ..big_plan(3, 0, 0)
    });
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert!(build.subjobs.iter().all(|subjob| subjob.expected_ms() == 0));
    farm.set_up(1, 1)
        .check_facts(&["1 ready on slave 1", "1.0 to slave 1, attempt 1"]);
}

#[test]
fn what_is_left_is_told_from_the_durations() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    let left = |farm: &Scenario| {
        let build = farm.cluster.build(BuildId(1)).unwrap();
        build.left_ms(|_, _| 0)
    };
    farm.build(expected(&[10_000; 6]));
    assert_eq!(left(&farm), None);
    farm.set_up(1, 1);
    assert_eq!(left(&farm), Some(30_000));
    for subjob in 0..5 {
        farm.finish(hand_out(1, 1, subjob, 1));
    }
    assert_eq!(left(&farm), Some(10_000));
    let ran_ms = |subjob: SubjobId, _| 1_000 * u64::from(subjob.0);
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(build.left_ms(ran_ms), Some(5_000));
    farm.finish(hand_out(1, 1, 5, 1));
    assert_eq!(left(&farm), None);
    farm.build(big_plan(6, 0, 0));
}

fn urgent(num_atoms: u32, priority: i32) -> Plan {
    Plan {
        priority,
        ..big_plan(num_atoms, 0, 0)
    }
}

#[test]
fn a_higher_priority_goes_first_and_a_lower_one_keeps_an_executor() {
    let mut farm = Scenario::with_slaves(&[("a", 4)]);
    farm.build(urgent(20, 0));
    farm.set_up(1, 1);
    farm.build(urgent(20, 5));
    farm.build(urgent(20, 0));
    farm.check_running(&[4, 0, 0]);
    farm.finish(hand_out(1, 1, 0, 1));
    farm.set_up(1, 2);
    farm.set_up(1, 3);
    for subjob in 1..4 {
        farm.finish(hand_out(1, 1, subjob, 1));
    }
    farm.check_running(&[1, 3, 0]);
    // However often they end it stays so.
    for subjob in 0..5 {
        farm.finish(hand_out(1, 2, subjob, 1));
    }
    farm.check_running(&[1, 3, 0]);
    farm.cancel(2);
    farm.check_running(&[2, 0, 2]);
    assert_eq!(farm.replayed(), farm.cluster);
}

#[test]
fn a_small_build_behind_a_huge_one_gets_the_next_executor() {
    for priority in [0, 7] {
        let mut farm = Scenario::with_slaves(&[("a", 2)]);
        farm.build(urgent(50, priority));
        farm.set_up(1, 1);
        farm.build(urgent(1, 0));
        // It is set up when one is free, which the first build uses meanwhile.
        farm.finish(hand_out(1, 1, 0, 1));
        farm.set_up(1, 2);
        farm.finish(hand_out(1, 1, 1, 1));
        farm.check_running(&[1, 1]);
    }
}

fn labelled(labels: &[&str]) -> Plan {
    Plan {
        labels: labels.iter().map(|&label| label.to_owned()).collect(),
        ..big_plan(3, 0, 0)
    }
}

#[test]
fn a_build_with_labels_waits_for_a_slave_that_has_them_all() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.connect_labelled("b", 1, &["gpu"]);
    farm.build(labelled(&["big", "gpu"]))
        .check_facts(&["1 prepared: 3 subjobs"]);
    let kept_out = |farm: &Scenario| {
        let build = farm.cluster.build(BuildId(1)).unwrap();
        farm.cluster.kept_out(build)
    };
    assert_eq!(kept_out(&farm), Some(KeptOut::default()));
    farm.connect_labelled("c", 1, &["big", "fast", "gpu"])
        .check_facts(&[
            "slave 3 connected: c, life 1, 1 executor",
            "1 to slave 3 from index 0",
        ]);
    farm.set_up(3, 1)
        .check_facts(&["1 ready on slave 3", "1.0 to slave 3, attempt 1"]);
    assert_eq!(kept_out(&farm), None);
    // Its labels keep nobody else away.
    farm.build(big_plan(9, 0, 0)).check_facts(&[
        "2 prepared: 9 subjobs",
        "2 to slave 1 from index 0",
        "2 to slave 2 from index 2",
    ]);
    farm.drain(3);
    farm.finish(hand_out(3, 1, 0, 1));
    let drained = KeptOut {
        drained: 1,
        ..KeptOut::default()
    };
    assert_eq!(kept_out(&farm), Some(drained));
    assert_eq!(farm.replayed(), farm.cluster);
}

#[test]
fn a_build_with_an_image_waits_for_a_slave_that_runs_containers() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(Plan {
        image: Some("debian:13".to_owned()),
        ..big_plan(3, 0, 0)
    })
    .check_facts(&["1 prepared: 3 subjobs"]);
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(farm.cluster.kept_out(build), Some(KeptOut::default()));
    let session = farm.session(1);
    let reported = farm.tell(Command::ReportInstances {
        slave: SlaveId(1),
        session,
        report: ReportedInstances {
            runs_images: true,
            ..ReportedInstances::default()
        },
    });
    let facts: Vec<String> = reported.events.iter().map(fact_text).collect();
    let set_up = "1 to slave 1 from index 0";
    assert!(facts.iter().any(|fact| fact == set_up), "{facts:?}");
}

#[test]
fn a_build_fails_when_no_slave_with_its_labels_can_set_it_up_and_waits_when_there_is_none() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.connect_labelled("b", 1, &["gpu"]);
    farm.connect_labelled("c", 1, &["gpu"]);
    farm.build(labelled(&["gpu"]));
    farm.setup_failed(2, 1, "no space");
    assert!(!matches!(farm.state(1), BuildState::Error { .. }));
    // The slave without the label does not count.
    farm.setup_failed(3, 1, "no network");
    assert!(matches!(farm.state(1), BuildState::Error { .. }));
    farm.build(labelled(&["gpu"]));
    farm.setup_failed(2, 2, "no space");
    farm.drain(2);
    farm.lose(3);
    farm.wait(Duration::from_secs(600));
    assert!(!matches!(farm.state(2), BuildState::Error { .. }));
}
