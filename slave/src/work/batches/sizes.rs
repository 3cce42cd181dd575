//! How many atoms one process gets, and how long it may run. All executors are to end at the same time, and with as few
//! starts of processes as possible. Pure.
//!
//! A batch is an even share of what is left, where each executor that takes one pays the start of a process, and those that
//! run something come later. How long atoms take is known but roughly: a share that turns out to be longer by a part of
//! itself keeps all others waiting for that part. Half the share halves the wait, and costs one more start. So a batch is
//! half a share as long as that pays, and a whole one from then on.

use super::learned::{Learned, Model, expected};
use std::time::Duration;

/// How long a batch lasts at most, as far as that is known: results are seen and safe at its end only, and other builds
/// wait for its executor. Where a start is dear a batch may last so many of them.
const LONGEST: f64 = 10.0;
const LONGEST_STARTS: f64 = 8.0;

/// What would leave less than this part of a start, and of the batch, to another process is taken along.
const CRUMB: f64 = 0.25;

/// The most atoms of a batch, and the most bytes of their values: these must fit into a variable.
const MOST_ATOMS: usize = 1_000;
const MOST_BYTES: usize = 96 << 10;

/// An atom that may go into a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) expected: Option<Duration>,
    /// The length of its value.
    pub(super) bytes: usize,
    /// In how many atoms' company it may run.
    pub(super) most: Option<usize>,
}

/// What the executors of a build do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// How many they are, with the one that is idle.
    pub(super) executors: usize,
    /// In how many seconds those are expected to end that run a batch.
    pub(super) busy: &'a [f64],
}

impl Around<'_> {
    /// How many seconds of work the executor that is idle has of so many of them, if all are to end at the same time and
    /// to begin with a start.
    fn share(&self, work: f64, start: f64) -> f64 {
        let mut begins: Vec<f64> = self.busy.iter().map(|busy| busy.max(0.0) + start).collect();
        begins.sort_by(f64::total_cmp);
        // The others are taken to be idle soon.
        let idle = self.executors.saturating_sub(begins.len()).max(1) as f64;
        let (mut number, mut sum) = (idle, idle * start);
        let mut end = (work + sum) / number;
        for begin in begins {
            if begin >= end {
                break;
            }
            (number, sum) = (number + 1.0, sum + begin);
            end = (work + sum) / number;
        }
        end - start
    }
}

/// How many of the atoms that wait, in their order, go into the next batch: at least one of them, if there are any.
pub(super) fn size(learned: &Learned, waiting: &[Candidate], around: Around<'_>) -> usize {
    let models = [learned.model(false), learned.model(true)];
    let model_of = |one: &Candidate| &models[usize::from(one.expected.is_none())];
    let length_of = |one: &Candidate| model_of(one).atoms(expected(one.expected));
    let Some(first) = waiting.first() else {
        return 0;
    };
    let Model { start, error, .. } = *model_of(first);
    let all: f64 = waiting.iter().map(length_of).sum();
    let share = around.share(all, start);
    // Nobody waits where the others have enough to do for longer than all of it takes.
    let is_shared = share < all * 0.99;
    let is_half = is_shared && share / 2.0 * error > start;
    let share = if is_half { share / 2.0 } else { share };
    let target = share.min(LONGEST.max(LONGEST_STARTS * start));
    let (mut number, mut length, mut bytes) = (0, 0.0, 0);
    for one in waiting
        .iter()
        .take(first.most.unwrap_or(MOST_ATOMS).clamp(1, MOST_ATOMS))
    {
        bytes += one.bytes + 1;
        // What failed in one company is tried in a smaller one, and not with others.
        if number > 0 && (one.most != first.most || bytes > MOST_BYTES) {
            break;
        }
        // Atoms of which nothing is known may be far longer than others were.
        if number > 0 && one.expected.is_none() && number >= models[1].most_unknown {
            break;
        }
        // Nearer to the target than without it.
        let with = length + length_of(one);
        let is_near = with - target <= target - length;
        if number > 0 && !is_near && all - length > CRUMB * start.min(length) {
            break;
        }
        (number, length) = (number + 1, with);
    }
    number
}

/// How long a batch may run that is expected to take so many seconds, where each of its atoms may run so long alone: twice
/// what is expected beside that. One that is ended by that is halved, so that what hangs is found.
pub(super) fn limit(of_one: Duration, expected: f64) -> Duration {
    let expected = Duration::try_from_secs_f64(2.0 * expected).unwrap_or(Duration::MAX);
    of_one.saturating_add(expected)
}

#[cfg(test)]
mod tests {
    use super::super::learned::Seen;
    use super::*;
    use proptest::prelude::*;

