//! Slaves of the original: one build at a time, nothing twice, and words that name no build.

use super::scenario::{Scenario, Turn, big_plan, finished, hand_out, plan};
use crate::actor::Actor;
use crate::command::Command;
use crate::refusal::Refusal;
use crate::slaves::slave::Presence;
use clusterrunner_common::ids::{BuildId, SessionId, SlaveId, SubjobId};
use clusterrunner_common::work::BuildRequest;
use serde_json::json;

fn connect_command(url: &str, session: &str, num_executors: u32) -> Command {
    Command::ConnectLegacySlave {
        url: url.to_owned(),
        session: SessionId(session.to_owned()),
        num_executors,
    }
}

fn connect(farm: &mut Scenario, url: &str, session: &str, num_executors: u32) -> Turn {
    farm.tell(connect_command(url, session, num_executors))
}

fn farm(num_executors: u32) -> Scenario {
    let mut farm = Scenario::default();
    connect(&mut farm, "a", "life 1", num_executors);
    farm
}

/// Which attempt a result counts for that the slave at `url` uploads now.
fn meant(farm: &Scenario, url: &str, build: u64, subjob: u32) -> Option<(u64, u32)> {
    let found = farm
        .cluster
        .legacy_hand_out(url, BuildId(build), SubjobId(subjob));
    let found = found.unwrap().map(|(hand_out, _)| hand_out);
    found.map(|hand_out| (hand_out.slave.0, hand_out.attempt.0))
}

/// It sends a result again until it hears that the result is there. A retry would take the second one for its own.
#[test]
fn what_it_runs_is_not_run_again() {
    let mut farm = farm(1);
    let mut plan = plan(&["x"]);
    plan.retries = 2;
    farm.build(plan);
    farm.set_up(1, 1);
    farm.tell(finished(hand_out(1, 1, 0, 1), &[1]))
        .check_facts(&[
            "1.0 finished by slave 1, attempt 1: [1]",
            "1 archiving",
            "1 off slave 1",
        ]);
    assert_eq!(meant(&farm, "a", 1, 0), None);
}

#[test]
fn it_has_one_build_at_a_time() {
    let mut farm = farm(2);
    farm.build(plan(&["x"]));
    farm.set_up(1, 1)
        .check_facts(&["1 ready on slave 1", "1.0 to slave 1, attempt 1"]);
    // It has a free executor, and the other build must wait all the same.
    farm.build(plan(&["y"]))
        .check_facts(&["2 prepared: 1 subjobs"]);
    farm.finish(hand_out(1, 1, 0, 1)).check_facts(&[
        "1.0 finished by slave 1, attempt 1: [0]",
        "1 archiving",
        "1 off slave 1",
    ]);
    farm.torn_down(1, 1)
        .check_facts(&["1 gone from slave 1", "2 to slave 1 from index 0"]);
}

#[test]
fn it_gives_up_a_build_that_has_nothing_for_it() {
    let mut farm = farm(1);
    connect(&mut farm, "b", "life 1", 1);
    farm.build(big_plan(3, 0, 0));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    farm.build(plan(&["y"]));
    farm.finish(hand_out(2, 1, 1, 1));
    farm.finish(hand_out(2, 1, 2, 1))
        .check_facts(&["1.2 finished by slave 2, attempt 1: [0]", "1 off slave 2"]);
    farm.torn_down(2, 1)
        .check_facts(&["1 gone from slave 2", "2 to slave 2 from index 0"]);
}

#[test]
fn it_is_told_nothing_before_a_set_up_is_over() {
    let mut farm = farm(1);
    farm.build(plan(&["x"]));
    farm.cancel(1).check_facts(&["1 canceled"]);
    farm.build(plan(&["y"]))
        .check_facts(&["2 prepared: 1 subjobs"]);
    farm.set_up(1, 1)
        .check_facts(&["1 ready on slave 1", "1 off slave 1"]);
    farm.torn_down(1, 1)
        .check_facts(&["1 gone from slave 1", "2 to slave 1 from index 0"]);
    farm.shut_down(&[1]).check_facts(&["slave 1 to shut down"]);
    farm.set_up(1, 2)
        .check_facts(&["2 ready on slave 1", "2 off slave 1"]);
}

