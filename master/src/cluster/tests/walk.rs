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
use crate::cluster::build::BuildState;
use crate::cluster::event::{AtomOutcome, Fact};
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
    retired: usize,
    slaves_forgotten: usize,
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
    for (id, build) in farm.cluster.all_builds() {
        let build = build.unwrap_or_else(|| &world.master.kept[&id]);
        assert!(build.is_over(), "{build:?}");
        if build.state != BuildState::Finished {
            continue;
        }
        let command = &build.plan.as_ref().unwrap().command;
        for subjob in &build.subjobs {
            let (_, found) = subjob.result.as_ref().unwrap();
            let atoms = subjob.atoms.iter();
            let right: Vec<_> = atoms.map(|a| oracle(&format!("{a} {command}"))).collect();
            assert_eq!(*found, right, "{build:?}");
        }
    }
    world.master.tally
}

/// How a command ends, wherever and whenever it is run.
fn oracle(command: &str) -> AtomOutcome {
    let bits = command
        .bytes()
        .fold(0, |bits, byte| random::mix(bits ^ u64::from(byte)));
    AtomOutcome {
        exit_code: i32::from(bits % 4 == 0),
        duration_ms: bits % 1000,
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
            Fact::SlaveLost { slave, .. } => held.retain(|_, (holder, _)| holder != slave),
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
            | Fact::BuildRetired { .. }
            | Fact::SlaveForgotten { .. }
            | Fact::SlaveConnected { .. }
            | Fact::ShutdownRequested { .. }
            | Fact::EndRequested { .. }
            | Fact::SlaveEnded { .. }
            | Fact::SetupRequested { .. }
            | Fact::SetupCompleted { .. }
            | Fact::TeardownRequested { .. }
            | Fact::TeardownCompleted { .. } => {}
        }
    }
}

impl Tally {
    fn parts(&mut self) -> [&mut usize; 15] {
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
            &mut self.retired,
            &mut self.slaves_forgotten,
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
