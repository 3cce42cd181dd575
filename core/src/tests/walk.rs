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
//! CLUSTERRUNNER_WALK_SEEDS=1000000 cargo test -p clusterrunner-core --lib every_build_ends \
//!     --config 'profile.dev.package.clusterrunner-master.opt-level=2' -- --nocapture
//! ```
//!
//! `CLUSTERRUNNER_WALK_SEED=17` walks just one, `CLUSTERRUNNER_WALK_FROM=5000` begins there: a window of a long run, which may
//! miss what is rare. A seed that fails is made smaller by itself; what is printed can be kept as a test in `kept.rs`.
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
mod history;
mod hosting;
mod hunting;
mod kept;
mod keys;
mod launching;
mod legacy;
mod machine;
mod master;
mod messages;
mod mutation;
mod plan;
mod quiet;
pub(super) mod random;
mod tally;
mod users;
mod world;

use super::statuses::check_told;
use crate::MAX_DEATHS;
use crate::builds::build::{Build, BuildState};
use crate::builds::mishaps::POISON_AFTER;
use crate::builds::outcome::{AtomOutcome, AtomTrouble};
use crate::builds::subjob::{POISON_EXIT_CODE, Subjob};
use crate::event::{BuildFact, Fact, SlaveFact};
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use clusterrunner_common::work::{AtomUsage, InWorker};
use history::check_history;
use machine::Sickness;
use mutation::Mutation;
use plan::Plan;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tally::Tally;
use world::World;

/// Enough for every kind of trouble to meet every other, and still a matter of seconds.
const NUM_SEEDS: u64 = 1000;

/// How often a long run tells how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

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
            // A window must not fail for what is rare: a few in a hundred windows miss it. The sum of a run has all.
            let is_whole = from == 0 && num_seeds >= NUM_SEEDS;
            assert!(!is_whole || sum.met_everything(), "{sum:#?}");
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
                assert!(build.may_be_cut_short(None), "{build:?}");
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
        usage: command.contains(FLAKY).then_some(AtomUsage {
            output_bytes: 0,
            processes: None,
            in_vain_ms: 0,
            last_in_vain: None,
            worker: bits.is_multiple_of(3).then_some(InWorker::Failed),
        }),
    }
}
