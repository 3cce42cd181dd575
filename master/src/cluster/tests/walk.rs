//! Seeded walks: the core among model slaves on a network that delays, loses, repeats and reorders,
//! with machines and masters that die at any moment. Whatever happens, every build ends, and each
//! atom of a finished build has exactly one outcome, the right one.
//!
//! `CLUSTERRUNNER_WALK_SEEDS=100000` walks more seeds, `CLUSTERRUNNER_WALK_SEED=17` just one.

mod machine;
mod master;
mod random;
mod world;

use super::scenario::Scenario;
use crate::cluster::build::{BuildState, POISON_EXIT_CODE};
use crate::cluster::event::{AtomOutcome, AtomTrouble, Fact};
use crate::cluster::health::POISON_AFTER;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use world::World;

/// Enough for every kind of trouble to meet every other, and still a matter of seconds.
const NUM_SEEDS: u64 = 1000;

/// What the walks met: walks that meet nothing prove nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    finished: usize,
    failed: usize,
    canceled: usize,
    slaves_lost: usize,
    slaves_shut_down: usize,
    slaves_told_again: usize,
    setups_failed: usize,
    results_unusable: usize,
    handed_out_again: usize,
    repeated_results: usize,
    stale_attempts: usize,
    unknown_slaves: usize,
    master_restarts: usize,
    sick_of_setups: usize,
    sick_of_failures: usize,
    sick_of_results: usize,
    slaves_drained: usize,
    slaves_released: usize,
    slaves_reserved: usize,
    poisoned: usize,
}

#[test]
fn whatever_happens_every_build_ends_and_every_result_counts_once() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    if let Some(seed) = number("CLUSTERRUNNER_WALK_SEED") {
        println!("{:#?}", walk(seed));
        return;
    }
    let num_seeds = number("CLUSTERRUNNER_WALK_SEEDS").unwrap_or(NUM_SEEDS);
    let mut sum = Tally::default();
    for seed in 0..num_seeds {
        sum += walk(seed);
    }
    println!("{num_seeds} walks met {sum:#?}");
    assert!(num_seeds < NUM_SEEDS || sum.met_everything(), "{sum:#?}");
}

/// Names the seed if the walk fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this walk again: CLUSTERRUNNER_WALK_SEED={}", self.0);
        }
    }
}

fn walk(seed: u64) -> Tally {
    let _named = Named(seed);
    let mut world = World::new(seed);
    world.run();
    let farm = &world.master.farm;
    check_history(farm);
    for slave in farm.cluster.slaves() {
        assert!(slave.builds.is_empty(), "left on a slave: {slave:?}");
    }
    for slave in farm.cluster.called_slaves() {
        assert!(!slave.was_shut_down(), "it was to end: {slave:?}");
    }
    for build in farm.cluster.builds() {
        assert!(build.is_over(), "{build:?}");
        if build.state != BuildState::Finished {
            continue;
        }
        let command = &build.plan.as_ref().unwrap().command;
        for subjob in &build.subjobs {
            let (_, found) = subjob.result.as_ref().unwrap();
            for (atom, found) in subjob.atoms.iter().zip(found) {
                // An innocent atom that machines died with three times, by chance, is poison too.
                if found.trouble.is_some() {
                    let slaves_lost = POISON_AFTER;
                    let trouble = Some(AtomTrouble::Poison { slaves_lost });
                    assert_eq!(
                        (found.exit_code, found.trouble),
                        (POISON_EXIT_CODE, trouble)
                    );
                    continue;
                }
                assert!(!atom.contains(POISON), "{build:?}");
                let is_right = *found == oracle(&format!("{atom} {command}"));
                assert!(is_right || *found == SICK_OUTCOME, "{build:?}");
            }
            assert_eq!(found.len(), subjob.atoms.len());
        }
    }
    world.master.tally
}

/// What makes an atom take down every machine that runs it.
const POISON: &str = " export POISON=1;";

/// How everything ends on a machine that is sick.
const SICK_OUTCOME: AtomOutcome = AtomOutcome {
    exit_code: 77,
    duration_ms: 1,
    trouble: None,
};

/// How a command ends, wherever and whenever it is run.
fn oracle(command: &str) -> AtomOutcome {
    let bits = command
        .bytes()
        .fold(0, |bits, byte| random::mix(bits ^ u64::from(byte)));
    AtomOutcome {
        exit_code: i32::from(bits % 4 == 0),
        duration_ms: bits % 1000,
        trouble: None,
    }
}

