//! Seeded walks: the core among model slaves on a network that delays, loses, repeats, reorders and
//! falls apart, one way or both, with machines and masters that hang or die at any moment, disks that
//! are full or fail, and a wall clock that jumps. Whatever happens, every build ends, each atom of a
//! finished build has exactly one outcome, the one of the attempt that counts, and what was
//! acknowledged is there. After every event the core is checked; replay equals live.
//!
//! `CLUSTERRUNNER_WALK_SEEDS=5000` walks more seeds, as `./check` does; they are shared out to all
//! processors. The long run is one command and tells how far it is:
//!
//! ```sh
//! CLUSTERRUNNER_WALK_SEEDS=1000000 cargo test -p clusterrunner-master --lib every_build_ends \
//!     --config 'profile.dev.package.clusterrunner-master.opt-level=2' -- --nocapture
//! ```
//!
//! `CLUSTERRUNNER_WALK_SEED=17` walks just one, `CLUSTERRUNNER_WALK_FROM=5000` begins there. A seed
//! that fails is made smaller by itself; what is printed can be kept as a test in `kept.rs`.
//!
//! To add behaviour: what a user does or what goes wrong is a [`plan::Fault`] (say in `Plan::new` or
//! `Plan::trouble` how often, in `World::fail` what it does); what a slave does is in `machine.rs`,
//! what stands around the core in the master is in `master.rs` and `adapters.rs`; what a new fact means for who holds
//! which attempt goes into [`check_history`]; and a number in [`Tally`] proves that the walks meet
//! it. A new safeguard gets a [`Mutation`] without it.

mod adapters;
mod apps;
mod count;
mod disks;
mod hosting;
mod hunting;
mod kept;
mod legacy;
mod machine;
mod master;
mod messages;
mod mutation;
mod plan;
mod quiet;
pub(super) mod random;
mod users;
mod world;

use super::scenario::Scenario;
use super::statuses::check_told;
use crate::core::MAX_DEATHS;
use crate::core::builds::build::{Build, BuildState};
use crate::core::builds::mishaps::POISON_AFTER;
use crate::core::builds::outcome::{AtomOutcome, AtomTrouble};
use crate::core::builds::subjob::{POISON_EXIT_CODE, Subjob};
use crate::core::event::{BuildFact, Fact, FarmFact, SlaveFact};
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use machine::Sickness;
use mutation::Mutation;
use plan::Plan;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use world::World;

/// Enough for every kind of trouble to meet every other, and still a matter of seconds.
const NUM_SEEDS: u64 = 1000;

