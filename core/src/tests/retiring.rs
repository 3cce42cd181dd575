//! What leaves memory, and what is said of it then.

use super::scenario::{Scenario, Turn, finished, hand_out, plan, stale};
use crate::actor::Actor;
use crate::command::Command;
use crate::refusal::Refusal;
use crate::{FORGOTTEN_AT_A_TIME, LOST_KEPT, SHUT_DOWN_KEPT};
use clusterrunner_common::disk::retention::BuildBounds;
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::time::Duration;

fn kept(farm: &mut Scenario, builds: &[u64]) -> Turn {
    let builds = builds.iter().copied().map(BuildId).collect();
    farm.tell(Command::ReportKept { builds })
}

/// A farm whose build 1 is finished and still set up on slave 1.
fn with_finished_build() -> Scenario {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.finish(hand_out(1, 1, 0, 1));
    farm.archived(1);
    farm
}

#[test]
fn a_build_leaves_when_it_is_over_and_no_slave_has_it() {
    let mut farm = with_finished_build();
    assert_eq!(farm.cluster.retirable().count(), 0);
    kept(&mut farm, &[1]).check_nothing();
    farm.torn_down(1, 1);
    kept(&mut farm, &[1, 7]).check(&["1 retired"], &[]);
    kept(&mut farm, &[1]).check_nothing();
    assert!(farm.cluster.is_ended(BuildId(1)));
    assert_eq!(farm.cluster.build(BuildId(1)), None);
    // What comes too late means no more than before.
    farm.cancel(1).check_nothing();
    farm.set_up(1, 1).check_nothing();
    let late = hand_out(1, 1, 0, 1);
    farm.check_refused(finished(late, &[0]), &stale(late));
    // Its id is taken.
    farm.queue("next").check_facts(&["2 queued", "2 preparing"]);
    assert!(!farm.cluster.is_forgotten(BuildId(1)));
    assert!(!farm.cluster.is_forgotten(BuildId(3)));
}

#[test]
fn a_build_that_is_not_over_stays() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1)]);
    farm.build(plan(&["A"]));
    kept(&mut farm, &[1]).check_nothing();
    let build = BuildId(2);
    farm.check_refused(
        Command::CancelBuild {
            by: Actor::SecretHolder,
            build,
        },
        &Refusal::UnknownBuild(build),
    );
}

#[test]
fn results_name_their_slave_when_it_is_forgotten() {
    let mut farm = with_finished_build();
    farm.lose(1);
    farm.wait(LOST_KEPT);
    farm.tell(Command::ForgetSlaves)
        .check(&["slave 1 forgotten"], &[]);
    assert_eq!(farm.cluster.slave(SlaveId(1)), None);
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(build.slave_urls[&SlaveId(1)], "a:1");
    farm.connect("b:1", "life 1", 1)
        .check_facts(&["slave 2 connected: b:1, life 1, 1 executor"]);
}

#[test]
fn slaves_that_are_of_use_stay() {
    let mut farm = Scenario::with_slaves(&[("a:1", 1), ("b:1", 1), ("c:1", 1)]);
    farm.lose(2);
    farm.shut_down(&[3]);
    farm.wait(LOST_KEPT - Duration::from_secs(1));
    farm.tell(Command::ForgetSlaves).check_nothing();
    // A registration that another one took the place of goes at once.
    farm.connect("a:1", "life 2", 1);
    farm.tell(Command::ForgetSlaves)
        .check(&["slave 1 forgotten"], &[]);
}

#[test]
fn those_that_were_shut_down_do_not_gather_for_ever() {
    let mut farm = Scenario::default();
    for number in 0..=SHUT_DOWN_KEPT as u64 {
        farm.connect(&format!("s:{number}"), "life 1", 1);
        farm.lose(number + 1);
        farm.shut_down(&[number + 1]);
    }
    farm.tell(Command::ForgetSlaves)
        .check(&["slave 1 forgotten"], &[]);
}

