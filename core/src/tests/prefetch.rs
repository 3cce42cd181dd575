//! What waits on slaves.

use super::scenario::{Scenario, big_plan, hand_out, unusable};
use crate::MAX_HAND_OUTS;
use crate::builds::build::Build;
use crate::builds::hand_out::HandOut;
use crate::builds::outcome::AtomOutcome;
use crate::builds::plan::Plan;
use crate::command::Command;
use crate::event::{BuildFact, Fact};
use crate::slaves::slave::BuildOnSlave;
use clusterrunner_common::ids::{BuildId, SlaveId};

/// A plan with so many atoms that are expected to take so long each.
fn expected(num_atoms: u32, milliseconds: u64) -> Plan {
    Plan {
        expected_ms: vec![milliseconds; num_atoms as usize],
        ..big_plan(num_atoms, 0, 0)
    }
}

fn held(farm: &Scenario, slave: u64, build: u64) -> usize {
    let slave = farm.cluster.slave(SlaveId(slave)).unwrap();
    slave.num_running(BuildId(build))
}

/// A result that took so long.
fn finish_in(farm: &mut Scenario, hand_out: HandOut, duration_ms: u64) {
    let outcome = AtomOutcome {
        exit_code: 0,
        duration_ms,
        trouble: None,
        started_at: None,
        usage: None,
    };
    let outcomes = vec![outcome];
    farm.tell(Command::ReportFinished {
        hand_out,
        executor: None,
        outcomes,
    });
}

fn ready(plan: Plan) -> Scenario {
    let mut farm = Scenario::with_slaves(&[("a", 2)]);
    farm.build(plan);
    farm.set_up(1, 1);
    farm
}

#[test]
fn as_much_waits_as_hides_a_round_trip_and_no_more() {
    // By number: hundreds of a millisecond, some of 100 ms, one of a second, none of a minute.
    for (milliseconds, least, most) in [(1, 300, 514), (100, 4, 8), (1000, 3, 3), (60_000, 2, 2)] {
        let held = held(&ready(expected(5000, milliseconds)), 1, 1);
        assert!((least..=most).contains(&held), "{milliseconds} ms: {held}");
    }
}

#[test]
fn what_waits_on_a_slave_is_not_shown_as_running() {
    let farm = ready(expected(1000, 100));
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert!(held(&farm, 1, 1) > 2);
    assert_eq!(build.num_atoms_in_progress(), 2);
    assert_eq!(build.left_ms(|_, _| 0), Some(50_000));
}

#[test]
fn nothing_waits_where_nothing_is_known_until_something_ended() {
    let mut farm = ready(big_plan(1000, 0, 0));
    assert_eq!(held(&farm, 1, 1), 2);
    finish_in(&mut farm, hand_out(1, 1, 0, 1), 1);
    assert!(held(&farm, 1, 1) > 50);
}

#[test]
fn what_waits_tapers_off_to_nothing() {
    let mut farm = ready(expected(40, 10));
    let mut least = usize::MAX;
    for subjob in 0..40 {
        finish_in(&mut farm, hand_out(1, 1, subjob, 1), 10);
        let build = farm.cluster.build(BuildId(1)).unwrap();
        let left = build.num_unstarted();
        let held = held(&farm, 1, 1);
        // Half of what is left, or 100 ms for each executor: as much as a round trip covers.
        assert!(held <= 2 + (left / 2).max(20) + 1, "{held} of {left}");
        least = least.min(held);
    }
    assert_eq!(least, 0);
}

#[test]
fn the_last_ones_go_round_evenly() {
    let mut farm = Scenario::with_slaves(&[("a", 2), ("b", 2)]);
    farm.build(expected(40, 10));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    let held = [held(&farm, 1, 1), held(&farm, 2, 1)];
    assert_eq!(held.iter().sum::<usize>(), 40, "{held:?}");
    assert!(held.iter().all(|held| (18..=22).contains(held)), "{held:?}");
}

#[test]
fn what_was_lost_with_a_slave_waits_on_none() {
    let mut farm = ready(expected(1000, 1));
    let before = held(&farm, 1, 1);
    farm.die(1);
    farm.connect("b", "life 1", 2);
    farm.set_up(2, 1);
    assert_eq!(held(&farm, 2, 1), 2, "only on free executors");
    let suspects = |build: &Build| {
        let subjobs = build.subjobs.iter();
        subjobs.filter(|subjob| subjob.is_suspect()).count()
    };
    farm.die(2);
    assert_eq!(suspects(farm.cluster.build(BuildId(1)).unwrap()), 2);
    // Those that were lost twice run alone; once the others are through, all goes on as before.
    farm.connect("c", "life 1", 2);
    farm.connect("d", "life 1", 2);
    farm.set_up(3, 1);
    farm.set_up(4, 1);
    for _ in 0..before + 10 {
        let running = farm.cluster.build(BuildId(1)).unwrap().progress().unwrap();
        let (subjob, (slave, attempt)) = running.running.first_key_value().unwrap();
        let done = hand_out(slave.0, 1, subjob.0, attempt.0);
        finish_in(&mut farm, done, 1);
    }
    assert!(held(&farm, 3, 1).max(held(&farm, 4, 1)) > 10);
}