/// How often a long run tells how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// What the walks met: walks that meet nothing prove nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    finished: usize,
    failed: usize,
    canceled: usize,
    statuses_posted: usize,
    /// Hunts that began, those that lost their reason, and those that say something.
    hunts_begun: usize,
    hunts_ended: usize,
    hunts_found: usize,
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
    failed_disks: usize,
    results_put_off: usize,
    cuts: usize,
    clock_jumps: usize,
    sick_of_setups: usize,
    sick_of_failures: usize,
    sick_of_results: usize,
    slaves_drained: usize,
    slaves_released: usize,
    slaves_reserved: usize,
    poisoned: usize,
    results_kept: usize,
    retired: usize,
    too_old: usize,
    too_many: usize,
    too_large: usize,
    cleared: usize,
    slaves_forgotten: usize,
    deleted: usize,
    deletions_completed: usize,
    described: usize,
    users_created: usize,
    users_deleted: usize,
    projects_made: usize,
    projects_changed: usize,
    projects_shared: usize,
    projects_deleted: usize,
    bookmarks_set: usize,
    bookmarks_taken_back: usize,
    /// Hand-outs to slaves whose executors all had something to do.
    handed_out_ahead: usize,
    /// Hand-outs that went along with a set-up.
    handed_out_with_setup: usize,
    /// Slaves that were lost while something waited there.
    lost_with_a_queue: usize,
    /// Failed results that were run elsewhere before they counted.
    results_doubted: usize,
    /// Failed results after which an atom was run again.
    attempts_failed: usize,
    /// Hand-outs of atoms that had failed to another slave than the one they failed on.
    retried_elsewhere: usize,
    /// Slaves that were lost while they ran an atom that had failed before.
    lost_in_a_retry: usize,
    /// Builds that were canceled while an atom that had failed before ran or waited.
    canceled_in_a_retry: usize,
    /// Masters that started again while an atom that had failed waited.
    restarted_before_a_retry: usize,
    /// Atoms that passed only when they were run again.
    flaky: usize,
    /// Builds of which a rest was not run, since too many atoms had failed.
    cut_short: usize,
    /// Builds that were split into those of a matrix,
    split: usize,
    /// and how many of these passed as a whole, failed, could not be run, and were canceled.
    matrices_passed: usize,
    matrices_failed: usize,
    matrices_in_error: usize,
    matrices_canceled: usize,
    /// Masters that started again while a part of a matrix was over.
    restarted_in_a_matrix: usize,
    /// Quarantines that ended by themselves.
    probes: usize,
    /// Builds whose preparing killed the master as often as it may.
    deadly: usize,
    disks_restored: usize,
    journals_restored: usize,
    journals_repaired: usize,
    journals_lost: usize,
    disks_lost: usize,
    /// Archives that could not be made, since results were lost.
    results_missed: usize,
    /// Incarnations that began since results named what the journal did not know,
    begun_for_results: usize,
    /// and since a slave did.
    begun_for_slaves: usize,
    ids_reserved: usize,
    templates_registered: usize,
    templates_named: usize,
    templates_preloaded: usize,
    templates_removed: usize,
    instances_launched: usize,
    instances_placed: usize,
    instances_adopted: usize,
    instances_displaced: usize,
    instances_up: usize,
    instances_crashed: usize,
    instances_failed: usize,
    instances_stopped: usize,
    instances_culled: usize,
    builds_in_the_way: usize,
    apps_created: usize,
    apps_configured: usize,
    apps_built: usize,
    apps_rolled_back: usize,
    apps_scaled: usize,
    apps_deleted: usize,
    domains_added: usize,
    runs_started: usize,
    runs_exited: usize,
    instances_retired: usize,
}

#[test]
fn whatever_happens_every_build_ends_and_every_result_counts_once() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    if let Some(seed) = number("CLUSTERRUNNER_WALK_SEED") {
        println!("{:#?}", walk(&Plan::new(seed), None));
        return;
    }
    let num_seeds = number("CLUSTERRUNNER_WALK_SEEDS").unwrap_or(NUM_SEEDS);
    let from = number("CLUSTERRUNNER_WALK_FROM").unwrap_or(0);
    match walk_all(from, from + num_seeds) {
        Ok(sum) => {
            println!("{num_seeds} walks met {sum:#?}");
            assert!(num_seeds < NUM_SEEDS || sum.met_everything(), "{sum:#?}");
        }
        Err((seed, Failure(failure))) => {
            let fails = |plan: &Plan| try_walk(plan, None).err().map(|failure| failure.0);
            let (plan, failure) = Plan::new(seed).smallest(failure, fails);
            panic!(
                "{failure}\nthis walk again: CLUSTERRUNNER_WALK_SEED={seed}\n\
                 the smallest that fails, for kept.rs: {}",
                plan.as_rust()
            );
        }
    }
}

/// Walks these seeds on all processors, until one fails.
fn walk_all(from: u64, end: u64) -> Result<Tally, (u64, Failure)> {
    let started = Instant::now();
    let next = AtomicU64::new(from);
    let all = Mutex::new((Tally::default(), None, started));
    let one_thread = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let walked = try_walk(&Plan::new(seed), None);
            let mut all = all.lock().unwrap();
            match walked {
                Ok(tally) => all.0 += tally,
                Err(failure) => {
                    next.store(end, Ordering::Relaxed);
                    all.1.get_or_insert((seed, failure));
                }
            }
            if all.2.elapsed() > PROGRESS {
                all.2 = Instant::now();
                eprintln!("seed {seed} of {end} after {:.0?}", started.elapsed());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(one_thread);
        }
    });
    let (tally, failed, _) = all.into_inner().unwrap();
    failed.map_or(Ok(tally), Err)
}

