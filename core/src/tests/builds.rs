//! A build from its request to its end, whichever end that is.

mod canceling;

use super::scenario::{
    Scenario, atom, big_plan, finished, hand_out, plan, request, stale, unusable,
};
use crate::actor::Actor;
use crate::builds::build::BuildState;
use crate::builds::mishaps::CutRun;
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::effect::{Effect, SetUp, SlaveCall};
use crate::refusal::Refusal;
use crate::{MAX_ATTEMPTS, MAX_HAND_OUTS, MAX_PREPARATIONS};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, ExecutorIndex, SlaveId, SubjobId};
use clusterrunner_common::job::config::{TimeLimit, Timeouts};
use clusterrunner_common::process::variables::{BuildVariables, Variables};
use clusterrunner_common::work::{BuildRequest, IsolationWish, SetupJob};
use serde_json::json;
use std::num::NonZeroU32;
use std::time::Duration;

#[test]
fn a_build_goes_from_its_request_to_its_archives() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.queue("p")
        .check(&["1 queued", "1 preparing"], &["prepare 1"]);
    farm.prepared(1, plan(&["A", "B"])).check(
        &["1 prepared: 2 subjobs", "1 to slave 1 from index 0"],
        &["slave 1: set up 1 from index 0"],
    );
    farm.set_up(1, 1).check(
        &["1 ready on slave 1", "1.0 to slave 1, attempt 1"],
        &["slave 1: start 1.0, attempt 1"],
    );
    farm.finish(hand_out(1, 1, 0, 1)).check(
        &[
            "1.0 finished by slave 1, attempt 1: [0]",
            "1.1 to slave 1, attempt 1",
        ],
        &["slave 1: start 1.1, attempt 1"],
    );
    farm.tell(finished(hand_out(1, 1, 1, 1), &[-9])).check(
        &[
            "1.1 finished by slave 1, attempt 1: [-9]",
            "1 archiving",
            "1 off slave 1",
        ],
        &[
            "archive 1: [0@1, 1@1], failed [artifact_1_0]",
            "slave 1: tear down 1",
        ],
    );
    farm.archived(1).check(&["1 finished"], &["clear 1"]);
    farm.torn_down(1, 1).check(&["1 gone from slave 1"], &[]);

    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!((build.atoms_completed, build.atoms_failed), (2, 1));
    assert_eq!((build.num_atoms, build.num_finished), (2, 2));
    let times = build.timestamps;
    let entered = [
        times.queued,
        times.preparing,
        times.prepared,
        times.building,
    ];
    assert!(entered.iter().all(Option::is_some) && entered.is_sorted());
    assert!(times.finished > times.building && times.error.is_none() && times.canceled.is_none());
}

#[test]
fn effects_carry_all_that_is_needed() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    let prepare = farm.queue("p").effects;
    let expected = Effect::Prepare {
        build: BuildId(1),
        request: Box::new(request("p")),
    };
    assert_eq!(prepare, [expected]);

    let mut set = Variables::default();
    for (name, value) in [
        ("CI", "true"),
        ("CLUSTERRUNNER_BUILD_ID", "1"),
        ("CLUSTERRUNNER_COMMIT", "c0ffee"),
        ("CLUSTERRUNNER_JOB", "unit"),
    ] {
        set.set(name, value);
    }
    let set_up = SetUp {
        variables: BuildVariables {
            set,
            ..BuildVariables::default()
        },
        request: request("p"),
        start_index: 0,
        commit: Some("c0ffee".to_owned()),
        job: SetupJob {
            name: "unit".to_owned(),
            setup_build: Some("make ready".to_owned()),
            teardown_build: None,
            setup_timeout_s: Some(20),
            teardown_timeout_s: None,
            max_executors: NonZeroU32::new(3),
            priority: -2,
            weight: NonZeroU32::new(7),
            image: None,
            templates: Vec::new(),
            junit: None,
            batch_command: None,
            cache: None,
            setup_once: false,
            worker: None,
            isolation: IsolationWish::default(),
        },
        secrets: Vec::new(),
    };
    let call = |call| {
        let (slave, build) = (SlaveId(1), BuildId(1));
        [Effect::Call { slave, build, call }]
    };
    let limited = Plan {
        max_executors_per_slave: NonZeroU32::new(3),
        priority: -2,
        weight: NonZeroU32::new(7),
        timeouts: Timeouts {
            atom: TimeLimit::parse("10"),
            setup: TimeLimit::parse("20"),
            // No limit, which is said by nothing.
            teardown: TimeLimit::parse("0"),
            ..Timeouts::default()
        },
        ..plan(&["A"])
    };
    let effects = farm.prepared(1, limited).effects;
    assert_eq!(effects, call(SlaveCall::SetUp(Box::new(set_up))));

    let start = |attempt| SlaveCall::Start {
        subjob: SubjobId(0),
        attempt: Attempt(attempt),
        atoms: vec!["export T=A;".to_owned()],
        command: "run".into(),
        timeout_s: Some(10),
        batch: None,
        is_followed: false,
    };
    assert_eq!(farm.set_up(1, 1).effects, call(start(1)));
    let effects = farm.tell(unusable(hand_out(1, 1, 0, 1))).effects;
    assert_eq!(effects, call(start(2)));
}

