//! What is promised of flakiness, tried with planted flakes.

use super::walk::random::Random;
use crate::builds::hunted::{HuntTrial, HuntTrials};
use crate::history::{Beta, Ended, Failure, Memory, Run, Tag, Verdict};
use crate::hunting::prey::Prey;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SlaveId};
use clusterrunner_common::work::HuntEnd;

/// In one of so many attempts a machine fails, whatever runs on it.
const MACHINE_FAILS_IN: u64 = 10_000;

/// So many of 1000 commits break an atom for sure.
const COMMITS_THAT_BREAK: u64 = 20;

/// So many of 1000 builds are of the same commit as the one before.
const SAME_COMMIT: u64 = 100;

/// Where all is hunted.
const SLAVE: SlaveId = SlaveId(1);

/// How many builds there are: beyond what is remembered.
const BUILDS: u64 = 400;

/// Whether an atom is hunted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hunting {
    Never,
    /// A hunt fails as often as any run.
    Alike,
    /// No hunt meets what makes the atom fail, such as the company of other atoms.
    InVain,
}

/// The build at which an atom is first called flaky that fails so often in 1000 runs, and is run again once, as
/// `retries: 1` has it. Where it is hunted, executors are idle for long enough in each build.
fn marked_at(flakiness: u64, seed: u64, hunting: Hunting) -> Option<u64> {
    let mut random = Random::new(seed);
    let mut memory = Memory::default();
    let (mut commit, mut is_broken) = (0, false);
    for build in 1..=BUILDS {
        if !random.happens(SAME_COMMIT) {
            commit += 1;
            is_broken = random.happens(COMMITS_THAT_BREAK);
        }
        let mut fails =
            || is_broken || random.happens(flakiness) || random.below(MACHINE_FAILS_IN) == 0;
        let failed = fails();
        let failed_again = failed && fails();
        let (mut hunted, mut is_resolved) = (HuntTrials::default(), true);
        let prey =
            Prey::of(&memory.trials(), hunted).filter(|_| hunting != Hunting::Never && !failed);
        if let Some(mut prey) = prey {
            while prey.turn_on(SLAVE).is_some() {
                prey.begun(SLAVE, true);
                let fails = match hunting {
                    Hunting::InVain => false,
                    Hunting::Never | Hunting::Alike => fails(),
                };
                let end = match fails {
                    true => HuntEnd::Failed,
                    false => HuntEnd::Passed,
                };
                match prey.ended(end) {
                    Some(HuntTrial::Passed) => hunted.passes += 1,
                    Some(HuntTrial::Flaked) => hunted.flakes += 1,
                    Some(HuntTrial::Failed) | None => {}
                }
                is_resolved = end == HuntEnd::Passed;
            }
        }
        // What a build does not explain says nothing.
        if !is_resolved {
            hunted = HuntTrials::default();
        }
        let run = Run {
            hunted,
            build: BuildId(build),
            commit: Some(Tag(commit)),
            told: 0,
            ended: match failed_again {
                true => Ended::Failed,
                false => Ended::Passed,
            },
            failed_before: u8::from(failed),
            ms: 100,
        };
        let of = Failure {
            build: run.build,
            commit: None,
            at: Timestamp(build),
        };
        memory.add(run, &of);
        if Beta::verdict(&memory.trials()) == Verdict::Flaky {
            return Some(build);
        }
    }
    None
}

#[track_caller]
fn assert_found(flakiness: u64, within: u64, hunting: Hunting) {
    const ATOMS: u64 = 300;
    let found = (0..ATOMS).filter_map(|seed| marked_at(flakiness, seed, hunting));
    let in_time = found.filter(|build| *build <= within).count() as u64;
    assert!(
        in_time * 100 >= ATOMS * 95,
        "{in_time} of {ATOMS} atoms that fail in {flakiness} of 1000 runs were found within {within} builds"
    );
}

#[test]
fn planted_flakes_are_found_within_so_many_builds() {
    for (flakiness, within) in [(20, 375), (50, 125), (100, 65), (200, 40), (300, 30)] {
        assert_found(flakiness, within, Hunting::Never);
    }
}

#[test]
fn hunts_find_planted_flakes_within_fewer_builds() {
    for (flakiness, within) in [(20, 150), (50, 20), (100, 12), (200, 8), (300, 8)] {
        assert_found(flakiness, within, Hunting::Alike);
    }
}

#[test]
fn hunts_in_vain_hide_no_planted_flakes() {
    for (flakiness, within) in [(20, 375), (50, 125), (100, 65), (200, 40), (300, 30)] {
        assert_found(flakiness, within, Hunting::InVain);
    }
}

#[track_caller]
fn assert_stable(hunting: Hunting) {
    const ATOMS: u64 = 2_000;
    let marked = (0..ATOMS).filter_map(|seed| marked_at(0, seed, hunting));
    let marked = marked.count();
    assert!(marked <= 2, "{marked} of {ATOMS}");
}

#[test]
fn at_most_one_of_a_thousand_stable_atoms_is_ever_called_flaky() {
    assert_stable(Hunting::Never);
}

#[test]
fn at_most_one_of_a_thousand_stable_atoms_that_are_hunted_is_ever_called_flaky() {
    assert_stable(Hunting::Alike);
}