/// What a failed walk said.
struct Failure(String);

/// A walk whose failure is not the end of everything.
fn try_walk(plan: &Plan, mutation: Option<Mutation>) -> Result<Tally, Failure> {
    quiet::caught(|| walk(plan, mutation)).map_err(Failure)
}

fn walk(plan: &Plan, mutation: Option<Mutation>) -> Tally {
    let mut world = World::new(plan, mutation);
    world.run();
    check_promises(&world);
    world.check_users();
    world.check_instances();
    world.check_apps();
    check_quarantines(&world, plan);
    let farm = &world.master.farm;
    check_history(farm);
    if mutation.is_none() {
        check_told(farm);
    }
    for slave in farm.cluster.slaves() {
        assert!(slave.builds.is_empty(), "left on a slave: {slave:?}");
    }
    for slave in farm.cluster.called_slaves() {
        assert!(!slave.was_shut_down(), "it was to end: {slave:?}");
    }
    assert!(farm.cluster.to_be_cleared().is_empty(), "files are left");
    let removed = world.master.removed.iter();
    let builds = farm.cluster.all_builds().map(|(id, build)| match build {
        Some(build) => build,
        None => &world.master.kept[&id],
    });
    for build in builds.chain(removed.map(|(_, build)| build)) {
        assert!(build.is_over(), "{build:?}");
        assert!(build.preparations.deaths <= MAX_DEATHS, "{build:?}");
        if build.state != BuildState::Finished {
            continue;
        }
        let command = &build.plan.as_ref().unwrap().command;
        for subjob in &build.subjobs {
            let Some((attempt, found)) = &subjob.result else {
                assert!(build.may_be_cut_short(), "{build:?}");
                continue;
            };
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
                let is_right = *found == oracle(&format!("{atom} {command}"), *attempt);
                assert!(is_right || *found == SICK_OUTCOME, "{build:?}");
            }
            assert_eq!(found.len(), subjob.atoms.len());
            check_failed_attempts(build, subjob);
        }
    }
    world.master.tally
}

/// What a subjob was run again for is a failed result of each hand-out that is recorded, and there are no more than may be.
fn check_failed_attempts(build: &Build, subjob: &Subjob) {
    let failed = subjob.failed_attempts();
    assert!(failed.len() <= build.retries() as usize, "{build:?}");
    let command = &build.plan.as_ref().unwrap().command;
    for failed in failed {
        for (atom, found) in subjob.atoms.iter().zip(&failed.outcomes) {
            assert_ne!(found.exit_code, 0, "{build:?}");
            let is_right = *found == oracle(&format!("{atom} {command}"), failed.attempt);
            assert!(is_right || *found == SICK_OUTCOME, "{build:?}");
        }
    }
    let may_run_again = failed.len() < build.retries() as usize && !subjob.is_exhausted();
    let is_poison = subjob.is_poison();
    assert!(
        !subjob.has_failed() || is_poison || !may_run_again,
        "{build:?}"
    );
}

/// What users and slaves were told has come to stay.
fn check_promises(world: &World) {
    let cluster = &world.master.farm.cluster;
    let (kept, removed) = (&world.master.kept, &world.master.removed);
    for build in removed.keys() {
        assert!(cluster.is_forgotten(*build), "build {build} is gone");
    }
    let find = |id: BuildId| {
        let put_away = kept.get(&id).or_else(|| removed.get(&id));
        cluster.build(id).or(put_away)
    };
    for (build, expected) in &world.accepted {
        let found = find(*build);
        let found = found.map(|build| &build.request);
        assert_eq!(found, Some(expected), "build {build} was accepted");
    }
    for hand_out in &world.master.acknowledged {
        let build = find(hand_out.build).unwrap();
        let subjob = build.subjob(hand_out.subjob).unwrap();
        let counted = subjob.result.iter().map(|(attempt, _)| *attempt);
        let failed = subjob.failed_attempts().iter();
        let mut recorded = counted.chain(failed.map(|failed| failed.attempt));
        let is_recorded = recorded.any(|attempt| attempt == hand_out.attempt);
        assert!(is_recorded, "{hand_out:?} was heard");
    }
}

