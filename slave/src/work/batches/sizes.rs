//! How many atoms one process gets, and how long it may run. Guided self-scheduling: large batches at first, small ones at
//! the end, so that no executor waits long for another. A batch is never much shorter than what starting its
//! process costs, but for the last ones, which share what is left evenly.

use std::time::Duration;

/// A batch is to be so many times as long as the start of its process takes, where there is enough to do.
const LEAST_STARTS: u32 = 4;

/// What the start of a process is taken to cost as long as no batch of the build has ended.
const USUAL_START: Duration = Duration::from_millis(500);

/// The bounds of what a batch lasts at least, whatever its start costs.
const LEAST: Duration = Duration::from_millis(500);
const LARGEST_LEAST: Duration = Duration::from_secs(20);

/// How long a batch lasts at most, as far as that is known, unless its start is dear: results are seen and safe at its end
/// only, and other builds wait for its executor.
const LONGEST: Duration = Duration::from_secs(10);

/// What an atom is taken to last as long as nothing is known of any of its build: so long that the first batches are
/// small, and soon show it.
const UNKNOWN: Duration = Duration::from_millis(600);

/// The most atoms of a batch, and the most bytes of their values: these must fit into a variable.
const MOST_ATOMS: usize = 1_000;
const MOST_BYTES: usize = 96 << 10;

/// Each run moves what is taken to be usual by this part of the way.
const MEMORY: u32 = 4;

/// What is known of the batches of a build on this slave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Learned {
    /// How long a batch takes beside its tests.
    start: Option<Duration>,
    /// How long an atom takes in a batch.
    atom: Option<Duration>,
}

/// An atom that may go into a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) expected: Option<Duration>,
    /// The length of its value.
    pub(super) bytes: usize,
    /// In how many atoms' company it may run.
    pub(super) most: Option<usize>,
}

/// What else is to be known for a size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// How many executors work on the build.
    pub(super) executors: usize,
    /// What they run already is expected to take so long in all.
    pub(super) running: Duration,
}

impl Learned {
    /// Learns from a batch of so many atoms that took so long, and of which its tests took `tests`.
    pub(super) fn observe(&mut self, atoms: usize, took: Duration, tests: Duration) {
        let Ok(atoms) = u32::try_from(atoms.max(1)) else {
            return;
        };
        // Tests of a batch may run side by side.
        let tests = tests.min(took);
        let towards = |usual: &mut Option<Duration>, seen: Duration| {
            let before = usual.unwrap_or(seen);
            *usual = Some((before * (MEMORY - 1) + seen) / MEMORY);
        };
        towards(&mut self.start, took - tests);
        towards(&mut self.atom, tests / atoms);
    }

    /// How long an atom is expected to take.
    pub(super) fn expected(&self, expected: Option<Duration>) -> Duration {
        expected.or(self.atom).unwrap_or(UNKNOWN)
    }

    /// How many of the atoms that wait, in their order, go into the next batch: at least one of them, if there are any.
    pub(super) fn size(&self, waiting: &[Candidate], around: Around) -> usize {
        let of = |one: &Candidate| self.expected(one.expected);
        let all: Duration = waiting
            .iter()
            .map(of)
            .fold(around.running, Duration::saturating_add);
        let executors = u32::try_from(around.executors.max(1)).unwrap_or(u32::MAX);
        let least = self
            .start
            .unwrap_or(USUAL_START)
            .saturating_mul(LEAST_STARTS);
        let least = least.clamp(LEAST, LARGEST_LEAST);
        let target = (all / executors / 2).max(least.min(all / executors));
        let target = target.min(LONGEST.max(least));
        let most = waiting.first().and_then(|first| first.most);
        let (mut number, mut length, mut bytes) = (0, Duration::ZERO, 0);
        for one in waiting
            .iter()
            .take(most.unwrap_or(MOST_ATOMS).clamp(1, MOST_ATOMS))
        {
            bytes += one.bytes + 1;
            // What failed in one company is tried in a smaller one, and not with others.
            if number > 0 && (one.most != most || bytes > MOST_BYTES) {
                break;
            }
            // Nearer to the target than without it.
            let with = length.saturating_add(of(one));
            if number > 0 && with > target && with - target > target.saturating_sub(length) {
                break;
            }
            (number, length) = (number + 1, with);
            if length >= target {
                break;
            }
        }
        number
    }
}