#[test]
fn a_set_up_that_failed_is_torn_down() {
    let mut farm = farm(1);
    connect(&mut farm, "b", "life 1", 1);
    farm.build(plan(&["x"]));
    // The one that it was not set up on.
    let (tried, other) = if farm.cluster.slave(SlaveId(1)).unwrap().builds.is_empty() {
        (2, 1)
    } else {
        (1, 2)
    };
    let failed = farm.setup_failed(tried, 1, "no make").events.len();
    assert_eq!(failed, 3, "failed here, torn down here, set up there");
    farm.setup_failed(tried, 1, "again").check_nothing();
    farm.torn_down(tried, 1)
        .check_facts(&[&format!("1 gone from slave {tried}")]);
    farm.set_up(other, 1);
    farm.finish(hand_out(other, 1, 0, 1));
}

#[test]
fn a_result_counts_for_what_its_slave_runs() {
    let mut farm = farm(1);
    connect(&mut farm, "b", "life 1", 1);
    farm.build(plan(&["x", "y"]));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    let holder = |farm: &Scenario, subjob| {
        let urls = ["a", "b"].into_iter();
        let mut holders = urls.filter(|url| meant(farm, url, 1, subjob).is_some());
        let holder = holders.next().unwrap();
        assert_eq!(holders.next(), None);
        holder
    };
    let (first, second) = (holder(&farm, 0), holder(&farm, 1));
    assert_ne!(first, second);
    let (slave, attempt) = meant(&farm, first, 1, 0).unwrap();
    // Its slave starts again: what the old life still sends counts for nothing.
    connect(&mut farm, first, "life 2", 1);
    assert_eq!(meant(&farm, first, 1, 0), None);
    farm.set_up(3, 1);
    assert_eq!(meant(&farm, first, 1, 0), Some((3, attempt + 1)));
    assert!(slave < 3);
    farm.finish(hand_out(3, 1, 0, attempt + 1));
    assert_eq!(meant(&farm, first, 1, 0), None);
    let nobody = farm.cluster.legacy_hand_out("c", BuildId(1), SubjobId(0));
    assert_eq!(nobody, Err(Refusal::UnknownAddress("c".to_owned())));
}

#[test]
fn it_takes_no_place_of_one_that_signs() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    let taken = Refusal::AddressTaken("a".to_owned());
    farm.check_refused(connect_command("a", "life 1", 1), &taken);
    assert_eq!(
        farm.cluster.known_legacy_slave(SlaveId(1)),
        Err(Refusal::NotLegacy(SlaveId(1)))
    );
    farm.lose(1);
    connect(&mut farm, "a", "life 1", 1).check(
        &["slave 2, a legacy one, connected: a, life 1, 1 executor"],
        &["open slave 2: a, life 1"],
    );
    // The other way round the signature decides.
    farm.connect("a", "life 2", 1).check_facts(&[
        "slave 2 lost: it was started again",
        "slave 3 connected: a, life 2, 1 executor",
    ]);
}

#[test]
fn a_master_that_starts_anew_does_not_count_on_what_it_has() {
    let mut farm = farm(1);
    farm.build(plan(&["x"]));
    farm.set_up(1, 1);
    connect(&mut farm, "b", "life 1", 1);
    let turn = farm.restart();
    let last = turn.events.len();
    assert_eq!(last, 3, "{turn:?}");
    let first = farm.cluster.slave(SlaveId(1)).unwrap();
    assert!(matches!(first.presence, Presence::Lost { .. }), "{first:?}");
    // The one without work goes on, and has it now.
    assert_eq!(
        farm.cluster.slave(SlaveId(2)).unwrap().presence,
        Presence::Alive
    );
    farm.set_up(2, 1)
        .check_facts(&["1 ready on slave 2", "1.0 to slave 2, attempt 2"]);
}

#[test]
fn it_gets_no_code_that_only_the_master_has() {
    let own = json!({"type": "own", "project": 1});
    let own = Box::new(BuildRequest::from_master(&own).unwrap());
    let by = Actor::SecretHolder;
    let mut farm = farm(1);
    farm.tell(Command::QueueBuild { by, request: own });
    farm.prepared(1, plan(&["x"]))
        .check_facts(&["1 prepared: 1 subjobs"]);
    let turn = farm.connect("b", "life 1", 1);
    turn.check_facts(&[
        "slave 2 connected: b, life 1, 1 executor",
        "1 to slave 2 from index 0",
    ]);
}