/// The first promise once more, from the facts alone: a hand-out is made when the one before is
/// void, it has the next number, only it brings the result, and there is one result.
fn check_history(farm: &Scenario) {
    type Key = (BuildId, SubjobId);
    let mut held: BTreeMap<Key, (SlaveId, Attempt)> = BTreeMap::new();
    let mut last: BTreeMap<Key, Attempt> = BTreeMap::new();
    let mut results: BTreeSet<Key> = BTreeSet::new();
    let mut over: BTreeSet<BuildId> = BTreeSet::new();
    for event in &farm.journal {
        match &event.fact {
            Fact::SubjobHandedOut {
                slave,
                build,
                subjob,
                attempt,
            } => {
                let key = (*build, *subjob);
                assert!(
                    !over.contains(build) && !results.contains(&key),
                    "{event:?}"
                );
                assert_eq!(held.insert(key, (*slave, *attempt)), None, "{event:?}");
                let before = last.insert(key, *attempt);
                assert_eq!(before.map_or(0, |before| before.0) + 1, attempt.0);
            }
            Fact::SubjobFinished {
                slave,
                build,
                subjob,
                attempt,
                ..
            } => {
                let key = (*build, *subjob);
                assert_eq!(held.remove(&key), Some((*slave, *attempt)), "{event:?}");
                assert!(results.insert(key), "{event:?}");
            }
            Fact::SubjobReturned {
                slave,
                build,
                subjob,
                attempt,
                ..
            } => {
                let key = (*build, *subjob);
                assert_eq!(held.remove(&key), Some((*slave, *attempt)), "{event:?}");
            }
            Fact::SubjobPoisoned { build, subjob, .. } => {
                let key = (*build, *subjob);
                assert!(!held.contains_key(&key), "{event:?}");
                assert!(results.insert(key), "{event:?}");
            }
            Fact::SlaveLost { slave, .. } | Fact::SlaveQuarantined { slave, .. } => {
                held.retain(|_, (holder, _)| holder != slave)
            }
            Fact::SetupFailed { slave, build, .. } => {
                held.retain(|(of, _), (holder, _)| of != build || holder != slave);
            }
            Fact::BuildFailed { build, .. }
            | Fact::BuildCanceled { build }
            | Fact::BuildFinished { build } => {
                assert!(over.insert(*build), "it ends twice: {event:?}");
                held.retain(|(of, _), _| of != build);
            }
            Fact::MasterStarted
            | Fact::BuildQueued { .. }
            | Fact::PreparationStarted { .. }
            | Fact::BuildPrepared { .. }
            | Fact::ArchivingStarted { .. }
            | Fact::SlaveConnected { .. }
            | Fact::ShutdownRequested { .. }
            | Fact::EndRequested { .. }
            | Fact::SlaveEnded { .. }
            | Fact::DrainRequested { .. }
            | Fact::DrainEnded { .. }
            | Fact::SlaveReleased { .. }
            | Fact::SlaveReserved { .. }
            | Fact::SubjobSuspected { .. }
            | Fact::BuildWarned { .. }
            | Fact::SetupRequested { .. }
            | Fact::SetupCompleted { .. }
            | Fact::TeardownRequested { .. }
            | Fact::TeardownCompleted { .. } => {}
        }
    }
}

impl Tally {
    fn parts(&mut self) -> [&mut usize; 20] {
        [
            &mut self.finished,
            &mut self.failed,
            &mut self.canceled,
            &mut self.slaves_lost,
            &mut self.slaves_shut_down,
            &mut self.slaves_told_again,
            &mut self.setups_failed,
            &mut self.results_unusable,
            &mut self.handed_out_again,
            &mut self.repeated_results,
            &mut self.stale_attempts,
            &mut self.unknown_slaves,
            &mut self.master_restarts,
            &mut self.sick_of_setups,
            &mut self.sick_of_failures,
            &mut self.sick_of_results,
            &mut self.slaves_drained,
            &mut self.slaves_released,
            &mut self.slaves_reserved,
            &mut self.poisoned,
        ]
    }

    fn met_everything(mut self) -> bool {
        self.parts().iter().all(|number| **number > 0)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, mut other: Self) {
        for (sum, number) in self.parts().into_iter().zip(other.parts()) {
            *sum += *number;
        }
    }
}