/// How long a batch may run where each of its atoms may run so long alone: as long as one, and twice what all are expected
/// to take. One that is ended by that is halved, so that what hangs is found.
pub(super) fn limit(of_one: Duration, expected: impl Iterator<Item = Duration>) -> Duration {
    expected.fold(of_one, |limit, atom| limit.saturating_add(atom * 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn atoms(milliseconds: &[Option<u64>]) -> Vec<Candidate> {
        let candidate = |milliseconds: &Option<u64>| Candidate {
            expected: milliseconds.map(Duration::from_millis),
            bytes: 20,
            most: None,
        };
        milliseconds.iter().map(candidate).collect()
    }

    fn around(executors: usize, running_ms: u64) -> Around {
        Around {
            executors,
            running: Duration::from_millis(running_ms),
        }
    }

    #[test]
    fn few_short_atoms_are_shared_evenly() {
        let learned = Learned::default();
        let all = atoms(&[Some(8); 200]);
        assert_eq!(learned.size(&all, around(2, 0)), 100);
        assert_eq!(learned.size(&all[100..], around(2, 800)), 100);
        // Of those of which nothing is known a few show how long they take.
        assert_eq!(learned.size(&atoms(&[None; 200]), around(2, 0)), 17);
        assert_eq!(learned.size(&[], around(2, 0)), 0);
    }

    #[test]
    fn batches_become_smaller_until_they_are_as_long_as_their_start_is_worth() {
        let mut learned = Learned::default();
        learned.observe(10, Duration::from_millis(600), Duration::from_millis(100));
        let all = atoms(&[Some(100); 1_000]);
        let (mut left, mut running, mut sizes) = (&all[..], 0, Vec::new());
        while !left.is_empty() {
            let size = learned.size(left, around(4, running));
            sizes.push(size);
            left = &left[size..];
            running = 300;
        }
        assert_eq!(sizes[0], 100);
        assert!(sizes.is_sorted_by(|one, next| one >= next), "{sizes:?}");
        assert!(sizes.contains(&20) && sizes.last() < Some(&20), "{sizes:?}");
    }

    #[test]
    fn a_long_atom_has_a_process_of_its_own() {
        let learned = Learned::default();
        let mut all = vec![Some(9_000), Some(5_000)];
        all.extend([Some(100); 20]);
        let all = atoms(&all);
        assert_eq!(learned.size(&all, around(2, 0)), 1);
        assert_eq!(learned.size(&all[1..], around(2, 9_000)), 1);
        assert!(learned.size(&all[2..], around(2, 9_000)) > 10);
    }

    #[test]
    fn nothing_is_longer_than_a_variable() {
        let long = Candidate {
            bytes: 40 << 10,
            ..atoms(&[Some(1)])[0]
        };
        assert_eq!(Learned::default().size(&[long; 9], around(1, 0)), 2);
        let huge = Candidate {
            bytes: 1 << 20,
            ..long
        };
        assert_eq!(Learned::default().size(&[huge; 9], around(1, 0)), 1);
    }

    #[test]
    fn a_limit_leaves_time_for_one_that_takes_long_and_for_all_others() {
        let second = Duration::from_secs(1);
        assert_eq!(
            limit(60 * second, [second, 2 * second].into_iter()),
            66 * second
        );
    }

    proptest! {
        #[test]
        fn some_go_and_never_too_many(
            waiting in prop::collection::vec((prop::option::of(0_u64..100_000), 0_usize..5_000, prop::option::of(1_usize..9)), 1..300),
            executors in 0_usize..100,
            running in 0_u64..1_000_000,
            seen in prop::option::of((0_usize..9, 0_u64..100_000, 0_u64..200_000)),
        ) {
            let mut learned = Learned::default();
            if let Some((atoms, took, tests)) = seen {
                learned.observe(atoms, Duration::from_millis(took), Duration::from_millis(tests));
            }
            let waiting: Vec<Candidate> = waiting.iter().map(|(expected, bytes, most)| Candidate {
                expected: expected.map(Duration::from_millis), bytes: *bytes, most: *most,
            }).collect();
            let size = learned.size(&waiting, around(executors, running));
            prop_assert!((1..=MOST_ATOMS).contains(&size));
            let taken = &waiting[..size];
            prop_assert!(taken.iter().all(|one| one.most == taken[0].most));
            prop_assert!(taken[0].most.is_none_or(|most| size <= most));
            prop_assert!(size == 1 || taken.iter().map(|one| one.bytes + 1).sum::<usize>() <= MOST_BYTES);
        }
    }
}
