//! Slaves that come, go, fail, and a master that comes back.

use super::scenario::{Scenario, big_plan, finished, hand_out, plan, stale};
use crate::builds::build::BuildState;
use crate::command::Command;
use crate::refusal::Refusal;
use crate::slaves::slave::Presence;
use crate::{MAX_SETUPS, SLAVE_RETURN};
use clusterrunner_common::ids::{BuildId, SessionId, SlaveId};

#[test]
fn connecting_again_in_the_same_life_changes_nothing() {
    let mut farm = Scenario::default();
    farm.connect("a", "life 1", 2).check(
        &["slave 1 connected: a, life 1, 2 executors"],
        &["open slave 1: a, life 1"],
    );
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.connect("a", "life 1", 2).check_nothing();
    farm.check_running(&[1]);
}

#[test]
fn a_slave_that_never_heard_of_its_registration_has_nothing_of_it() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.connect_as("a", "life 1", 1, None).check_facts(&[
        "slave 1 lost: it connected anew",
        "slave 2 connected: a, life 1, 1 executor",
        "1 to slave 2 from index 1",
    ]);
}

#[test]
fn a_slave_that_was_started_again_has_lost_what_it_ran() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(big_plan(3, 0, 0));
    farm.set_up(1, 1);
    farm.finish(hand_out(1, 1, 0, 1));
    farm.connect("a", "life 2", 2).check(
        &[
            "slave 1 lost: it was started again",
            "1.1 suspected: slave 1 was lost while it ran this subjob",
            "1.2 suspected: slave 1 was lost while it ran this subjob",
            "slave 2 connected: a, life 2, 2 executors",
            "1 to slave 2 from index 2",
        ],
        &[
            "close slave 1",
            "open slave 2: a, life 2",
            "slave 2: set up 1 from index 2",
        ],
    );
    farm.set_up(2, 1).check(
        &[
            "1 ready on slave 2",
            "1.1 to slave 2, attempt 2",
            "1.2 to slave 2, attempt 2",
        ],
        &[
            "slave 2: start 1.1, attempt 2",
            "slave 2: start 1.2, attempt 2",
        ],
    );
    let late = hand_out(1, 1, 1, 1);
    farm.check_refused(finished(late, &[0]), &stale(late));
    // What it finished before counts, and may be said again.
    farm.finish(hand_out(1, 1, 0, 1)).check_nothing();
    let shown: Vec<SlaveId> = farm.cluster.slaves().map(|slave| slave.id).collect();
    assert_eq!(shown, [SlaveId(2)]);
}

#[test]
fn another_number_of_executors_is_another_life() {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.connect("a", "life 1", 3).check_facts(&[
        "slave 1 lost: it connected anew",
        "slave 2 connected: a, life 1, 3 executors",
    ]);
}

#[test]
fn work_of_a_lost_slave_goes_to_another_one() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(2, 0, 0));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    farm.finish(hand_out(2, 1, 1, 1))
        .check_facts(&["1.1 finished by slave 2, attempt 1: [0]"]);
    farm.lose(1).check(
        &["slave 1 lost: silent", "1.0 to slave 2, attempt 2"],
        &["close slave 1", "slave 2: start 1.0, attempt 2"],
    );
    farm.lose(1).check_nothing();
    let build = farm.cluster.build(BuildId(1)).unwrap();
    let warning = "slave a was lost: silent; 1 atom that it had is run again";
    assert_eq!(build.warnings, [warning]);
    let subjob = &build.subjobs[0];
    let reason = "slave a was lost: silent";
    assert_eq!(subjob.mishaps().last_return.as_deref(), Some(reason));
    let warnings = &farm.cluster.build(BuildId(1)).unwrap().warnings;
    assert_eq!(
        *warnings,
        [format!("{reason}; 1 atom that it had is run again")]
    );
    let late = hand_out(1, 1, 0, 1);
    farm.check_refused(finished(late, &[0]), &stale(late));
    farm.finish(hand_out(2, 1, 0, 2)).check_facts(&[
        "1.0 finished by slave 2, attempt 2: [0]",
        "1 archiving",
        "1 off slave 2",
    ]);
}