#[test]
fn a_prepared_build_keeps_its_atoms_in_its_subjobs_only() {
    let mut farm = Scenario::default();
    farm.build(plan(&["A", "B"]));
    let build = farm.cluster.build(BuildId(1)).unwrap();
    let subjobs: Vec<_> = build.subjobs.iter().map(|s| s.atoms.to_vec()).collect();
    assert_eq!(subjobs, [[atom("A").into()], [atom("B").into()]]);
    assert_eq!(build.plan, Some(plan(&[])));
}

#[test]
fn builds_of_one_project_are_prepared_one_after_the_other() {
    let mut farm = Scenario::default();
    farm.queue("p")
        .check(&["1 queued", "1 preparing"], &["prepare 1"]);
    farm.queue("p").check(&["2 queued"], &[]);
    farm.queue("p").check(&["3 queued"], &[]);
    farm.queue("q")
        .check(&["4 queued", "4 preparing"], &["prepare 4"]);
    farm.prepared(1, plan(&["A"]))
        .check(&["1 prepared: 1 subjobs", "2 preparing"], &["prepare 2"]);
    farm.cancel(2)
        .check(&["2 canceled", "3 preparing"], &["abandon 2", "prepare 3"]);
}

#[test]
fn builds_of_a_directory_that_stays_as_it_is_are_prepared_together() {
    let mut farm = Scenario::default();
    let directory = |remote_files: serde_json::Value| {
        let params =
            json!({"type": "directory", "project_directory": "/p", "remote_files": remote_files});
        let request = Box::new(BuildRequest::from_json(&params).unwrap());
        Command::QueueBuild {
            by: Actor::SecretHolder,
            request,
        }
    };
    farm.tell(directory(json!({})))
        .check(&["1 queued", "1 preparing"], &["prepare 1"]);
    farm.tell(directory(json!({})))
        .check(&["2 queued", "2 preparing"], &["prepare 2"]);
    let files = json!({"a": "https://example.org/a"});
    farm.tell(directory(files.clone()))
        .check(&["3 queued", "3 preparing"], &["prepare 3"]);
    farm.tell(directory(files.clone()))
        .check(&["4 queued"], &[]);
    farm.prepared(2, plan(&["A"]))
        .check(&["2 prepared: 1 subjobs"], &[]);
    farm.prepared(3, plan(&["A"]))
        .check(&["3 prepared: 1 subjobs", "4 preparing"], &["prepare 4"]);
    farm.cancel(1).check(&["1 canceled"], &["abandon 1"]);
}

