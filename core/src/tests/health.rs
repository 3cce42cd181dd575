//! Slaves that are sick or drained, and subjobs that take their slaves down.

mod retried;
mod suspects;

use super::scenario::{Scenario, big_plan, finished, hand_out, plan, unusable};
use crate::actor::Actor;
use crate::builds::build::BuildState;
use crate::builds::outcome::AtomTrouble;
use crate::builds::subjob::POISON_EXIT_CODE;
use crate::command::Command;
use crate::refusal::Refusal;
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::time::Duration;

fn quarantine(farm: &Scenario, slave: u64) -> Option<&str> {
    let slave = farm.cluster.slave(SlaveId(slave)).unwrap();
    slave.quarantine.as_deref()
}

#[track_caller]
fn check_well(farm: &Scenario) {
    for slave in farm.cluster.slaves() {
        assert_eq!(slave.quarantine, None, "{slave:?}");
    }
}

#[test]
fn a_slave_is_blamed_for_a_set_up_that_others_could_do_before_or_after() {
    for is_first in [true, false] {
        let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
        farm.build(big_plan(2, 0, 0));
        if is_first {
            farm.setup_failed(2, 1, "no compiler");
            check_well(&farm);
            farm.set_up(1, 1);
        } else {
            farm.set_up(1, 1);
            farm.setup_failed(2, 1, "no compiler");
        }
        let reason = "it could not set up build 1, but other slaves could: no compiler";
        assert_eq!(quarantine(&farm, 2), Some(reason));
        assert_eq!(quarantine(&farm, 1), None);
        farm.build(big_plan(2, 0, 0));
        let on_sick = &farm.cluster.slave(SlaveId(2)).unwrap().builds;
        assert!(on_sick.is_empty(), "{on_sick:?}");
        farm.check_snapshots();
    }
}

#[test]
fn a_slave_that_is_not_given_the_secrets_of_a_build_is_not_blamed() {
    for is_first in [true, false] {
        let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
        farm.build(big_plan(2, 0, 0));
        let withhold = Command::Withhold {
            slave: SlaveId(2),
            build: BuildId(1),
            reason: "no HTTPS".to_owned(),
        };
        if is_first {
            farm.tell(withhold);
            farm.set_up(1, 1);
        } else {
            farm.set_up(1, 1);
            farm.tell(withhold);
        }
        check_well(&farm);
        // It is not tried again.
        let build = farm.cluster.build(BuildId(1)).unwrap();
        assert!(!build.may_be_set_up_by(farm.cluster.slave(SlaveId(2)).unwrap()));
        farm.check_snapshots();
    }
}

#[test]
fn a_build_that_nobody_can_set_up_is_its_own_fault() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1), ("c", 1)]);
    farm.build(big_plan(3, 0, 0));
    for slave in 1..=3 {
        farm.setup_failed(slave, 1, "exit code 1");
    }
    assert!(matches!(farm.state(1), BuildState::Error { .. }));
    check_well(&farm);
}

#[test]
fn a_build_does_not_wait_for_a_drained_slave_where_all_others_failed() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.drain(2);
    farm.build(big_plan(3, 0, 0));
    farm.setup_failed(1, 1, "exit code 1");
    assert!(matches!(farm.state(1), BuildState::Error { .. }));
}

#[test]
fn a_build_that_most_can_not_set_up_is_its_own_fault() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1), ("c", 1)]);
    farm.build(big_plan(3, 0, 0));
    farm.setup_failed(1, 1, "exit code 1");
    farm.setup_failed(2, 1, "exit code 1");
    farm.set_up(3, 1);
    check_well(&farm);
}

#[test]
fn a_slave_that_set_builds_up_is_not_blamed_for_a_single_one() {
    let mut farm = Scenario::with_slaves(&[("a", 9), ("b", 9)]);
    farm.build(big_plan(18, 0, 0));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    farm.cancel(1);
    farm.torn_down(1, 1);
    farm.torn_down(2, 1);
    for build in 2..=4 {
        assert_eq!(quarantine(&farm, 2), None);
        farm.build(big_plan(18, 0, 0));
        farm.set_up(1, build);
        farm.setup_failed(2, build, "disk full");
        farm.cancel(build);
        farm.torn_down(1, build);
    }
    let reason = "it could not set up builds 2, 3, 4, but other slaves could: disk full";
    assert_eq!(quarantine(&farm, 2), Some(reason));
}

