//! Slaves that are sick or drained, and subjobs that take their slaves down.

use super::scenario::{Scenario, big_plan, finished, hand_out, plan, stale, unusable};
use crate::cluster::build::{BuildState, POISON_EXIT_CODE};
use crate::cluster::command::{Command, Refusal};
use crate::cluster::event::AtomTrouble;
use clusterrunner_common::ids::{BuildId, SlaveId};

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
        let reason = "it could not set up build 1, which others could: no compiler";
        assert_eq!(quarantine(&farm, 2), Some(reason));
        assert_eq!(quarantine(&farm, 1), None);
        farm.build(big_plan(2, 0, 0));
        let on_sick = &farm.cluster.slave(SlaveId(2)).unwrap().builds;
        assert!(on_sick.is_empty(), "{on_sick:?}");
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
    let reason = "it could not set up builds 2, 3, 4, which others could: disk full";
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

#[test]
fn a_slave_on_which_everything_fails_while_others_pass_is_sick() {
    let mut farm = Scenario::with_slaves(&[("a", 1), ("b", 1)]);
    farm.build(big_plan(40, 0, 0));
    farm.set_up(1, 1);
    farm.set_up(2, 1);
    run_both(&mut farm, 9, 0);
    check_well(&farm);
    run_both(&mut farm, 1, 0);
    let reason = "its last 10 results all failed while others passed atoms of the same builds";
    assert_eq!(quarantine(&farm, 2), Some(reason));
    farm.check_running(&[1]);
    let build = farm.cluster.build(BuildId(1)).unwrap();
    assert_eq!((build.atoms_completed, build.atoms_failed), (20, 10));
    // What it had goes to the other one first, and what it says of it comes too late.
    let late = hand_out(2, 1, 20, 1);
    farm.check_refused(finished(late, &[0]), &stale(late));
    // In the same life of its process it stays so, in another one it begins anew.
    farm.lose(2);
    farm.connect_as("b", "life 1", 1, None);
    assert!(quarantine(&farm, 3).is_some());
    farm.connect("b", "life 2", 1);
    assert_eq!(quarantine(&farm, 4), None);
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
    let reason = "3 of its results in a row could not be used, and others brought better ones";
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
        "slave 3 connected: a, life 2, 1 executors",
    ]);
    farm.cluster = farm.replayed();
    farm.tell(Command::Start);
    farm.build(plan(&["B"]));
    farm.undrain(3)
        .check_facts(&["slave 3 undrained", "1 to slave 3 from index 2"]);
    farm.undrain(3).check_nothing();
    let unknown = SlaveId(9);
    let refusal = Refusal::NoSuchSlave(unknown);
    farm.check_refused(Command::DrainSlave { slave: unknown }, &refusal);
    farm.check_refused(Command::UndrainSlave { slave: unknown }, &refusal);
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

/// Slaves die with what they run, until the poison is known.
#[test]
fn a_subjob_that_takes_its_slaves_down_is_isolated_and_then_poison() {
    let mut farm = Scenario::with_slaves(&[("a", 2), ("b", 2), ("c", 2)]);
    farm.build(plan(&["A", "B", "C", "D", "E", "F", "G"]));
    farm.set_up(1, 1); // 0 and 1 on a
    farm.die(1).check_facts(&[
        "slave 1 lost: silent",
        "1.0 suspected with slave 1",
        "1.1 suspected with slave 1",
    ]);
    farm.set_up(2, 1); // 0 and 1 on b
    farm.set_up(3, 1); // 2 and 3 on c
    farm.finish(hand_out(2, 1, 1, 2)); // 4 on b
    farm.die(2).check_facts(&[
        "slave 2 lost: silent",
        "1.0 suspected with slave 2",
        "1.4 suspected with slave 2",
        "slave 3 kept for 1",
    ]);
    // The kept slave takes nothing new, though 4, 5 and 6 wait.
    farm.finish(hand_out(3, 1, 2, 1))
        .check_facts(&["1.2 finished by slave 3, attempt 1: [0]"]);
    farm.finish(hand_out(3, 1, 3, 1)).check_facts(&[
        "1.3 finished by slave 3, attempt 1: [0]",
        "1.0 to slave 3, attempt 3",
    ]);
    farm.die(3).check(
        &[
            "slave 3 lost: silent",
            "1.0 suspected with slave 3",
            "1.0 poisoned: 3 slaves",
        ],
        &["close slave 3", "make 1.0@3: 1 atoms"],
    );
    let (attempt, outcomes) = farm.cluster.build(BuildId(1)).unwrap().subjobs[0]
        .result
        .clone()
        .unwrap();
    assert_eq!((attempt.0, outcomes[0].exit_code), (3, POISON_EXIT_CODE));
    let slaves_lost = 3;
    let poison = AtomTrouble::Poison { slaves_lost };
    assert_eq!(outcomes[0].trouble, Some(poison));
    farm.connect("d", "life 1", 3);
    farm.set_up(4, 1);
    farm.finish(hand_out(4, 1, 4, 2));
    farm.finish(hand_out(4, 1, 5, 1));
    farm.finish(hand_out(4, 1, 6, 1)).check(
        &[
            "1.6 finished by slave 4, attempt 1: [0]",
            "1 archiving",
            "1 off slave 4",
        ],
        &[
            "archive 1: [0@3, 1@2, 2@1, 3@1, 4@2, 5@1, 6@1], failed [artifact_0_0]",
            "slave 4: tear down 1",
        ],
    );
}

#[test]
fn a_slave_that_is_kept_ends_up_with_the_suspect_also_where_it_must_be_set_up() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    for life in 1..=2 {
        farm.set_up(life, 1);
        farm.die(life);
        farm.connect("a", &format!("life {}", life + 1), 1);
    }
    let kept = farm.cluster.slave(SlaveId(3)).unwrap();
    assert_eq!(kept.reserved_for, Some(BuildId(1)));
    farm.set_up(3, 1)
        .check_facts(&["1 ready on slave 3", "1.0 to slave 3, attempt 3"]);
    farm.finish(hand_out(3, 1, 0, 3)).check_facts(&[
        "1.0 finished by slave 3, attempt 3: [0]",
        "1 archiving",
        "1 off slave 3",
    ]);
    let free = farm.cluster.slave(SlaveId(3)).unwrap();
    assert_eq!(free.reserved_for, None);
}

#[test]
fn who_says_good_bye_or_was_there_before_the_master_suspects_nothing() {
    let mut farm = Scenario::with_slaves(&[("a", 1)]);
    farm.build(plan(&["A"]));
    farm.set_up(1, 1);
    farm.lose(1).check_facts(&["slave 1 lost: silent"]);
    farm.connect("a", "life 2", 1);
    farm.set_up(2, 1);
    farm.tell(Command::Start);
    farm.die(2).check_facts(&["slave 2 lost: silent"]);
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
    assert_eq!(warnings[10], "there were more warnings like these");
}