#[test]
fn only_so_many_builds_are_prepared_at_a_time() {
    let mut farm = Scenario::default();
    for build in 1..=MAX_PREPARATIONS {
        let started = [format!("{build} queued"), format!("{build} preparing")];
        farm.queue(&format!("project {build}"))
            .check_facts(&[&started[0], &started[1]]);
    }
    let next = MAX_PREPARATIONS + 1;
    farm.queue("one more")
        .check(&[&format!("{next} queued")], &[]);
    farm.prepared(3, plan(&["A"])).check(
        &["3 prepared: 1 subjobs", &format!("{next} preparing")],
        &[&format!("prepare {next}")],
    );
}

#[test]
fn a_build_that_can_not_be_prepared_fails() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.queue("p");
    let failed = Command::ReportPreparationFailed {
        build: BuildId(1),
        reason: "no such branch".to_owned(),
    };
    farm.tell(failed.clone())
        .check(&["1 failed: no such branch"], &["abandon 1"]);
    farm.tell(failed).check_nothing();
    farm.prepared(1, plan(&["A"])).check_nothing();
    farm.cancel(1).check_nothing();
}

#[test]
fn a_build_without_atoms_goes_straight_to_its_archives() {
    let mut farm = Scenario::default();
    farm.queue("p");
    farm.prepared(1, plan(&[])).check(
        &["1 prepared: 0 subjobs", "1 archiving"],
        &["archive 1: [], failed []"],
    );
    farm.archived(1).check(&["1 finished"], &["clear 1"]);
}

#[test]
fn a_build_whose_archives_can_not_be_made_fails() {
    let mut farm = Scenario::default();
    farm.build(plan(&[]));
    let failed = Command::ReportArchivingFailed {
        build: BuildId(1),
        reason: "disk full".to_owned(),
    };
    farm.tell(failed.clone())
        .check(&["1 failed: disk full"], &["abandon 1"]);
    farm.tell(failed).check_nothing();
    farm.archived(1).check_nothing();
}

#[test]
fn reports_that_come_twice_change_nothing() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(plan(&["A", "B"]));
    farm.prepared(1, plan(&["C"])).check_nothing();
    farm.set_up(1, 1);
    farm.set_up(1, 1).check_nothing();
    farm.finish(hand_out(1, 1, 0, 1));
    farm.finish(hand_out(1, 1, 0, 1)).check_nothing();
    farm.tell(unusable(hand_out(1, 1, 0, 1))).check_nothing();
    farm.finish(hand_out(1, 1, 1, 1));
    farm.finish(hand_out(1, 1, 1, 1)).check_nothing();
    farm.archived(1);
    farm.archived(1).check_nothing();
    farm.finish(hand_out(1, 1, 1, 1)).check_nothing();
    farm.torn_down(1, 1);
    farm.torn_down(1, 1).check_nothing();
}

#[test]
fn a_result_that_can_not_be_used_is_asked_for_again() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.tell(unusable(hand_out(1, 1, 0, 1))).check(
        &[
            "1.0 back from slave 1, attempt 1: torn archive",
            "1.0 to slave 1, attempt 2",
        ],
        &["slave 1: start 1.0, attempt 2"],
    );
    for late in [
        unusable(hand_out(1, 1, 0, 1)),
        finished(hand_out(1, 1, 0, 1), &[0]),
    ] {
        farm.check_refused(late, &stale(hand_out(1, 1, 0, 1)));
    }
    farm.finish(hand_out(1, 1, 0, 2)).check_facts(&[
        "1.0 finished by slave 1, attempt 2: [0]",
        "1 archiving",
        "1 off slave 1",
    ]);
}

#[test]
fn a_result_without_one_outcome_for_each_atom_can_not_be_used() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    for (attempt, exit_codes) in [(1, &[][..]), (2, &[0, 0][..])] {
        let (back, again) = (
            format!(
                "1.0 back from slave 1, attempt {attempt}: its result has {} outcomes for 1 atoms",
                exit_codes.len()
            ),
            format!("1.0 to slave 1, attempt {}", attempt + 1),
        );
        farm.tell(finished(hand_out(1, 1, 0, attempt), exit_codes))
            .check_facts(&[&back, &again]);
    }
}

