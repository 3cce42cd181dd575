//! Walks that once failed, or that show what a fault does: they must never fail again.

use super::plan::Fault::{CutOff, MachineIsGone, MasterDiskFails, UserQueues};
use super::plan::Plan;
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
