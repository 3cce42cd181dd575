//! Results that outlive the process of their slave.

use super::scenario::{Scenario, big_plan, finished, hand_out, stale, unusable};
use crate::builds::build::BuildState;
use crate::event::{BuildFact, Event, Fact};

/// A build of three subjobs, two of which slave 1 at `a` has.
fn farm() -> Scenario {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(big_plan(3, 0, 0));
    farm.set_up(1, 1);
    farm
}

#[test]
fn a_slave_that_was_started_again_delivers_what_it_has() {
    let mut farm = farm();
    farm.connect_with("a", "life 2", "life 1", &[(1, 1, 1)])
        .check_facts(&[
            "slave 1 lost: it was started again",
            "1.0 suspected: slave 1 was lost while it ran this subjob",
            "slave 2 connected: a, life 2, 2 executors",
            "slave 2 keeps 1/1.1",
            "1 to slave 2 from index 2",
        ]);
    // Before the build is set up there again.
    farm.finish(hand_out(2, 1, 1, 1))
        .check_facts(&["1.1 finished by slave 2, attempt 1: [0]"]);
    farm.finish(hand_out(2, 1, 1, 1)).check_nothing();
    farm.set_up(2, 1);
    farm.finish(hand_out(2, 1, 0, 2));
    farm.finish(hand_out(2, 1, 2, 1));
    assert_eq!(*farm.state(1), BuildState::Archiving);
}

#[test]
fn an_upload_that_the_earlier_life_began_counts_as_the_same() {
    let mut farm = farm();
    farm.connect_with("a", "life 2", "life 1", &[(1, 1, 1)]);
    farm.finish(hand_out(1, 1, 1, 1))
        .check_facts(&["1.1 finished by slave 2, attempt 1: [0]"]);
    farm.finish(hand_out(2, 1, 1, 1)).check_nothing();
}

#[test]
fn results_count_also_after_the_slave_was_lost_and_lost_again() {
    let mut farm = farm();
    farm.lose(1);
    farm.connect_with("a", "life 2", "life 1", &[(1, 0, 1), (1, 1, 1)])
        .check_facts(&[
            "slave 2 connected: a, life 2, 2 executors",
            "slave 2 keeps 1/0.1, 1/1.1",
            "1 to slave 2 from index 2",
        ]);
    farm.lose(2);
    farm.connect_with("a", "life 3", "life 1", &[(1, 0, 1)])
        .check_facts(&[
            "slave 3 connected: a, life 3, 2 executors",
            "slave 3 keeps 1/0.1",
            "1 to slave 3 from index 4",
        ]);
}

#[test]
fn a_build_waits_for_what_is_to_be_delivered() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(big_plan(1, 0, 0));
    farm.set_up(1, 1);
    farm.connect_with("a", "life 2", "life 1", &[(1, 0, 1)]);
    assert!(matches!(farm.state(1), BuildState::Building(_)));
    // One that can not be used is run again.
    farm.tell(unusable(hand_out(2, 1, 0, 1)));
    farm.set_up(2, 1);
    farm.finish(hand_out(2, 1, 0, 2));
    assert_eq!(*farm.state(1), BuildState::Archiving);
}

#[test]
fn a_canceled_build_wants_nothing_more() {
    let mut farm = farm();
    farm.connect_with("a", "life 2", "life 1", &[(1, 0, 1)]);
    farm.cancel(1);
    let late = hand_out(2, 1, 0, 1);
    farm.check_refused(finished(late, &[0]), &stale(late));
}

#[test]
fn a_slave_that_is_to_end_delivers_first() {
    let mut farm = farm();
    farm.connect_with("a", "life 2", "life 1", &[(1, 0, 1)]);
    farm.shut_down(&[2]);
    farm.torn_down(2, 1).check_facts(&["1 gone from slave 2"]);
    farm.finish(hand_out(2, 1, 0, 1))
        .check_facts(&["1.0 finished by slave 2, attempt 1: [0]", "slave 2 to end"]);
}

#[test]
fn only_what_nobody_else_was_asked_for_is_kept() {
    let check_none_kept = |mut farm: Scenario, of: &str, results: &[(u64, u32, u32)]| {
        let mut turn = farm.connect_with("a", "life 2", of, results);
        let is_suspicion = |event: &Event| {
            matches!(
                event.fact,
                Fact::Build(_, BuildFact::SubjobSuspected { .. })
            )
        };
        turn.events.retain(|event| !is_suspicion(event));
        turn.check_facts(&[
            "slave 1 lost: it was started again",
            "slave 2 connected: a, life 2, 2 executors",
            "1 to slave 2 from index 2",
        ]);
    };
    // Another attempt, one that was never handed out, no such subjob or build, a life that was not.
    let wrong = [(1, 0, 2), (1, 2, 1), (1, 9, 1), (7, 0, 1)];
    check_none_kept(farm(), "life 1", &wrong);
    check_none_kept(farm(), "life 0", &[(1, 0, 1)]);
    // It has a result already.
    let mut finished_one = farm();
    finished_one.finish(hand_out(1, 1, 0, 1));
    check_none_kept(finished_one, "life 1", &[(1, 0, 1)]);
    let mut farm = farm();
    // Somebody else says it.
    let turn = farm.connect_with("b", "life 1", "life 1", &[(1, 1, 1)]);
    turn.check_facts(&[
        "slave 2 connected: b, life 1, 2 executors",
        "1 to slave 2 from index 2",
    ]);
    // It was given to another since.
    farm.lose(1);
    farm.set_up(2, 1);
    let turn = farm.connect_with("a", "life 2", "life 1", &[(1, 1, 1)]);
    turn.check_facts(&[
        "slave 3 connected: a, life 2, 2 executors",
        "1 to slave 3 from index 4",
    ]);
}

#[test]
fn a_slave_that_lost_its_results_says_so_by_connecting_anew() {
    let mut farm = farm();
    farm.connect_with("a", "life 2", "life 1", &[(1, 0, 1)]);
    farm.connect_with("a", "life 2", "life 1", &[])
        .check_facts(&[
            "slave 2 lost: it connected anew",
            "slave 3 connected: a, life 2, 2 executors",
            "1 to slave 3 from index 4",
        ]);
    farm.set_up(3, 1);
    farm.restart();
    for (subjob, attempt) in [(0, 2), (1, 2)] {
        farm.finish(hand_out(3, 1, subjob, attempt));
    }
    farm.finish(hand_out(3, 1, 2, 1));
    assert_eq!(*farm.state(1), BuildState::Archiving);
}