/// Slaves that are quarantined because everything fails there are sick: what other machines fail at too, and be it all
/// of a build, speaks against no slave. Only a flaky atom that a slave was tried with can speak against a healthy one.
fn check_quarantines(world: &World, plan: &Plan) {
    let farm = &world.master.farm;
    let mut urls: BTreeMap<SlaveId, &str> = BTreeMap::new();
    let mut flaky: BTreeSet<(BuildId, SubjobId)> = BTreeSet::new();
    let mut unlucky: BTreeSet<SlaveId> = BTreeSet::new();
    for event in &farm.journal {
        match &event.fact {
            Fact::Slave(slave, SlaveFact::Connected { url, .. }) => {
                urls.insert(*slave, url);
            }
            Fact::Build(build, BuildFact::Prepared { subjobs, .. }) => {
                let is_flaky = |atoms: &Vec<String>| atoms.iter().any(|atom| atom.contains(FLAKY));
                let numbered = (0..).map(SubjobId).zip(subjobs);
                let of_build = numbered.filter(|(_, atoms)| is_flaky(atoms));
                flaky.extend(of_build.map(|(id, _)| (*build, id)));
            }
            Fact::Build(build, BuildFact::ResultDoubted { slave, subjob, .. })
                if flaky.contains(&(*build, *subjob)) =>
            {
                unlucky.insert(*slave);
            }
            Fact::Slave(slave, SlaveFact::Quarantined { reason }) if is_of_failures(reason) => {
                let machine = master::machine_at(urls[slave]);
                let sickness = plan.sicknesses.get(machine);
                let is_by_chance = reason.contains(TRIED) && unlucky.contains(slave);
                let is_sick = sickness == Some(&Sickness::FailsEverything);
                assert!(is_sick || is_by_chance, "{sickness:?}: {event:?}");
            }
            _ => {}
        }
    }
}

/// What a quarantine says that follows from one atom.
const TRIED: &str = "given to try it failed";

/// Whether a slave is quarantined for what failed there.
fn is_of_failures(reason: &str) -> bool {
    reason.contains("failed while others") || reason.contains("failed, and passed elsewhere")
}

/// What makes an atom take down every machine that runs it.
const POISON: &str = " export POISON=1;";

/// What makes an atom fail wherever it runs.
const BROKEN: &str = " export BROKEN=1;";

/// What makes an atom pass or fail by chance.
const FLAKY: &str = " export FLAKY=1;";

/// The project whose preparing kills the master, each time.
const DEADLY: u64 = 3;

/// How everything ends on a machine that is sick.
const SICK_OUTCOME: AtomOutcome = AtomOutcome {
    exit_code: 77,
    duration_ms: 1,
    trouble: None,
    started_at: None,
    usage: None,
};

/// How long the longest atoms take, as slaves say it: so that some wait on slaves.
const MOST_MS: u64 = 1000;

/// How a command ends, wherever and whenever it is run; how long it takes tells the attempts apart.
fn oracle(command: &str, attempt: Attempt) -> AtomOutcome {
    let bits = command
        .bytes()
        .fold(0, |bits, byte| random::mix(bits ^ u64::from(byte)));
    let is_unlucky = command.contains(FLAKY)
        && random::mix(bits.wrapping_add(u64::from(attempt.0))).is_multiple_of(2);
    AtomOutcome {
        exit_code: i32::from(bits % 4 == 0 || is_unlucky || command.contains(BROKEN)),
        duration_ms: random::mix(bits ^ u64::from(attempt.0)) % MOST_MS,
        trouble: None,
        started_at: None,
        usage: None,
    }
}