fn day(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

/// Builds that are put away, one each day.
fn with_ended(number: u64) -> Scenario {
    let mut farm = Scenario::default();
    for id in 1..=number {
        farm.queue("project");
        farm.cancel(id);
        kept(&mut farm, &[id]).check_facts(&[&format!("{id} retired")]);
        farm.wait(day(1));
    }
    farm
}

fn forget(farm: &mut Scenario, bounds: BuildBounds, sizes: &[(u64, u64)]) -> Turn {
    let sizes = sizes
        .iter()
        .map(|(id, size)| (BuildId(*id), *size))
        .collect();
    farm.tell(Command::ForgetBuilds { bounds, sizes })
}

fn number(number: u64) -> BuildBounds {
    BuildBounds {
        max_number: Some(number),
        ..BuildBounds::default()
    }
}

fn bytes(bytes: u64) -> BuildBounds {
    BuildBounds {
        max_bytes: Some(bytes),
        ..BuildBounds::default()
    }
}

#[test]
fn builds_beyond_a_bound_go_oldest_first() {
    let mut farm = with_ended(4);
    let age = |days| BuildBounds {
        max_age: Some(day(days)),
        ..BuildBounds::default()
    };
    forget(&mut farm, BuildBounds::default(), &[(1, u64::MAX)]).check_nothing();
    forget(&mut farm, age(5), &[]).check_nothing();
    forget(&mut farm, age(4), &[]).check(&["1 forgotten: Age"], &["remove 1"]);
    forget(&mut farm, number(3), &[]).check_nothing();
    forget(&mut farm, number(2), &[]).check(&["2 forgotten: Number"], &["remove 2"]);
    let sizes = [(2, 1000), (3, 10), (4, 20)];
    forget(&mut farm, bytes(30), &sizes).check_nothing();
    forget(&mut farm, bytes(29), &sizes).check(&["3 forgotten: Bytes"], &["remove 3"]);
    // The last one stays: somebody may wait for it.
    forget(&mut farm, bytes(1), &sizes).check_nothing();
    forget(&mut farm, number(0), &[]).check(&["4 forgotten: Number"], &["remove 4"]);
    assert_eq!(farm.cluster.all_builds().count(), 0);
    farm.queue("next").check_facts(&["5 queued", "5 preparing"]);
}

#[test]
fn a_forgotten_build_is_asked_for_until_it_is_cleared() {
    let mut farm = with_ended(1);
    let build = BuildId(1);
    forget(&mut farm, number(0), &[]).check(&["1 forgotten: Number"], &["remove 1"]);
    assert!(farm.cluster.is_forgotten(build));
    farm.restart().check(&["master started"], &["remove 1"]);
    assert_eq!(farm.replayed(), farm.cluster);
    farm.tell(Command::ReportCleared { build })
        .check(&["1 cleared"], &[]);
    farm.tell(Command::ReportCleared { build }).check_nothing();
    farm.restart().check(&["master started"], &[]);
    // Whoever comes too late is told.
    let late = hand_out(1, 1, 0, 1);
    farm.check_refused(finished(late, &[0]), &stale(late));
    farm.check_refused(
        Command::CancelBuild {
            by: Actor::SecretHolder,
            build,
        },
        &Refusal::ForgottenBuild(build),
    );
}

#[test]
fn builds_that_are_not_put_away_are_never_forgotten() {
    let mut farm = with_finished_build();
    farm.queue("waits");
    forget(&mut farm, number(0), &[]).check_nothing();
    farm.torn_down(1, 1);
    forget(&mut farm, number(0), &[]).check_nothing();
    kept(&mut farm, &[1]);
    forget(&mut farm, number(0), &[]).check_facts(&["1 forgotten: Number"]);
}

#[test]
fn many_builds_go_a_few_at_a_time() {
    let mut farm = with_ended(FORGOTTEN_AT_A_TIME as u64 + 1);
    let turn = forget(&mut farm, number(0), &[]);
    assert_eq!(turn.events.len(), FORGOTTEN_AT_A_TIME);
    let turn = forget(&mut farm, number(0), &[]);
    assert_eq!(turn.events.len(), 1);
}
