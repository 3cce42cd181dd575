//! Builds that are canceled.

use super::*;

#[test]
fn canceling_ends_a_build_that_waits_or_is_prepared() {
    let mut farm = Scenario::default();
    farm.queue("p");
    farm.queue("p");
    farm.cancel(2).check(&["2 canceled"], &["abandon 2"]);
    farm.cancel(1).check(&["1 canceled"], &["abandon 1"]);
    farm.cancel(1).check_nothing();
    farm.prepared(1, plan(&["A"])).check_nothing();
    farm.build(plan(&["A"]));
    farm.cancel(3).check(&["3 canceled"], &["abandon 3"]);
    farm.connect("a", "life 1", 1)
        .check_facts(&["slave 1 connected: a, life 1, 1 executor"]);
    let unknown = Command::CancelBuild {
        by: Actor::SecretHolder,
        build: BuildId(9),
    };
    farm.check_refused(unknown, &Refusal::UnknownBuild(BuildId(9)));
}

#[test]
fn canceling_during_the_set_up_tears_down() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.cancel(1).check(
        &["1 canceled", "1 off slave 1"],
        &["abandon 1", "slave 1: tear down 1"],
    );
    farm.set_up(1, 1).check_nothing();
    farm.torn_down(1, 1).check(&["1 gone from slave 1"], &[]);
    farm.setup_failed(1, 1, "late").check_nothing();
}

#[test]
fn canceling_a_running_build_gives_its_executors_to_others() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(big_plan(3, 0, 0));
    farm.set_up(1, 1);
    farm.build(plan(&["A"]));
    farm.cancel(1).check(
        &["1 canceled", "1 off slave 1", "2 to slave 1 from index 0"],
        &[
            "abandon 1",
            "slave 1: keep consoles of 1.0",
            "slave 1: tear down 1",
            "slave 1: set up 2 from index 0",
        ],
    );
    farm.set_up(1, 2)
        .check_facts(&["2 ready on slave 1", "2.0 to slave 1, attempt 1"]);
    let late = hand_out(1, 1, 0, 1);
    farm.check_refused(finished(late, &[0]), &stale(late));
    farm.check_refused(unusable(late), &stale(late));
    farm.setup_failed(1, 1, "it stopped")
        .check_facts(&["1 gone from slave 1"]);
    farm.torn_down(1, 1).check_nothing();
    farm.check_running(&[0, 1]);
}

#[test]
fn canceling_while_the_archives_are_made_leaves_none() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.finish(hand_out(1, 1, 0, 1));
    farm.cancel(1).check(&["1 canceled"], &["abandon 1"]);
    farm.archived(1).check_nothing();
    farm.torn_down(1, 1).check_facts(&["1 gone from slave 1"]);
}

#[test]
fn a_build_that_is_over_can_not_be_canceled() {
    let mut farm = Scenario::default();
    farm.build(plan(&[]));
    farm.archived(1);
    farm.cancel(1).check_nothing();
    assert_eq!(*farm.state(1), BuildState::Finished);
}

#[test]
fn what_runs_when_a_build_is_canceled_is_asked_for_its_console() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(plan(&["A", "B", "C"]));
    farm.set_up(1, 1);
    farm.set_clock(5_000);
    farm.cancel(1).check(
        &["1 canceled", "1 off slave 1"],
        &[
            "abandon 1",
            "slave 1: keep consoles of 1.0,1",
            "slave 1: tear down 1",
        ],
    );
    let run = CutRun {
        atom: AtomId(0),
        executor: ExecutorIndex(1),
        started_at: Timestamp(4_301),
    };
    let report = |slave, attempt| Command::ReportCutOff {
        slave: SlaveId(slave),
        build: BuildId(1),
        subjobs: vec![(SubjobId(1), Attempt(attempt))],
        // Of what was not cut off nothing is noted.
        runs: vec![(SubjobId(0), run), (SubjobId(1), run)],
    };
    // Others did not have it, or not as this hand-out.
    farm.tell(report(2, 1)).check_nothing();
    farm.tell(report(1, 2)).check_nothing();
    farm.tell(report(1, 1))
        .check(&["1 cut off on slave 1: 1 subjobs"], &[]);
    farm.tell(report(1, 1)).check_nothing();
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(build.cut_off, [(SubjobId(1), Attempt(1))].into());
    assert_eq!(build.cut_runs, [(SubjobId(1), run)].into());
    let ran = build.cut_run(SubjobId(1)).unwrap();
    assert_eq!(ran, (run, Duration::from_millis(700)));
    assert_eq!((build.atoms_completed, build.atoms_failed), (0, 0));
}