/// The first promise once more, from the facts alone: a hand-out is made when the one before is
/// void, it has the next number, only it brings the result, and there is one result.
#[expect(clippy::too_many_lines, reason = "an arm for each fact")]
fn check_history(farm: &Scenario) {
    type Key = (BuildId, SubjobId);
    let mut held: BTreeMap<Key, (SlaveId, Attempt)> = BTreeMap::new();
    let mut last: BTreeMap<Key, Attempt> = BTreeMap::new();
    // What is only to be delivered; a set-up that fails is no matter of that.
    let mut kept: BTreeSet<(Key, Attempt)> = BTreeSet::new();
    let mut results: BTreeSet<Key> = BTreeSet::new();
    let mut failed: BTreeSet<(Key, Attempt)> = BTreeSet::new();
    let mut over: BTreeSet<BuildId> = BTreeSet::new();
    let mut hunted: BTreeSet<u64> = BTreeSet::new();
    let mut retired: BTreeSet<BuildId> = BTreeSet::new();
    let mut split: BTreeSet<BuildId> = BTreeSet::new();
    // How many incarnations there were, when each build was queued, and at each subjob's last hand-out.
    let mut incarnation = 0;
    let mut queued: BTreeMap<BuildId, u32> = BTreeMap::new();
    let mut handed_out: BTreeMap<Key, u32> = BTreeMap::new();
    for event in &farm.journal {
        match &event.fact {
            Fact::Build(
                build,
                BuildFact::SubjobHandedOut {
                    slave,
                    subjob,
                    attempt,
                },
            ) => {
                let key = (*build, *subjob);
                assert!(
                    !over.contains(build) && !results.contains(&key),
                    "{event:?}"
                );
                assert_eq!(held.insert(key, (*slave, *attempt)), None, "{event:?}");
                let before = last.insert(key, *attempt).map_or(0, |before| before.0);
                let of = handed_out.insert(key, incarnation);
                // In a new incarnation the numbers leave some out, which may have been given.
                if of.or(queued.get(build).copied()) == Some(incarnation) {
                    assert_eq!(before + 1, attempt.0, "{event:?}");
                } else {
                    assert!(before < attempt.0, "{event:?}");
                }
            }
            Fact::Build(
                build,
                BuildFact::SubjobFinished {
                    slave,
                    subjob,
                    attempt,
                    ..
                },
            ) => {
                let key = (*build, *subjob);
                assert_eq!(held.remove(&key), Some((*slave, *attempt)), "{event:?}");
                assert!(results.insert(key), "{event:?}");
            }
            Fact::Build(
                build,
                BuildFact::AttemptFailed {
                    slave,
                    subjob,
                    attempt,
                    ..
                },
            ) => {
                let key = (*build, *subjob);
                assert_eq!(held.remove(&key), Some((*slave, *attempt)), "{event:?}");
                assert!(failed.insert((key, *attempt)), "{event:?}");
            }
            Fact::Build(
                build,
                BuildFact::SubjobReturned {
                    slave,
                    subjob,
                    attempt,
                    ..
                },
            )
            | Fact::Build(
                build,
                BuildFact::ResultDoubted {
                    slave,
                    subjob,
                    attempt,
                },
            ) => {
                let key = (*build, *subjob);
                assert_eq!(held.remove(&key), Some((*slave, *attempt)), "{event:?}");
            }
            Fact::Build(build, BuildFact::Hunted { runs }) => {
                assert!(!retired.contains(build), "{event:?}");
                for run in runs {
                    assert!(hunted.insert(run.ms), "it counts twice: {event:?}");
                }
            }
            Fact::Build(build, BuildFact::CutOff { subjobs, .. }) => {
                for (subjob, attempt) in subjobs {
                    let key = (*build, *subjob);
                    assert!(over.contains(build) && !results.contains(&key), "{event:?}");
                    assert_eq!(last.get(&key), Some(attempt), "{event:?}");
                }
            }
            Fact::Build(build, BuildFact::SubjobPoisoned { subjob, .. }) => {
                let key = (*build, *subjob);
                assert!(!held.contains_key(&key), "{event:?}");
                assert!(results.insert(key), "{event:?}");
            }
            Fact::Slave(slave, SlaveFact::HandOutsKept { hand_outs }) => {
                for one in hand_outs {
                    let key = (one.build, one.subjob);
                    // Nobody else was asked since, and nobody has it now.
                    assert_eq!(last.get(&key), Some(&one.attempt), "{event:?}");
                    assert!(
                        !over.contains(&one.build) && !results.contains(&key),
                        "{event:?}"
                    );
                    assert_eq!(held.insert(key, (*slave, one.attempt)), None, "{event:?}");
                    assert!(!failed.contains(&(key, one.attempt)), "{event:?}");
                    kept.insert((key, one.attempt));
                }
            }
            Fact::Slave(slave, SlaveFact::Lost { .. }) => {
                held.retain(|_, (holder, _)| holder != slave);
            }
            Fact::Slave(slave, SlaveFact::Quarantined { .. }) => {
                held.retain(|key, (holder, attempt)| {
                    holder != slave || kept.contains(&(*key, *attempt))
                });
            }
            Fact::Build(build, BuildFact::SetupFailed { slave, .. }) => {
                held.retain(|key, (holder, attempt)| {
                    key.0 != *build || holder != slave || kept.contains(&(*key, *attempt))
                });
            }
            Fact::Build(build, BuildFact::Failed { .. })
            | Fact::Build(build, BuildFact::Canceled)
            | Fact::Build(build, BuildFact::Finished) => {
                assert!(over.insert(*build), "it ends twice: {event:?}");
                held.retain(|(of, _), _| of != build);
            }
            Fact::Build(build, BuildFact::Forgotten { .. }) => {
                assert!(over.contains(build), "{event:?}");
            }
            Fact::Build(build, BuildFact::Retired) => drop(retired.insert(*build)),
            Fact::Farm(FarmFact::IncarnationBegun { .. }) => incarnation += 1,
            Fact::Build(build, BuildFact::Queued { .. }) => {
                queued.insert(*build, incarnation);
            }
            Fact::Build(build, BuildFact::Split { children, .. }) => {
                assert!(!over.contains(build), "{event:?}");
                assert!(split.insert(*build), "it is split twice: {event:?}");
                for (child, _) in children {
                    let before = queued.insert(*child, incarnation);
                    assert_eq!(before, None, "it was there before: {event:?}");
                }
            }
            Fact::Account(..)
            | Fact::Slave(_, SlaveFact::Hosts(_) | SlaveFact::HasSnapshots { .. })
            | Fact::Template(..)
            | Fact::Instance(..)
            | Fact::App(..)
            | Fact::Project(..)
            | Fact::Farm(FarmFact::MasterStarted { .. })
            | Fact::Farm(FarmFact::IdsReserved { .. })
            | Fact::Build(_, BuildFact::StatusPosted { .. })
            | Fact::Build(_, BuildFact::HuntGoesOn { .. })
            | Fact::Build(_, BuildFact::PreparationStarted { .. })
            | Fact::Build(_, BuildFact::PreparationStopped)
            | Fact::Build(_, BuildFact::Prepared { .. })
            | Fact::Build(_, BuildFact::ArchivingStarted)
            | Fact::Build(_, BuildFact::Cleared)
            | Fact::Build(_, BuildFact::Deleted)
            | Fact::Build(_, BuildFact::Described { .. })
            | Fact::Slave(_, SlaveFact::Forgotten)
            | Fact::Slave(_, SlaveFact::Connected { .. })
            | Fact::Slave(_, SlaveFact::ShutdownRequested)
            | Fact::Slave(_, SlaveFact::EndRequested)
            | Fact::Slave(_, SlaveFact::Ended)
            | Fact::Slave(_, SlaveFact::DrainRequested)
            | Fact::Slave(_, SlaveFact::DrainEnded)
            | Fact::Slave(_, SlaveFact::Released)
            | Fact::Slave(_, SlaveFact::ProbeStarted)
            | Fact::Slave(_, SlaveFact::Reserved { .. })
            | Fact::Build(_, BuildFact::SubjobSuspected { .. })
            | Fact::Build(_, BuildFact::Warned { .. })
            | Fact::Build(_, BuildFact::SetupRequested { .. })
            | Fact::Build(_, BuildFact::SetupCompleted { .. })
            | Fact::Build(_, BuildFact::TeardownRequested { .. })
            | Fact::Build(_, BuildFact::TeardownCompleted { .. }) => {}
        }
    }
}