#[test]
fn what_could_not_be_used_waits_on_none() {
    let mut farm = ready(expected(1000, 1));
    let before = held(&farm, 1, 1);
    // There is no other slave: it goes there again, once an executor is free.
    farm.tell(unusable(hand_out(1, 1, 5, 1)));
    assert_eq!(held(&farm, 1, 1), before - 1);
    for subjob in (0..before).filter(|subjob| *subjob != 5) {
        let subjob = u32::try_from(subjob).unwrap();
        finish_in(&mut farm, hand_out(1, 1, subjob, 1), 1);
        let build = farm.cluster.build(BuildId(1)).unwrap();
        if build.subjobs[5].attempts == 2 {
            return;
        }
        assert!(held(&farm, 1, 1) < before);
    }
    panic!("it was not handed out again");
}

#[test]
fn nothing_waits_on_a_slave_of_the_original() {
    let mut farm = Scenario::default();
    farm.tell(Command::ConnectLegacySlave {
        url: "a".to_owned(),
        session: clusterrunner_common::ids::SessionId("life 1".to_owned()),
        num_executors: 2,
    });
    farm.build(expected(1000, 1));
    farm.set_up(1, 1);
    assert_eq!(held(&farm, 1, 1), 2);
}

#[test]
fn limits_hold_for_what_waits() {
    for (most, per_slave, expected_held) in [(1, 0, 1), (2, 0, 2), (0, 1, 1)] {
        let plan = Plan {
            expected_ms: vec![1; 1000],
            ..big_plan(1000, most, per_slave)
        };
        assert_eq!(held(&ready(plan), 1, 1), expected_held);
    }
}

/// Of a build that comes later something starts as soon as an executor is free.
#[test]
fn a_small_build_goes_before_what_waits_of_a_huge_one() {
    let mut farm = ready(expected(5000, 1));
    let before = held(&farm, 1, 1);
    farm.build(expected(3, 1));
    finish_in(&mut farm, hand_out(1, 1, 0, 1), 1);
    farm.set_up(1, 2);
    assert!(held(&farm, 1, 2) >= 1, "slaves take it first");
    assert_eq!(held(&farm, 1, 1), before);
    let executors = |build| farm.cluster.build(BuildId(build)).unwrap().num_executors();
    assert_eq!((executors(1), executors(2)), (1, 1));
}

/// In virtual time: the slave takes from whichever build has the fewest running, as slaves do, and its two
/// executors end an atom every 100 ms.
#[test]
fn a_small_build_behind_a_huge_one_waits_for_one_atom_and_the_window_at_most() {
    let mut farm = ready(expected(5000, 100));
    let (mut heard, mut waiting, mut running) = (0, Vec::new(), Vec::<HandOut>::new());
    let mut since = None;
    for now in (0..).step_by(100) {
        for done in std::mem::take(&mut running) {
            finish_in(&mut farm, done, 100);
        }
        if now == 1000 {
            farm.build(expected(3, 100));
            since = Some(now);
        }
        // Whoever is busy is asked when an executor of it is free.
        let slave = farm.cluster.slave(SlaveId(1)).unwrap();
        let place = slave.builds.get(&BuildId(2));
        if matches!(place, Some(BuildOnSlave::SettingUp { .. })) {
            farm.set_up(1, 2);
        }
        for event in &farm.journal[heard..] {
            if let Fact::Build(
                build,
                BuildFact::SubjobHandedOut {
                    subjob, attempt, ..
                },
            ) = event.fact
            {
                waiting.push(hand_out(1, build.0, subjob.0, attempt.0));
            }
        }
        heard = farm.journal.len();
        // The newest build first: nothing of it runs.
        waiting.sort_by_key(|one: &HandOut| (std::cmp::Reverse(one.build), one.subjob));
        running = waiting.drain(..2.min(waiting.len())).collect();
        if running.iter().any(|one| one.build == BuildId(2)) {
            assert!(since.is_some_and(|since| now - since <= 100 + 250));
            return;
        }
        assert!(
            since.is_none_or(|since| now - since <= 100 + 250),
            "at {now} ms"
        );
        farm.wait(std::time::Duration::from_millis(100));
    }
}

/// Also one whose atoms are long, though none of them waits anywhere.
#[test]
fn long_atoms_go_before_what_waits_of_another_build() {
    let mut farm = ready(expected(5000, 1));
    farm.build(expected(3, 60_000));
    finish_in(&mut farm, hand_out(1, 1, 0, 1), 1);
    farm.set_up(1, 2);
    for subjob in 1..20 {
        finish_in(&mut farm, hand_out(1, 1, subjob, 1), 1);
        assert_eq!(held(&farm, 1, 2), 1, "its share, and nothing that waits");
    }
}