#[test]
fn a_slave_that_was_given_up_must_connect_again() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.lose(1)
        .check(&["slave 1 lost: silent"], &["close slave 1"]);
    let presence = &farm.cluster.slave(SlaveId(1)).unwrap().presence;
    assert!(matches!(presence, Presence::Lost { reason, .. } if reason == "silent"));
    let report = Command::ReportSetUp {
        slave: SlaveId(1),
        session: SessionId("life 1".to_owned()),
        build: BuildId(1),
    };
    farm.check_refused(report, &Refusal::UnknownSlave(SlaveId(1)));
    farm.connect("a", "life 1", 1).check(
        &[
            "slave 2 connected: a, life 1, 1 executor",
            "1 to slave 2 from index 1",
        ],
        &["open slave 2: a, life 1", "slave 2: set up 1 from index 1"],
    );
}

#[test]
fn a_report_of_another_life_is_refused() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    let session = SessionId("life 0".to_owned());
    let (slave, build) = (SlaveId(1), BuildId(1));
    let expired = Refusal::SessionExpired(session.clone());
    let failed = Command::ReportSetupFailed {
        slave,
        session: session.clone(),
        build,
        reason: "late".to_owned(),
    };
    farm.check_refused(failed, &expired);
    let set_up = |slave, build| Command::ReportSetUp {
        slave,
        session: session.clone(),
        build,
    };
    farm.check_refused(set_up(slave, build), &expired);
    farm.check_refused(
        set_up(SlaveId(9), build),
        &Refusal::UnknownSlave(SlaveId(9)),
    );
    let unknown = BuildId(9);
    farm.check_refused(set_up(slave, unknown), &Refusal::UnknownBuild(unknown));
}

#[test]
fn where_one_slave_can_not_set_up_the_others_go_on() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(2, 0, 0));
    farm.set_up(1, 1);
    farm.setup_failed(2, 1, "no compiler").check_facts(&[
        "1 not ready on slave 2: no compiler",
        "slave 2 quarantined: it could not set up build 1, but other slaves could: no compiler",
    ]);
    farm.setup_failed(2, 1, "no compiler").check_nothing();
    farm.finish(hand_out(1, 1, 0, 1));
    farm.finish(hand_out(1, 1, 1, 1)).check_facts(&[
        "1.1 finished by slave 1, attempt 1: [0]",
        "1 archiving",
        "1 off slave 1",
    ]);
}

#[test]
fn a_build_that_no_living_slave_can_set_up_fails_with_every_reason() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(2, 0, 0));
    farm.setup_failed(1, 1, "no compiler")
        .check_facts(&["1 not ready on slave 1: no compiler"]);
    farm.setup_failed(2, 1, "disk full").check(
        &[
            "1 not ready on slave 2: disk full",
            "1 failed: No slave could set this build up. a: no compiler\nb: disk full",
        ],
        &["abandon 1"],
    );
}

#[test]
fn a_hopeless_build_waits_a_while_for_a_lost_slave_that_could_help() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(2, 0, 0));
    farm.setup_failed(1, 1, "no compiler");
    farm.lose(2).check_facts(&["slave 2 lost: silent"]);
    farm.wait(SLAVE_RETURN / 2).check_nothing();
    farm.connect("b", "life 2", 1).check_facts(&[
        "slave 3 connected: b, life 2, 1 executor",
        "1 to slave 3 from index 2",
    ]);
    farm.lose(3);
    farm.wait(SLAVE_RETURN).check_facts(&[
        "1 failed: No slave could set this build up. a: no compiler\nb: it was lost while it set the build up: silent",
    ]);
}

#[test]
fn a_set_up_that_takes_its_slave_down_each_time_is_given_up() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    for life in 1..=MAX_SETUPS {
        assert!(matches!(farm.state(1), BuildState::Building(_)));
        farm.lose(u64::from(life));
        farm.connect("a", &format!("life {}", life + 1), 1);
    }
    let state = farm.state(1);
    assert!(matches!(state, BuildState::Error { reason } if reason.contains("it was lost while")));
}

