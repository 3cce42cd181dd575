//! Matrices of which the rest is not run after so many failed atoms.

use super::*;
use std::num::NonZeroU32;

/// A matrix of which the rest is not run after so many failed atoms: build 2 and 3 run an atom each and have another one,
/// build 4 is not prepared yet.
fn split_with_max_fail(most: u32) -> Scenario {
    let max_fail = NonZeroU32::new(most);
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.queue("p");
    farm.prepared(
        1,
        Plan {
            max_fail,
            ..matrix()
        },
    );
    for child in [2, 3] {
        let plan = Plan {
            max_fail,
            max_executors: NonZeroU32::new(1),
            ..plan(&["x", "y"])
        };
        farm.prepared(child, plan);
        farm.set_up(1, child);
    }
    farm
}

/// The failures of all count together, as if they were of one build.
#[test]
fn after_so_many_failures_in_a_matrix_nothing_more_of_it_runs() {
    let mut farm = split_with_max_fail(2);
    farm.tell(finished(hand_out(1, 2, 0, 1), &[1]));
    assert!(states(&farm).iter().all(|state| !state.is_over()));
    farm.tell(finished(hand_out(1, 3, 0, 1), &[1]))
        .check_facts(&[
            "3.0 finished by slave 1, attempt 1: [1]",
            "2 archiving",
            "3 archiving",
            "4 canceled",
            "2 off slave 1",
            "3 off slave 1",
        ]);
    assert_eq!(farm.replayed(), farm.cluster);
    farm.archived(2);
    farm.archived(3).check_facts(&["3 finished", "1 finished"]);
    let parent = farm.cluster.build(BuildId(1)).unwrap();
    let counts = (parent.atoms_failed, parent.num_not_run());
    assert_eq!((counts, parent.is_cut_short()), ((2, 2), true));
}

/// What has not failed and is cut short must not look as if it had passed; what was done before is what it is.
#[test]
fn a_build_without_a_failure_is_canceled_with_its_matrix() {
    let mut farm = split_with_max_fail(1);
    farm.finish(hand_out(1, 3, 0, 1));
    farm.prepared(4, plan(&["x"]));
    farm.cancel(4);
    farm.tell(finished(hand_out(1, 2, 0, 1), &[1]))
        .check_facts(&[
            "2.0 finished by slave 1, attempt 1: [1]",
            "2 archiving",
            "3 canceled",
            "2 off slave 1",
            "3 off slave 1",
        ]);
    farm.archived(2).check_facts(&["2 finished", "1 finished"]);

    let mut farm = split_with_max_fail(1);
    farm.finish(hand_out(1, 3, 0, 1));
    farm.finish(hand_out(1, 3, 1, 1));
    farm.tell(finished(hand_out(1, 2, 0, 1), &[1]));
    farm.archived(2);
    farm.archived(3).check_facts(&["3 finished", "1 finished"]);
    let passed = ChildState::Finished { lacks_atoms: false };
    assert_eq!(
        states(&farm),
        [passed.clone(), passed, ChildState::Canceled]
    );
}

/// A master that dies between two of these ends goes on with the others.
#[test]
fn a_matrix_is_stopped_whole_over_a_restart() {
    let mut farm = split_with_max_fail(1);
    let before = farm.journal.len();
    farm.tell(finished(hand_out(1, 2, 0, 1), &[1]));
    for kept in before + 1..=farm.journal.len() {
        let mut farm = split_with_max_fail(1);
        farm.tell(finished(hand_out(1, 2, 0, 1), &[1]));
        farm.truncate(kept);
        farm.cluster = farm.replayed();
        farm.restart();
        farm.archived(2);
        let failed = ChildState::Finished { lacks_atoms: false };
        let canceled = ChildState::Canceled;
        assert_eq!(
            states(&farm),
            [failed, canceled.clone(), canceled],
            "{kept}"
        );
        assert_eq!(*farm.state(1), BuildState::Finished);
    }
}

/// A build that could not be run counts as a failure: who stops at the first hears of it at once.
#[test]
fn a_build_that_can_not_be_run_counts_as_a_failure() {
    let cannot = || Command::ReportPreparationFailed {
        build: BuildId(4),
        reason: "no atoms".to_owned(),
    };
    let mut farm = split_with_max_fail(1);
    farm.tell(cannot());
    let reason = "no atoms".to_owned();
    let canceled = ChildState::Canceled;
    assert_eq!(
        states(&farm),
        [canceled.clone(), canceled, ChildState::Error { reason }]
    );
    assert!(farm.cluster.build(BuildId(1)).unwrap().is_over());
    assert_eq!(farm.replayed(), farm.cluster);

    let mut farm = split_with_max_fail(2);
    farm.tell(cannot());
    assert!(states(&farm)[..2].iter().all(|state| !state.is_over()));
    farm.tell(finished(hand_out(1, 2, 0, 1), &[1]))
        .check_facts(&[
            "2.0 finished by slave 1, attempt 1: [1]",
            "2 archiving",
            "3 canceled",
            "2 off slave 1",
            "3 off slave 1",
        ]);
}
