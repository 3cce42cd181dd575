//! Failed atoms that are run again: where, when, how often, and what counts.

use super::scenario::{Scenario, finished, hand_out, plan, stale};
use crate::actor::Actor;
use crate::builds::build::Build;
use crate::builds::plan::Plan;
use crate::command::Command;
use clusterrunner_common::ids::{Attempt, BuildId};
use clusterrunner_common::work::{AtomUsage, InWorker};
use std::num::NonZeroU32;

/// A build of these atoms, each of which may be run again so often, on slaves with one executor each.
fn building(slaves: &[(&str, u32)], atoms: &[&str], retries: u32) -> Scenario {
    building_with(slaves, atoms, |plan| plan.retries = retries)
}

pub(super) fn building_with(
    slaves: &[(&str, u32)],
    atoms: &[&str],
    change: impl FnOnce(&mut Plan),
) -> Scenario {
    let mut farm = Scenario::with_slaves(slaves);
    farm.queue("p");
    let mut plan = plan(atoms);
    change(&mut plan);
    farm.prepared(1, plan);
    for slave in (1..).take(slaves.len()) {
        farm.set_up(slave, 1);
    }
    farm
}

pub(super) fn build(farm: &Scenario) -> &Build {
    farm.cluster.build(BuildId(1)).unwrap()
}

/// Atoms with a result, failed ones, flaky ones.
fn counts(farm: &Scenario) -> (u64, u64, u64) {
    let build = build(farm);
    (build.atoms_completed, build.atoms_failed, build.atoms_flaky)
}

#[test]
fn a_failed_atom_runs_again_after_the_rest() {
    let mut farm = building(&[("a", 1)], &["A", "B"], 1);
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1])).check(
        &[
            "1.0 failed on slave 1, attempt 1, and is run again",
            "1.1 to slave 1, attempt 1",
        ],
        &["slave 1: start 1.1, attempt 1"],
    );
    assert_eq!(counts(&farm), (0, 0, 0));
    farm.finish(hand_out(1, 1, 1, 1)).check(
        &[
            "1.1 finished by slave 1, attempt 1: [0]",
            "1.0 to slave 1, attempt 2",
        ],
        &["slave 1: start 1.0, attempt 2"],
    );
    farm.finish(hand_out(1, 1, 0, 2)).check(
        &[
            "1.0 finished by slave 1, attempt 2: [0]",
            "1 archiving",
            "1 off slave 1",
        ],
        &["archive 1: [0@2, 1@1], failed []", "slave 1: tear down 1"],
    );
    assert_eq!(counts(&farm), (2, 0, 1));
}

#[test]
fn what_waits_to_run_again_is_left_to_be_done() {
    let mut farm = building_with(&[("a", 1)], &["A", "B"], |plan| {
        plan.retries = 1;
        plan.expected_ms = vec![10_000; 2];
    });
    let left = |farm: &Scenario| build(farm).left_ms(|_, _| 0);
    assert_eq!(left(&farm), Some(20_000));
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]));
    assert_eq!(left(&farm), Some(20_000));
}

#[test]
fn it_goes_to_a_slave_where_it_has_not_failed() {
    let mut farm = building(&[("a", 1), ("b", 1)], &["A", "B"], 2);
    // Slave 1 is idle and does not get it: slave 2, which is busy, has not tried it.
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]))
        .check_facts(&["1.0 failed on slave 1, attempt 1, and is run again"]);
    farm.finish(hand_out(2, 1, 1, 1)).check_facts(&[
        "1.1 finished by slave 2, attempt 1: [0]",
        "1.0 to slave 2, attempt 2",
    ]);
    // It has failed on both: whoever is idle tries it once more.
    farm.tell(finished(hand_out(2, 1, 0, 2), &[1]))
        .check_facts(&[
            "1.0 failed on slave 2, attempt 2, and is run again",
            "1.0 to slave 2, attempt 3",
        ]);
    farm.tell(finished(hand_out(2, 1, 0, 3), &[7]))
        .check_facts(&[
            "1.0 finished by slave 2, attempt 3: [7]",
            "1 archiving",
            "1 off slave 1",
            "1 off slave 2",
        ]);
    assert_eq!(counts(&farm), (2, 1, 0));
}

#[test]
fn the_request_says_more_than_the_job() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    let mut request = super::scenario::request("p");
    request.retries = Some(0);
    farm.tell(Command::QueueBuild {
        by: Actor::SecretHolder,
        request: Box::new(request),
    });
    let mut plan = plan(&["A"]);
    plan.retries = 5;
    farm.prepared(1, plan);
    farm.set_up(1, 1);
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]))
        .check_facts(&[
            "1.0 finished by slave 1, attempt 1: [1]",
            "1 archiving",
            "1 off slave 1",
        ]);
}

#[test]
fn a_failed_attempt_that_comes_twice_counts_once() {
    let mut farm = building(&[("a", 1)], &["A"], 1);
    let failed = || finished(hand_out(1, 1, 0, 1), &[1]);
    farm.tell(failed()).check_facts(&[
        "1.0 failed on slave 1, attempt 1, and is run again",
        "1.0 to slave 1, attempt 2",
    ]);
    farm.tell(failed()).check_nothing();
    farm.finish(hand_out(1, 1, 0, 2));
    farm.tell(failed()).check_nothing();
    assert_eq!(counts(&farm), (1, 0, 1));
}