#[test]
fn a_build_waits_while_there_is_no_slave() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.build(plan(&["B"]));
    farm.lose(1).check_facts(&["slave 1 lost: silent"]);
    assert!(matches!(farm.state(1), BuildState::Building(_)));
    farm.connect("b", "life 1", 1).check_facts(&[
        "slave 2 connected: b, life 1, 1 executor",
        "1 to slave 2 from index 1",
        "2 to slave 2 from index 1",
    ]);
}

#[test]
fn a_slave_that_failed_is_asked_again_after_a_restart_only() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(2, 0, 0));
    farm.setup_failed(1, 1, "no compiler")
        .check_facts(&["1 not ready on slave 1: no compiler"]);
    farm.connect("a", "life 2", 1).check_facts(&[
        "slave 1 lost: it was started again",
        "slave 3 connected: a, life 2, 1 executor",
        "1 to slave 3 from index 2",
    ]);
}

#[test]
fn a_slave_that_loses_a_build_gives_its_subjobs_back() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 2)]);
    farm.build(big_plan(3, 0, 0));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    farm.tell(Command::ReportRefusal {
        slave: SlaveId(2),
        build: BuildId(1),
        reason: "not set up".to_owned(),
    })
    .check_facts(&["1 not ready on slave 2: not set up"]);
    farm.check_running(&[1]);
    farm.finish(hand_out(1, 1, 0, 1)).check_facts(&[
        "1.0 finished by slave 1, attempt 1: [0]",
        "1.1 to slave 1, attempt 2",
    ]);
}

#[test]
fn a_refused_tear_down_counts_as_done() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.cancel(1);
    let refusal = Command::ReportRefusal {
        slave: SlaveId(1),
        build: BuildId(1),
        reason: "unknown build".to_owned(),
    };
    farm.tell(refusal.clone())
        .check(&["1 gone from slave 1"], &[]);
    farm.tell(refusal).check_nothing();
    assert!(farm.cluster.slave(SlaveId(1)).unwrap().builds.is_empty());
}

#[test]
fn a_slave_lost_while_it_tears_down_is_not_waited_for() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.cancel(1);
    farm.connect("a", "life 2", 1).check(
        &[
            "slave 1 lost: it was started again",
            "slave 2 connected: a, life 2, 1 executor",
        ],
        &["close slave 1", "open slave 2: a, life 2"],
    );
    farm.torn_down(1, 1).check_nothing();
}

#[test]
fn a_master_that_starts_asks_again_for_what_is_under_way() {
    let mut farm = Scenario::with_slaves(&[("a", 2), ("b", 2), ("gone", 1)]);
    farm.lose(3);
    farm.build(big_plan(3, 0, 0)); // 1: runs on a, is being set up on b
    farm.set_up(1, 1);
    farm.build(plan(&[])); // 2: being archived
    farm.queue("p"); // 3: being prepared
    farm.queue("p"); // 4: waits for 3
    farm.build(plan(&["A"])); // 5: canceled, being torn down
    farm.cancel(5);
    farm.build(plan(&[])); // 6: over
    farm.archived(6);
    let before = farm.cluster.clone();

    farm.cluster = farm.replayed();
    assert_eq!(farm.cluster, before);
    farm.restart().check(
        &["master started", "3 preparing"],
        &[
            "open slave 1: a, life 1",
            "open slave 2: b, life 1",
            "slave 2: set up 1 from index 0",
            "slave 2: tear down 5",
            "slave 1: start 1.0, attempt 1",
            "slave 1: start 1.1, attempt 1",
            "archive 2: [], failed []",
            "prepare 3",
        ],
    );
    // What was under way goes on as if nothing had been.
    farm.finish(hand_out(1, 1, 0, 1)).check_facts(&[
        "1.0 finished by slave 1, attempt 1: [0]",
        "1.2 to slave 1, attempt 1",
    ]);
}

#[test]
fn a_master_that_starts_with_nothing_under_way_asks_for_nothing() {
    let mut farm = Scenario::default();
    farm.restart().check(&["master started"], &[]);
}
