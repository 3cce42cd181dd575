//! Who works on what.

use super::scenario::{Scenario, big_plan, hand_out, plan};

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
        "2 to slave 1 from index 0",
        "1.4 to slave 1, attempt 1",
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
        "slave 2 connected: b, life 1, 1 executors",
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

/// Nobody knows whose executor is free next, so a build that waits is set up wherever one was; that
/// is more than it needs, but it never waits for one certain slave.
#[test]
fn a_build_that_waits_is_set_up_wherever_an_executor_was_free() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(100, 0, 0));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    farm.build(plan(&["A"]));
    for (slave, subjob) in [(1, 0), (2, 1)] {
        let finished = format!("1.{subjob} finished by slave {slave}, attempt 1: [0]");
        farm.finish(hand_out(slave, 1, subjob, 1)).check_facts(&[
            &finished,
            &format!("2 to slave {slave} from index {}", slave - 1),
            &format!("1.{} to slave {slave}, attempt 1", subjob + 2),
        ]);
    }
    farm.set_up(2, 2);
    farm.finish(hand_out(2, 1, 3, 1)).check_facts(&[
        "1.3 finished by slave 2, attempt 1: [0]",
        "2.0 to slave 2, attempt 1",
    ]);
}