/// Slave 1 passes or fails what it has of build 1, slave 2 fails what it has.
fn run_both(farm: &mut Scenario, rounds: u32, exit_code_of_first: i32) {
    for _ in 0..rounds {
        for (slave, exit_code) in [(1, exit_code_of_first), (2, 1)] {
            let build = farm.cluster.build(BuildId(1)).unwrap();
            let held = build.held_by(SlaveId(slave));
            if let Some(subjob) = held.first() {
                let attempt = build.subjob(*subjob).unwrap().attempts;
                let hand_out = hand_out(slave, 1, subjob.0, attempt);
                farm.tell(finished(hand_out, &[exit_code]));
            }
        }
    }
}

/// Slave 1 passes what it has, slave 2 fails what it has, until that is sick.
fn farm_with_black_hole() -> Scenario {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(40, 0, 0));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    run_both(&mut farm, 16, 0);
    farm
}

#[test]
fn a_slave_on_which_everything_fails_while_others_pass_is_sick() {
    let mut farm = farm_with_black_hole();
    let reason = "its last 5 results all failed while others passed 3 of the same atoms";
    assert_eq!(quarantine(&farm, 2), Some(reason));
    let build = farm.cluster.build(BuildId(1)).unwrap();
    // Three of the five were run elsewhere before they counted.
    assert_eq!(build.atoms_failed, 2);
    let attempts: Vec<u32> = build.subjobs.iter().map(|s| s.attempts).collect();
    assert_eq!(attempts.iter().filter(|attempts| **attempts > 1).count(), 3);
    // In the same life of its process it stays so, in another one it begins anew.
    farm.lose(2);
    farm.connect_as("b", "life 1", 1, None);
    assert!(quarantine(&farm, 3).is_some());
    farm.connect("b", "life 2", 1);
    assert_eq!(quarantine(&farm, 4), None);
}

#[test]
fn what_fails_elsewhere_too_clears_a_slave_and_is_not_asked_again() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(3, 0, 0));
    farm.set_up(2, 1);
    for subjob in 0..2 {
        farm.tell(finished(hand_out(2, 1, subjob, 1), &[1]));
    }
    farm.tell(finished(hand_out(2, 1, 2, 1), &[1]))
        .check_facts(&["1.2 doubted, as all fails on slave 2, attempt 1"]);
    assert_eq!(farm.cluster.slave(SlaveId(2)).unwrap().limit, Some(1));
    farm.set_up(1, 1)
        .check_facts(&["1 ready on slave 1", "1.2 to slave 1, attempt 2"]);
    farm.tell(finished(hand_out(1, 1, 2, 2), &[1]));
    assert_eq!(farm.cluster.slave(SlaveId(2)).unwrap().limit, None);
    check_well(&farm);
    // The same atoms at the same commit: nobody is doubted for one that both failed.
    farm.lose(1);
    farm.connect("c", "life 1", 9);
    farm.drain(3);
    for build in 2..9 {
        farm.queue("project 1");
        farm.prepared(build, plan(&["2"]));
        farm.set_up(2, build);
        farm.undrain(3);
        farm.tell(finished(hand_out(2, build, 0, 1), &[1]))
            .check_facts(&[
                &format!("{build}.0 finished by slave 2, attempt 1: [1]"),
                &format!("{build} archiving"),
                &format!("{build} off slave 2"),
            ]);
        farm.drain(3);
    }
}

#[test]
fn what_nobody_else_can_run_is_not_doubted() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(big_plan(9, 0, 0));
    farm.set_up(1, 1);
    for subjob in 0..8 {
        farm.tell(finished(hand_out(1, 1, subjob, 1), &[1]));
    }
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!(build.atoms_failed, 8);
}