/// Where nothing can wait because every executor is busy for long, a build waits for any slave.
#[test]
fn nobody_waits_behind_atoms_that_are_long() {
    let mut farm = ready(expected(50, 60_000));
    farm.build(expected(300, 1));
    farm.finish(hand_out(1, 1, 0, 1));
    farm.set_up(1, 2);
    assert_eq!((held(&farm, 1, 1), held(&farm, 1, 2)), (2, 0));
    farm.connect("b", "life 1", 1);
    farm.set_up(2, 2);
    assert!(held(&farm, 2, 2) > 1);
}

#[test]
fn executors_are_shared_by_weight() {
    let weighted = |weight| Plan {
        weight: std::num::NonZeroU32::new(weight),
        ..big_plan(100, 0, 0)
    };
    let mut farm = Scenario::with_slaves(&[("a", 8)]);
    farm.build(weighted(1));
    farm.build(weighted(3));
    farm.set_up(1, 1);
    farm.set_up(1, 2);
    for subjob in 0..8 {
        farm.finish(hand_out(1, 1, subjob, 1));
        if farm.cluster.build(BuildId(2)).unwrap().num_running() == 6 {
            break;
        }
    }
    farm.check_running(&[2, 6]);
}

#[test]
fn a_build_is_not_set_up_where_it_would_be_done_before_that() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(expected(12, 3000));
    farm.wait(std::time::Duration::from_secs(20));
    farm.set_up(1, 1);
    let is_asked = |farm: &mut Scenario, url| {
        let turn = farm.connect(url, "life 1", 1);
        let mut facts = turn.events.iter().map(|event| &event.fact);
        facts.any(|fact| matches!(fact, Fact::Build(_, BuildFact::SetupRequested { .. })))
    };
    assert!(is_asked(&mut farm, "b"), "33 s are left, a set-up takes 20");
    for subjob in 0..5 {
        finish_in(&mut farm, hand_out(1, 1, subjob, 1), 3000);
    }
    assert!(!is_asked(&mut farm, "c"), "18 s are left");
}

/// What only waited on slaves that were stopped in order is nobody's fault; yet it does not wait for ever.
#[test]
fn what_waited_on_slaves_that_were_stopped_waits_a_few_times_and_the_build_ends() {
    let mut farm = Scenario::default();
    farm.build(expected(1000, 1));
    let mut slave = 0;
    while !farm.cluster.build(BuildId(1)).unwrap().is_over() {
        slave += 1;
        farm.connect("a", &format!("life {slave}"), 2);
        farm.set_up(slave, 1);
        if slave > 5 {
            assert_eq!(held(&farm, slave, 1), 2, "only on free executors");
        }
        farm.lose(slave);
        let build = farm.cluster.build(BuildId(1)).unwrap();
        assert!(build.subjobs.iter().all(|s| s.attempts <= MAX_HAND_OUTS));
        assert!(!build.subjobs.iter().any(|s| s.is_suspect()));
    }
    assert_eq!(slave, u64::from(MAX_HAND_OUTS));
}

/// The same plan of a job whose slaves run many atoms in one process.
fn batched(plan: Plan) -> Plan {
    Plan {
        batch_command: Some("run $ATOMS".to_owned()),
        ..plan
    }
}

#[test]
fn the_only_slave_has_all_that_goes_into_its_batches() {
    // Where nothing is known yet the slave gets no more than if each took a second.
    assert_eq!(held(&ready(batched(big_plan(200, 0, 0))), 1, 1), 62);
    assert_eq!(held(&ready(batched(expected(200, 40))), 1, 1), 200);
    // Half a minute for each executor, and what they run at once.
    let farm = ready(batched(expected(200, 1_000)));
    assert_eq!(held(&farm, 1, 1), 61);
}

#[test]
fn slaves_leave_each_other_enough_to_make_batches_of() {
    let mut farm = Scenario::with_slaves(&[("a", 2), ("b", 2)]);
    farm.build(batched(expected(400, 100)));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    let (one, other) = (held(&farm, 1, 1), held(&farm, 2, 1));
    assert!(one + other < 400, "{one} {other}");
    assert!(one > 100 && other > 40, "{one} {other}");
}

#[test]
fn what_failed_before_shares_no_process() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(Plan {
        retries: 1,
        ..batched(expected(2, 10))
    });
    farm.set_up(1, 1);
    let build = |farm: &Scenario| farm.cluster.build(BuildId(1)).unwrap().clone();
    let terms = |farm: &Scenario, subjob| build(farm).batch_terms(subjob);
    let first = clusterrunner_common::ids::SubjobId(0);
    assert_eq!(terms(&farm, first).unwrap().expected_ms, Some(10));
    let outcome = AtomOutcome {
        exit_code: 1,
        duration_ms: 10,
        trouble: None,
        started_at: None,
        usage: None,
    };
    farm.tell(Command::ReportFinished {
        hand_out: hand_out(1, 1, 0, 1),
        executor: None,
        outcomes: vec![outcome],
    });
    assert_eq!(terms(&farm, first), None);
    let plain = ready(expected(2, 10));
    assert_eq!(terms(&plain, first), None);
}