#[test]
fn only_the_hand_out_that_counts_brings_a_result() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(plan(&["A", "B", "C"]));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    let wrong = [
        hand_out(1, 1, 0, 2), // never handed out
        hand_out(1, 1, 0, 0),
        hand_out(1, 1, 2, 1), // waits
    ];
    for wrong in wrong {
        farm.check_refused(finished(wrong, &[0]), &stale(wrong));
        farm.check_refused(unusable(wrong), &stale(wrong));
    }
    let build = Refusal::UnknownBuild(BuildId(7));
    farm.check_refused(finished(hand_out(1, 7, 0, 1), &[0]), &build);
    let subjob = Refusal::UnknownSubjob(SubjobId(3));
    farm.check_refused(finished(hand_out(1, 1, 3, 1), &[0]), &subjob);

    farm.finish(hand_out(1, 1, 0, 1));
    let other = hand_out(2, 1, 0, 1);
    farm.check_refused(finished(other, &[0]), &stale(other));
    farm.cancel(1);
    let late = hand_out(2, 1, 1, 1);
    farm.check_refused(finished(late, &[0]), &stale(late));
    farm.finish(hand_out(1, 1, 0, 1)).check_nothing();
}

#[test]
fn a_subjob_that_never_brings_a_result_fails_its_build() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(plan(&["A", "B"]));
    farm.set_up(1, 1);
    for attempt in 1..MAX_ATTEMPTS {
        farm.tell(unusable(hand_out(1, 1, 1, attempt)));
    }
    farm.tell(unusable(hand_out(1, 1, 1, MAX_ATTEMPTS))).check(
        &[
            "1.1 back from slave 1, attempt 5: torn archive",
            "1 failed: Subjob 1 (export T=B;) was handed out 5 times and brought no result. \
             The last time: torn archive.",
            "1 off slave 1",
        ],
        &[
            "abandon 1",
            "slave 1: keep consoles of 1.0",
            "slave 1: tear down 1",
        ],
    );
    let running = hand_out(1, 1, 0, 1);
    farm.check_refused(finished(running, &[0]), &stale(running));
}

#[test]
fn an_exhausted_subjob_ends_its_build_also_behind_another_one() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(plan(&["A", "B"]));
    farm.set_up(1, 1);
    for attempt in 1..MAX_ATTEMPTS {
        farm.tell(unusable(hand_out(1, 1, 1, attempt)));
    }
    // What is lost with a slave that is gone is not the subjob's fault.
    farm.lose(1);
    farm.connect("b", "life 1", 1);
    farm.set_up(2, 1)
        .check_facts(&["1 ready on slave 2", "1.1 to slave 2, attempt 6"]);
    farm.setup_failed(2, 1, "its files are gone").check_facts(&[
        "1 not ready on slave 2: its files are gone",
        "1 failed: Subjob 1 (export T=B;) was handed out 6 times and brought no result. \
         The last time: its files are gone.",
    ]);
}

#[test]
fn a_build_is_given_up_when_any_subjob_went_out_too_often() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(Plan {
        expected_ms: vec![5000, 4000],
        ..plan(&["A", "B"])
    });
    farm.set_up(1, 1);
    // The shorter one goes out again and again, to slaves that are stopped in order.
    for slave in 2..=u64::from(MAX_HAND_OUTS) {
        farm.connect("b", &format!("life {slave}"), 1);
        farm.set_up(slave, 1);
        farm.lose(slave);
    }
    farm.lose(1);
    let last = u64::from(MAX_HAND_OUTS) + 1;
    farm.connect("c", "life 1", 2);
    farm.set_up(last, 1);
    let attempts = |farm: &Scenario, subjob: usize| {
        farm.cluster.build(BuildId(1)).unwrap().subjobs[subjob].attempts
    };
    assert_eq!((attempts(&farm, 0), attempts(&farm, 1)), (2, MAX_HAND_OUTS));
    // The longer one, which went out twice only, is the first of those that wait.
    farm.lose(last);
    assert!(
        matches!(farm.state(1), BuildState::Error { .. }),
        "{:?}",
        farm.state(1)
    );
}