/// What is doubted is not lost with the only slave that could have judged it.
#[test]
fn a_slave_in_doubt_goes_on_where_the_others_are_lost() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(9, 0, 0));
    farm.set_up(2, 1);
    for subjob in 0..5 {
        farm.tell(finished(hand_out(2, 1, subjob, 1), &[1]));
    }
    let limit = |farm: &Scenario| farm.cluster.slave(SlaveId(2)).unwrap().limit;
    assert_eq!(limit(&farm), Some(0));
    farm.check_running(&[0]);
    farm.lose(1)
        .check_facts(&["slave 1 lost: silent", "1.2 to slave 2, attempt 2"]);
    assert_eq!(limit(&farm), None);
    farm.tell(finished(hand_out(2, 1, 2, 2), &[1]))
        .check_facts(&[
            "1.2 finished by slave 2, attempt 2: [1]",
            "1.3 to slave 2, attempt 2",
        ]);
}

#[test]
fn a_quarantine_ends_by_itself_with_a_probe_and_the_next_is_longer() {
    let mut farm = farm_with_black_hole();
    farm.cancel(1);
    farm.torn_down(1, 1);
    let minute = Duration::from_secs(60);
    let pause = |farm: &Scenario| {
        let slave = farm.cluster.slave(SlaveId(2)).unwrap();
        let since = slave.quarantined_at.unwrap();
        Duration::from_millis(slave.next_probe().unwrap().0 - since.0)
    };
    for (build, minutes) in (2..).zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        assert_eq!(pause(&farm), minutes * minute);
        // It has cleared away what it had.
        let had: Vec<BuildId> = farm
            .cluster
            .slave(SlaveId(2))
            .unwrap()
            .builds
            .keys()
            .copied()
            .collect();
        for build in had {
            farm.torn_down(2, build.0);
        }
        farm.wait(minutes * minute - Duration::from_secs(1))
            .check_nothing();
        let probe = farm.wait(Duration::from_secs(1));
        assert_eq!(quarantine(&farm, 2), None, "{probe:?}");
        farm.queue(&format!("probe {build}"));
        farm.prepared(build, big_plan(2, 0, 0));
        farm.set_up(1, build);
        farm.set_up(2, build);
        // One atom is enough: it fails here and passes elsewhere.
        let held = farm
            .cluster
            .build(BuildId(build))
            .unwrap()
            .held_by(SlaveId(2));
        let [subjob] = held[..] else {
            panic!("{held:?}")
        };
        farm.tell(finished(hand_out(2, build, subjob.0, 1), &[1]));
        let other = u32::from(subjob.0 == 0);
        farm.finish(hand_out(1, build, other, 1));
        farm.finish(hand_out(1, build, subjob.0, 2));
        farm.torn_down(1, build);
        assert!(quarantine(&farm, 2).is_some());
        assert_eq!(farm.cluster.build(BuildId(build)).unwrap().atoms_failed, 0);
    }
    // Whoever undrains it ends that at once, and it begins anew.
    farm.undrain(2);
    let slave = farm.cluster.slave(SlaveId(2)).unwrap();
    assert_eq!(
        (slave.quarantine.as_ref(), slave.relapses, slave.limit),
        (None, 0, None)
    );
}

#[test]
fn an_atom_that_it_passes_makes_a_slave_well() {
    let mut farm = farm_with_black_hole();
    farm.torn_down(2, 1);
    farm.wait(Duration::from_secs(60));
    let pass = |farm: &mut Scenario| {
        let build = farm.cluster.build(BuildId(1)).unwrap();
        let subjob = build.held_by(SlaveId(2))[0];
        let attempt = build.subjob(subjob).unwrap().attempts;
        farm.finish(hand_out(2, 1, subjob.0, attempt));
    };
    farm.set_up(2, 1);
    let slave = |farm: &Scenario| farm.cluster.slave(SlaveId(2)).unwrap().clone();
    assert_eq!((slave(&farm).limit, slave(&farm).relapses), (Some(1), 1));
    pass(&mut farm);
    assert_eq!((slave(&farm).limit, slave(&farm).relapses), (None, 1));
    // After a while the next quarantine would be its first again.
    for _ in 1..20 {
        pass(&mut farm);
    }
    assert_eq!(slave(&farm).relapses, 0);
}

/// The master's clock was set back, so nobody knows how long the pause was.
#[test]
fn a_clock_that_is_set_back_keeps_no_slave_quarantined() {
    let mut farm = farm_with_black_hole();
    farm.set_clock(1);
    farm.wait(Duration::ZERO);
    assert_eq!(quarantine(&farm, 2), None);
}