#[test]
fn a_slave_that_is_lost_in_a_retry_costs_no_try() {
    let mut farm = building(&[("a", 1), ("b", 1)], &["A", "B"], 1);
    farm.finish(hand_out(2, 1, 1, 1));
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]))
        .check_facts(&[
            "1.0 failed on slave 1, attempt 1, and is run again",
            "1.0 to slave 2, attempt 2",
        ]);
    let facts = farm.lose(2);
    let last = facts.events.last().map(super::scenario::fact_text);
    assert_eq!(last.as_deref(), Some("1.0 to slave 1, attempt 3"));
    farm.finish(hand_out(1, 1, 0, 3));
    // What the lost slave still brings is nothing.
    farm.check_refused(
        finished(hand_out(2, 1, 0, 2), &[0]),
        &stale(hand_out(2, 1, 0, 2)),
    );
    assert_eq!(counts(&farm), (2, 0, 1));
    let failed = build(&farm).subjobs[0].failed_attempts();
    let failed: Vec<Attempt> = failed.iter().map(|failed| failed.attempt).collect();
    assert_eq!(failed, [Attempt(1)]);
}

#[test]
fn a_master_that_starts_again_knows_what_is_to_be_run_again() {
    let mut farm = building(&[("a", 1)], &["A", "B"], 1);
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]));
    farm.restart();
    let before = farm.cluster.clone();
    assert_eq!(farm.replayed(), before);
    farm.finish(hand_out(1, 1, 1, 1)).check_facts(&[
        "1.1 finished by slave 1, attempt 1: [0]",
        "1.0 to slave 1, attempt 2",
    ]);
}

/// The slave names the failed result again, since it has not heard that it was recorded.
#[test]
fn a_recorded_attempt_is_not_taken_from_a_new_life_of_its_slave() {
    let mut farm = building(&[("a", 1)], &["A", "B"], 1);
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]));
    farm.connect_with("a", "life 2", "life 1", &[(1, 0, 1)]);
    let progress = build(&farm).progress().unwrap();
    assert!(progress.kept.is_empty(), "{progress:?}");
    assert_eq!(build(&farm).subjobs[0].failed_attempts().len(), 1);
}

#[test]
fn a_build_that_is_canceled_in_a_retry_shows_the_attempt_that_failed() {
    let mut farm = building(&[("a", 1)], &["A", "B"], 1);
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]));
    farm.cancel(1);
    let build = build(&farm);
    let subjob = &build.subjobs[0];
    let shown = build.shown_attempt(clusterrunner_common::ids::SubjobId(0), subjob);
    assert_eq!((shown, counts(&farm)), (Some(Attempt(1)), (0, 0, 0)));
}

#[test]
fn flaky_atoms_fail_a_build_whose_job_says_so() {
    let mut farm = building_with(&[("a", 1)], &["A"], |plan| {
        plan.retries = 1;
        plan.flaky_fails = true;
    });
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]));
    farm.finish(hand_out(1, 1, 0, 2)).check(
        &[
            "1.0 finished by slave 1, attempt 2: [0]",
            "1 archiving",
            "1 off slave 1",
        ],
        &[
            "archive 1: [0@2], failed [artifact_0_0]",
            "slave 1: tear down 1",
        ],
    );
    assert_eq!(counts(&farm), (1, 1, 1));
}

/// The end of an atom that failed in a worker, and then so without it.
fn behind_worker(subjob: u32, exit_code: i32) -> Command {
    let mut command = finished(hand_out(1, 1, subjob, 1), &[exit_code]);
    if let Command::ReportFinished { outcomes, .. } = &mut command {
        outcomes[0].usage = Some(AtomUsage {
            output_bytes: 0,
            processes: None,
            in_vain_ms: 0,
            last_in_vain: None,
            worker: Some(InWorker::Failed),
        });
    }
    command
}

#[test]
fn what_passes_only_without_its_worker_is_flaky() {
    for flaky_fails in [false, true] {
        let mut farm = building_with(&[("a", 1)], &["A", "B"], |plan| {
            plan.flaky_fails = flaky_fails;
        });
        farm.tell(behind_worker(0, 0));
        assert_eq!(counts(&farm), (1, u64::from(flaky_fails), 1));
        farm.tell(behind_worker(1, 1));
        assert_eq!(counts(&farm), (2, 1 + u64::from(flaky_fails), 1));
    }
}

/// A failed attempt is not prefetched, so that it does not go before what has not run yet.
#[test]
fn limits_hold_for_what_is_run_again() {
    let mut farm = building_with(&[("a", 2)], &["A", "B", "C"], |plan| {
        plan.retries = 1;
        plan.max_executors = NonZeroU32::new(1);
    });
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]))
        .check_facts(&[
            "1.0 failed on slave 1, attempt 1, and is run again",
            "1.1 to slave 1, attempt 1",
        ]);
    farm.finish(hand_out(1, 1, 1, 1));
    farm.finish(hand_out(1, 1, 2, 1)).check_facts(&[
        "1.2 finished by slave 1, attempt 1: [0]",
        "1.0 to slave 1, attempt 2",
    ]);
}