impl Tally {
    fn parts(&mut self) -> [&mut usize; 98] {
        [
            &mut self.split,
            &mut self.matrices_passed,
            &mut self.matrices_failed,
            &mut self.matrices_in_error,
            &mut self.matrices_canceled,
            &mut self.restarted_in_a_matrix,
            &mut self.finished,
            &mut self.failed,
            &mut self.canceled,
            &mut self.statuses_posted,
            &mut self.hunts_begun,
            &mut self.hunts_ended,
            &mut self.hunts_found,
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
            &mut self.failed_disks,
            &mut self.results_put_off,
            &mut self.cuts,
            &mut self.clock_jumps,
            &mut self.sick_of_setups,
            &mut self.sick_of_failures,
            &mut self.sick_of_results,
            &mut self.slaves_drained,
            &mut self.slaves_released,
            &mut self.slaves_reserved,
            &mut self.poisoned,
            &mut self.results_kept,
            &mut self.retired,
            &mut self.too_old,
            &mut self.too_many,
            &mut self.too_large,
            &mut self.cleared,
            &mut self.slaves_forgotten,
            &mut self.deleted,
            &mut self.deletions_completed,
            &mut self.described,
            &mut self.users_created,
            &mut self.users_deleted,
            &mut self.projects_made,
            &mut self.projects_changed,
            &mut self.projects_shared,
            &mut self.projects_deleted,
            &mut self.bookmarks_set,
            &mut self.bookmarks_taken_back,
            &mut self.handed_out_ahead,
            &mut self.handed_out_with_setup,
            &mut self.lost_with_a_queue,
            &mut self.results_doubted,
            &mut self.attempts_failed,
            &mut self.retried_elsewhere,
            &mut self.lost_in_a_retry,
            &mut self.canceled_in_a_retry,
            &mut self.restarted_before_a_retry,
            &mut self.flaky,
            &mut self.cut_short,
            &mut self.probes,
            &mut self.deadly,
            &mut self.disks_restored,
            &mut self.journals_restored,
            &mut self.journals_repaired,
            &mut self.journals_lost,
            &mut self.disks_lost,
            &mut self.results_missed,
            &mut self.begun_for_results,
            &mut self.begun_for_slaves,
            &mut self.ids_reserved,
            &mut self.templates_registered,
            &mut self.templates_named,
            &mut self.templates_preloaded,
            &mut self.templates_removed,
            &mut self.instances_launched,
            &mut self.instances_placed,
            &mut self.instances_adopted,
            &mut self.instances_displaced,
            &mut self.instances_up,
            &mut self.instances_crashed,
            &mut self.instances_failed,
            &mut self.instances_stopped,
            &mut self.instances_culled,
            &mut self.builds_in_the_way,
            &mut self.apps_created,
            &mut self.apps_configured,
            &mut self.apps_built,
            &mut self.apps_rolled_back,
            &mut self.apps_scaled,
            &mut self.apps_deleted,
            &mut self.domains_added,
            &mut self.runs_started,
            &mut self.runs_exited,
            &mut self.instances_retired,
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