#[test]
fn a_build_in_which_everything_fails_is_its_own_fault() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(60, 0, 0));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    run_both(&mut farm, 25, 1);
    check_well(&farm);
}

#[test]
fn a_result_that_can_not_be_used_goes_elsewhere_and_thrice_is_sick() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(9, 0, 0));
    farm.set_up(1, 1);
    farm.set_up(2, 1); // 0 on a, 1 on b
    let torn = |farm: &mut Scenario, subjob| farm.tell(unusable(hand_out(2, 1, subjob, 1)));
    torn(&mut farm, 1).check_facts(&[
        "1.1 back from slave 2, attempt 1: torn archive",
        "1.2 to slave 2, attempt 1",
    ]);
    farm.finish(hand_out(1, 1, 0, 1)).check_facts(&[
        "1.0 finished by slave 1, attempt 1: [0]",
        "1.1 to slave 1, attempt 2",
    ]);
    torn(&mut farm, 2);
    torn(&mut farm, 3);
    check_well(&farm);
    for subjob in [1, 2] {
        farm.finish(hand_out(1, 1, subjob, 2));
    }
    check_well(&farm);
    farm.finish(hand_out(1, 1, 3, 2));
    let reason = "3 of its results in a row could not be used, but those of other slaves could";
    assert_eq!(quarantine(&farm, 2), Some(reason));
}

#[test]
fn what_nobody_else_can_take_goes_to_the_same_slave_again() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.tell(unusable(hand_out(1, 1, 0, 1))).check_facts(&[
        "1.0 back from slave 1, attempt 1: torn archive",
        "1.0 to slave 1, attempt 2",
    ]);
}

#[test]
fn a_drained_slave_finishes_what_it_runs_and_takes_nothing_new() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(3, 0, 0));
    farm.set_up(1, 1);
    farm.drain(1).check(&["slave 1 drained"], &[]);
    farm.drain(1).check_nothing();
    farm.finish(hand_out(1, 1, 0, 1)).check(
        &["1.0 finished by slave 1, attempt 1: [0]", "1 off slave 1"],
        &["slave 1: tear down 1"],
    );
    farm.torn_down(1, 1).check_facts(&["1 gone from slave 1"]);
    // Neither a restart of the slave nor one of the master brings it back.
    farm.connect("a", "life 2", 1).check_facts(&[
        "slave 1 lost: it was started again",
        "slave 3 connected: a, life 2, 1 executor",
    ]);
    farm.cluster = farm.replayed();
    farm.restart();
    farm.build(plan(&["B"]));
    farm.undrain(3)
        .check_facts(&["slave 3 undrained", "1 to slave 3 from index 2"]);
    farm.undrain(3).check_nothing();
    let unknown = SlaveId(9);
    let refusal = Refusal::NoSuchSlave(unknown);
    farm.check_refused(
        Command::DrainSlave {
            by: Actor::SecretHolder,
            slave: unknown,
        },
        &refusal,
    );
    farm.check_refused(
        Command::UndrainSlave {
            by: Actor::SecretHolder,
            slave: unknown,
        },
        &refusal,
    );
}

#[test]
fn undraining_releases_from_quarantine_and_lets_it_try_again() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(4, 0, 0));
    farm.set_up(1, 1);
    farm.setup_failed(2, 1, "no compiler");
    assert!(quarantine(&farm, 2).is_some());
    farm.undrain(2)
        .check_facts(&["slave 2 released", "1 to slave 2 from index 2"]);
}

#[test]
fn a_warning_is_kept_once_and_not_without_end() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    let warn = |farm: &mut Scenario, warning: &str| {
        farm.tell(Command::WarnOfBuild {
            slave: SlaveId(1),
            build: BuildId(1),
            warning: warning.to_owned(),
        })
    };
    warn(&mut farm, "odd").check(&["1 warned: slave a: odd"], &[]);
    warn(&mut farm, "odd").check_nothing();
    for number in 0..20 {
        warn(&mut farm, &format!("odd {number}"));
    }
    let warnings = &farm.cluster.build(BuildId(1)).unwrap().warnings;
    assert_eq!(warnings.len(), 11);
    assert_eq!(warnings[10], "further warnings are omitted");
}
