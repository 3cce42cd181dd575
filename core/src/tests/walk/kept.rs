//! Walks that once failed, or that show what a fault does: they must never fail again.

use super::machine::Sickness::{FailsEverything, SetsNothingUp, Well};
use super::plan::Fault::{
    ClockJumps, CutOff, MachineCrashes, MachineIsGone, MasterCrashes, MasterDiskFails,
    MasterDiskIsFull, MasterDiskIsWrong, MasterHangs, Partition, UserCancels, UserDrains,
    UserQueues, UserShutsDown,
};
use super::plan::{Plan, WrongDisk};
use super::try_walk;

fn check(plan: &Plan) {
    if let Err(failure) = try_walk(plan, None) {
        panic!("{}", failure.0);
    }
}

/// A result is not acknowledged before it is on disk: the slave keeps it and sends it again.
#[test]
fn the_disk_fails_while_results_come() {
    for turns in 0..4 {
        check(&Plan {
            seed: turns,
            executors: vec![3],
            faults: vec![
                (0, UserQueues(0)),
                (250, MasterDiskFails(turns)),
                (300, MasterDiskFails(0)),
            ],
            ..Plan::default()
        });
    }
}

/// What a machine had that is cut off, and what one had that never comes back, goes to others; when
/// the first is heard again its results are those of old attempts.
#[test]
fn one_machine_is_cut_off_and_one_is_gone() {
    check(&Plan {
        seed: 7,
        executors: vec![1, 2, 2],
        faults: vec![
            (0, UserQueues(0)),
            (200, CutOff(1, 150)),
            (220, MachineIsGone(2)),
        ],
        ..Plan::default()
    });
}

/// A copy of the disk lacks nothing but a result that was acknowledged: its slave alone can tell.
#[test]
fn an_acknowledged_result_is_missing_on_an_older_disk() {
    check(&Plan {
        seed: 13_008_789_686_233_577_543,
        executors: vec![1],
        loss: 30,
        repetition: 300,
        lateness: 150,
        faults: vec![
            (201, UserQueues(0)),
            (404, UserQueues(3)),
            (887, UserQueues(1)),
            (957, UserQueues(1)),
            (1133, MasterDiskIsWrong(WrongDisk::Older, 991)),
        ],
        ..Plan::default()
    });
}

/// A slave that runs a suspect is drained and let to work again: the suspect must stay alone.
#[test]
fn a_suspects_slave_is_drained_and_undrained() {
    check(&Plan {
        seed: 15_360_580_087_607_932_072,
        executors: vec![1, 1, 2],
        setup_failures: 300,
        loss: 200,
        repetition: 50,
        lateness: 20,
        faults: vec![
            (27, UserQueues(1)),
            (123, CutOff(2, 363)),
            (374, UserQueues(0)),
            (534, UserQueues(1)),
            (614, UserDrains(2)),
            (777, MachineIsGone(2)),
            (812, UserDrains(5)),
            (812, MasterCrashes(2)),
            (935, MasterHangs(329)),
            (1008, MasterDiskFails(1)),
        ],
        ..Plan::default()
    });
}

/// What a slave has nothing of any more counted among the weights of the others there.
#[test]
fn the_last_of_a_build_on_a_slave_ends_beside_builds_of_other_weights() {
    check(&Plan {
        seed: 11_145_659_740_432_323_746,
        executors: vec![3, 3, 2],
        lateness: 20,
        faults: vec![
            (70, UserQueues(1)),
            (94, UserQueues(1)),
            (117, UserQueues(2)),
            (136, UserDrains(1)),
        ],
        ..Plan::default()
    });
}

/// A row of flaky atoms on one slave: others fail such atoms as often, and run them again.
#[test]
fn flaky_atoms_that_run_again_fail_in_a_row_on_one_machine() {
    check(&Plan {
        seed: 10_148_581_407_662_998_396,
        executors: vec![1, 2, 1, 1],
        setup_failures: 300,
        loss: 30,
        lateness: 20,
        sicknesses: vec![Well, FailsEverything, Well, SetsNothingUp],
        faults: vec![
            (113, MasterCrashes(1)),
            (118, UserCancels(1)),
            (146, UserQueues(1)),
            (169, UserQueues(1)),
            (333, MasterCrashes(1)),
            (384, Partition(108)),
            (554, MasterCrashes(3)),
            (767, MachineCrashes(0)),
            (851, UserShutsDown(Some(4))),
            (893, ClockJumps(-68_895)),
            (910, UserQueues(0)),
            (1019, MasterDiskFails(1)),
            (1315, MasterDiskIsFull(339)),
            (1415, UserQueues(2)),
        ],
        ..Plan::default()
    });
}
