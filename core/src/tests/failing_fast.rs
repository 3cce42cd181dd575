//! Builds that end after so many failed atoms, without the rest.

use super::retries::{build, building_with as building};
use super::scenario::{Scenario, finished, hand_out, plan, request, stale};
use crate::actor::Actor;
use crate::builds::build::BuildState;
use crate::command::Command;
use std::num::NonZeroU32;

#[test]
fn the_rest_is_not_run_after_so_many_failed_atoms() {
    let mut farm = building(&[("a", 2)], &["A", "B", "C", "D"], |plan| {
        plan.max_fail = NonZeroU32::new(1);
    });
    // What runs beside the failed atom is stopped by the teardown.
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1])).check(
        &[
            "1.0 finished by slave 1, attempt 1: [1]",
            "1 archiving",
            "1 off slave 1",
        ],
        &[
            "archive 1: [0@1], failed [artifact_0_0]",
            "slave 1: tear down 1",
        ],
    );
    farm.check_refused(
        finished(hand_out(1, 1, 1, 1), &[0]),
        &stale(hand_out(1, 1, 1, 1)),
    );
    farm.archived(1).check(&["1 finished"], &["clear 1"]);
    farm.torn_down(1, 1).check_facts(&["1 gone from slave 1"]);
    let build = build(&farm);
    assert_eq!(build.state, BuildState::Finished);
    assert_eq!((build.num_not_run(), build.is_cut_short()), (3, true));
    assert_eq!((build.atoms_completed, build.atoms_failed), (1, 1));
    assert_eq!(farm.replayed(), farm.cluster);
}

#[test]
fn only_final_failures_count() {
    let mut farm = building(&[("a", 1)], &["A", "B"], |plan| {
        plan.max_fail = NonZeroU32::new(1);
        plan.retries = 1;
    });
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]));
    farm.finish(hand_out(1, 1, 1, 1));
    farm.finish(hand_out(1, 1, 0, 2)).check_facts(&[
        "1.0 finished by slave 1, attempt 2: [0]",
        "1 archiving",
        "1 off slave 1",
    ]);
    assert_eq!(
        (build(&farm).num_not_run(), build(&farm).is_cut_short()),
        (0, false)
    );
}

/// What failed once and waits to be run again is not run either; its failed attempt is kept.
#[test]
fn what_waits_to_be_run_again_is_not_run() {
    let mut farm = building(&[("a", 1)], &["A", "B", "C"], |plan| {
        plan.max_fail = NonZeroU32::new(1);
        plan.retries = 1;
        plan.flaky_fails = true;
        plan.expected_ms = vec![9, 5, 1];
    });
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]));
    farm.tell(finished(hand_out(1, 1, 1, 1), &[1]));
    farm.finish(hand_out(1, 1, 2, 1));
    farm.finish(hand_out(1, 1, 0, 2)).check(
        &[
            "1.0 finished by slave 1, attempt 2: [0]",
            "1 archiving",
            "1 off slave 1",
        ],
        &[
            "archive 1: [0@2, 2@1], failed [artifact_0_0]",
            "slave 1: tear down 1",
        ],
    );
    assert_eq!(build(&farm).num_not_run(), 1);
}

#[test]
fn the_request_says_more_than_the_job() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    let mut request = request("p");
    request.max_fail = NonZeroU32::new(2);
    farm.tell(Command::QueueBuild {
        by: Actor::SecretHolder,
        request: Box::new(request),
    });
    let mut plan = plan(&["A", "B", "C"]);
    plan.max_fail = NonZeroU32::new(1);
    farm.prepared(1, plan);
    farm.set_up(1, 1);
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]))
        .check_facts(&[
            "1.0 finished by slave 1, attempt 1: [1]",
            "1.1 to slave 1, attempt 1",
        ]);
    farm.tell(finished(hand_out(1, 1, 1, 1), &[1]))
        .check_facts(&[
            "1.1 finished by slave 1, attempt 1: [1]",
            "1 archiving",
            "1 off slave 1",
        ]);
}