    fn candidate(milliseconds: Option<u64>) -> Candidate {
        Candidate {
            expected: milliseconds.map(Duration::from_millis),
            bytes: 20,
            most: None,
        }
    }

    fn atoms(milliseconds: &[Option<u64>]) -> Vec<Candidate> {
        milliseconds.iter().copied().map(candidate).collect()
    }

    fn around(executors: usize, busy: &[f64]) -> Around<'_> {
        Around { executors, busy }
    }

    /// An atom: what is known of it, and what it takes in a batch, in milliseconds.
    type Atom = (Option<u64>, u64);

    /// A farm in virtual time.
    struct Farm {
        executors: usize,
        /// What the start of a process takes, in seconds.
        start: f64,
    }

    /// What a build was like.
    #[derive(Debug)]
    struct Ran {
        /// When the last batch ended.
        end: f64,
        sizes: Vec<usize>,
    }

    impl Farm {
        fn run(&self, learned: &mut Learned, atoms: &[Atom]) -> Ran {
            let known: Vec<Candidate> = atoms.iter().map(|(known, _)| candidate(*known)).collect();
            // When each executor ends what it runs, when it is expected to, and what that shows.
            let mut running: Vec<(f64, f64, Seen)> = Vec::new();
            let (mut now, mut next, mut sizes) = (0.0, 0, Vec::new());
            while next < atoms.len() || !running.is_empty() {
                if next == atoms.len() || running.len() == self.executors {
                    let ends = running.iter().map(|one| one.0);
                    let first = ends
                        .enumerate()
                        .min_by(|one, other| one.1.total_cmp(&other.1));
                    let (end, _, seen) = running.swap_remove(first.unwrap().0);
                    (now, _) = (end, learned.observe(&seen));
                    continue;
                }
                let busy: Vec<f64> = running.iter().map(|one| one.1 - now).collect();
                let number = size(learned, &known[next..], around(self.executors, &busy));
                let taken = &atoms[next..next + number];
                let took: u64 = taken.iter().map(|(_, takes)| takes).sum();
                let took = self.start + took as f64 / 1000.0;
                let unknown = taken.iter().filter(|(known, _)| known.is_none()).count();
                let lengths = known[next..next + number].iter();
                let seen = Seen {
                    atoms: number,
                    unknown,
                    expected: lengths.map(|one| expected(one.expected)).sum(),
                    took: Duration::from_secs_f64(took),
                    tests: None,
                };
                let ends = learned.model(unknown > 0).batch(seen.expected);
                running.push((now + took, now + ends, seen));
                (next, _) = (next + number, sizes.push(number));
            }
            Ran { end: now, sizes }
        }

        /// No schedule ends sooner: one start for each executor, and all of them busy from then on.
        fn oracle(&self, atoms: &[Atom]) -> f64 {
            let all: u64 = atoms.iter().map(|(_, takes)| takes).sum();
            let longest = atoms.iter().map(|(_, takes)| takes).max().unwrap_or(&0);
            self.start + (all as f64 / self.executors as f64).max(*longest as f64) / 1000.0
        }
    }

    #[test]
    fn a_known_suite_of_short_files_needs_few_processes() {
        let farm = Farm {
            executors: 2,
            start: 0.2,
        };
        let mut learned = Learned::default();
        let first = farm.run(&mut learned, &[(None, 4); 200]);
        assert!(first.sizes.len() <= 8 && first.sizes[0] == 17, "{first:?}");
        // What a batch of 17 has learned of an atom: its part of the start is in it.
        let atoms = [(Some(16), 4); 200];
        for build in 0..5 {
            let ran = farm.run(&mut learned, &atoms);
            assert!(ran.sizes.len() <= 4, "{build}: {ran:?}");
            assert!(ran.end <= 1.4 * farm.oracle(&atoms), "{build}: {ran:?}");
        }
        let ran = farm.run(&mut learned, &atoms);
        assert_eq!(ran.sizes, [100, 100]);
    }

    #[test]
    fn batches_become_smaller_as_long_as_that_is_worth_a_start() {
        let farm = Farm {
            executors: 4,
            start: 0.5,
        };
        let mut learned = Learned::default();
        let atoms: Vec<Atom> = (0..2_000).map(|_| (Some(100), 100)).collect();
        let ran = farm.run(&mut learned, &atoms);
        assert!(ran.sizes.is_sorted_by(|one, next| one >= next), "{ran:?}");
        assert!(ran.sizes[0] <= 100 && ran.sizes.len() <= 40, "{ran:?}");
        // Starts are 5 % of batches of 10 s.
        assert!(ran.end <= 1.1 * farm.oracle(&atoms), "{ran:?}");
    }

    #[test]
    fn a_long_atom_has_a_process_of_its_own() {
        let learned = Learned::default();
        let mut all = vec![Some(9_000), Some(5_000)];
        all.extend([Some(100); 20]);
        let all = atoms(&all);
        assert_eq!(size(&learned, &all, around(2, &[])), 1);
        // All others together end before it does.
        assert_eq!(size(&learned, &all[1..], around(2, &[9.5])), 21);
        assert_eq!(size(&learned, &all[1..], around(2, &[1.0])), 1);
    }

    #[test]
    fn an_executor_that_will_be_idle_soon_is_left_its_share() {
        let learned = Learned::default();
        let all = atoms(&[Some(100); 50]);
        assert_eq!(size(&learned, &all, around(2, &[0.0])), 25);
        // An even share would be 40: so much that its half is worth one more start.
        assert_eq!(size(&learned, &all, around(2, &[3.0])), 20);
        assert_eq!(size(&learned, &all, around(2, &[60.0])), 50);
        assert_eq!(size(&learned, &all, around(1, &[])), 50);
        assert_eq!(size(&learned, &[], around(2, &[])), 0);
        // What is hardly anything needs no process of its own.
        assert_eq!(size(&learned, &all[..3], around(2, &[0.45])), 3);
    }

    #[test]
    fn nothing_is_longer_than_a_variable() {
        let long = Candidate {
            bytes: 40 << 10,
            ..candidate(Some(1))
        };
        assert_eq!(size(&Learned::default(), &[long; 9], around(1, &[])), 2);
        let huge = Candidate {
            bytes: 1 << 20,
            ..long
        };
        assert_eq!(size(&Learned::default(), &[huge; 9], around(1, &[])), 1);
    }

    #[test]
    fn a_limit_leaves_time_for_one_that_takes_long_and_for_all_others() {
        let second = Duration::from_secs(1);
        assert_eq!(limit(60 * second, 3.0), 66 * second);
        assert_eq!(limit(second, f64::INFINITY), Duration::MAX);
    }

    proptest! {
        /// However wrong what is known of atoms may be by factors of up to two, the third build of a suite is not far from
        /// the best schedule.
        #[test]
        fn a_build_ends_soon_after_the_oracles(
            takes in prop::collection::vec((1_u64..400, 50_u64..200), 2..400),
            executors in 1_usize..9,
            start_ms in 20_u32..1_500,
        ) {
            let farm = Farm { executors, start: f64::from(start_ms) / 1000.0 };
            let mut atoms: Vec<Atom> = takes.iter().map(|(takes, percent)| {
                (Some(takes * percent / 100), *takes)
            }).collect();
            atoms.sort_by_key(|(known, _)| std::cmp::Reverse(*known));
            let mut learned = Learned::default();
            farm.run(&mut learned, &atoms);
            farm.run(&mut learned, &atoms);
            let ran = farm.run(&mut learned, &atoms);
            prop_assert_eq!(ran.sizes.iter().sum::<usize>(), atoms.len());
            let best = farm.oracle(&atoms);
            prop_assert!(ran.end <= 2.0 * best + 1.0, "{} for {best}: {:?} {learned:?}", ran.end, ran.sizes);
        }

        #[test]
        fn some_go_and_never_too_many(
            waiting in prop::collection::vec((prop::option::of(0_u64..100_000), 0_usize..5_000, prop::option::of(1_usize..9)), 1..300),
            executors in 0_usize..100,
            busy in prop::collection::vec(-10.0_f64..1e9, 0..20),
            seen in prop::option::of((1_usize..9, 0_u64..100_000, 0_u64..200_000)),
        ) {
            let mut learned = Learned::default();
            if let Some((atoms, took, tests)) = seen {
                let ms = Duration::from_millis;
                learned.observe(&Seen { atoms, unknown: 0, expected: ms(tests), took: ms(took), tests: Some(ms(tests)) });
            }
            let waiting: Vec<Candidate> = waiting.iter().map(|(expected, bytes, most)| Candidate {
                expected: expected.map(Duration::from_millis), bytes: *bytes, most: *most,
            }).collect();
            let size = size(&learned, &waiting, around(executors, &busy));
            prop_assert!((1..=MOST_ATOMS).contains(&size));
            let taken = &waiting[..size];
            prop_assert!(taken.iter().all(|one| one.most == taken[0].most));
            prop_assert!(taken[0].most.is_none_or(|most| size <= most));
            prop_assert!(size == 1 || taken.iter().map(|one| one.bytes + 1).sum::<usize>() <= MOST_BYTES);
        }
    }
}
