//! Lots: subjobs that a forecast takes for one, so that a run in virtual time takes no longer with very many of them.

use super::whole;
use crate::builds::subjob::Subjob;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, SlaveId, SubjobId};
use std::cmp::Reverse;

/// So many subjobs of all builds together are looked at one by one.
const SINGLES: usize = 1000;

/// How many lots all builds have together at most: a run in virtual time hands each of them out once.
const LOTS: usize = 10_000;

/// How many lots a build may have at least, however many builds there are.
const FEWEST_LOTS: usize = 16;

/// A lot takes at most this part (one over it) of what is left for each executor: so executors end together in spite of
/// lots, which get the smaller the nearer the end is.
const TAPER: u64 = 2;

/// How many subjobs of all builds together are looked at, to see some that have ended and some that wait, but for those
/// that each build has at least; and how many of a build, at least and at most.
const LOOKED_AT: usize = 8000;
const LOOKED_AT_OF_ONE: std::ops::RangeInclusive<usize> = 64..=1000;

/// Subjobs that a forecast takes for one: a single one, or several of about the same length that go out one after the
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The first of them.
    pub first: SubjobId,
    /// How many there are.
    pub number: u32,
    /// How long they are expected to take together, in milliseconds; none where nothing is known of the build's atoms.
    pub expected_ms: Option<u64>,
    /// The slave that has it, with the number of the hand-out.
    pub held: Option<(SlaveId, Attempt)>,
    /// When it began to run, as its slave says.
    pub started: Option<Timestamp>,
}

impl Lot {
    /// A subjob that waits.
    #[must_use]
    pub fn of(first: SubjobId, subjob: &Subjob) -> Self {
        let is_known = !subjob.atoms_expected_ms.is_empty();
        Self::single(first, is_known.then(|| subjob.expected_ms()))
    }

    pub(super) fn single(first: SubjobId, expected_ms: Option<u64>) -> Self {
        Self {
            first,
            number: 1,
            expected_ms,
            held: None,
            started: None,
        }
    }
}

/// Waiting subjobs of which only some were looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest {
    pub(super) number: usize,
    /// How long all of them are expected to take, in milliseconds, where that is known.
    expected_ms: Option<u64>,
    /// Some of them: what one is expected to take, and its id.
    pub(super) some: Vec<(Reverse<Option<u64>>, SubjobId)>,
}

impl Rest {
    pub(super) fn of(number: usize, expected_ms: Option<u64>) -> Self {
        Self {
            number,
            expected_ms,
            some: Vec::new(),
        }
    }

    /// All of them, as if those that were looked at stood for as many others each, in the order in which they are handed
    /// out.
    pub(super) fn lots(mut self) -> impl Iterator<Item = Lot> {
        self.some.sort_unstable();
        let (number, looked_at) = (self.number, self.some.len());
        let mean = self
            .expected_ms
            .map(|all| all as f64 / number.max(1) as f64);
        let seen = self
            .some
            .iter()
            .filter_map(|(Reverse(expected), _)| *expected);
        let mean_of_some = seen.sum::<u64>() as f64 / looked_at.max(1) as f64;
        // What is known of all of them counts more than what some of them say.
        let by = match mean {
            Some(mean) if mean_of_some > 0.0 => mean / mean_of_some,
            Some(_) | None => 1.0,
        };
        let lot = move |index: usize| {
            // Chance is drawn for an id: each has another, which no subjob has.
            let id = SubjobId(u32::MAX - u32::try_from(index).unwrap_or(u32::MAX));
            match self.some.get(index * looked_at / number.max(1)) {
                Some((Reverse(ms), _)) => Lot::single(id, ms.map(|ms| whole(ms as f64 * by))),
                None => Lot::single(id, mean.map(whole)),
            }
        };
        (0..number).map(lot)
    }
}

/// How the waiting subjobs of a build become a bounded number of lots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bundling {
    /// How many of them are looked at one by one.
    pub(super) singles: usize,
    /// How many subjobs are looked at to see some that have ended and some that wait.
    pub(super) looked_at: usize,
    most_lots: usize,
    executors: u64,
}

impl Bundling {
    /// For each of so many builds, on so many executors.
    pub(super) fn of(num_builds: usize, executors: u64) -> Self {
        let part = |all: usize| (all / num_builds.max(1)).max(FEWEST_LOTS);
        let (fewest, most) = LOOKED_AT_OF_ONE.into_inner();
        Self {
            singles: part(SINGLES),
            looked_at: part(LOOKED_AT).clamp(fewest, most),
            most_lots: part(LOTS),
            executors: executors.max(1),
        }
    }

    /// Lots of these subjobs, in their order. `whole` is how many they are, and how long all are expected to take.
    pub(super) fn lots(
        self,
        waiting: impl Iterator<Item = Lot>,
        whole: (usize, Option<u64>),
    ) -> Vec<Lot> {
        let (number, expected_ms) = whole;
        if number <= self.singles {
            return waiting.collect();
        }
        let mut left = expected_ms.unwrap_or(number as u64);
        let mut lots: Vec<Lot> = Vec::new();
        let mut open: Option<(Lot, u64)> = None;
        for next in waiting {
            let weight = next.expected_ms.unwrap_or(1);
            let (lot, weight) = match open {
                Some((lot, before)) => (lot.with(next), before.saturating_add(weight)),
                None => (next, weight),
            };
            open = if weight >= left / (TAPER * self.executors) {
                lots.push(lot);
                left = left.saturating_sub(weight);
                None
            } else {
                Some((lot, weight))
            };
        }
        lots.extend(open.map(|(lot, _)| lot));
        let too_many = lots.len().div_ceil(self.most_lots);
        let bundles = lots.chunks(too_many.max(1));
        let bundles = bundles.filter_map(|lots| lots.iter().copied().reduce(Lot::with));
        bundles.collect()
    }
}

impl Lot {
    fn with(self, other: Self) -> Self {
        let expected_ms = self.expected_ms.zip(other.expected_ms);
        Self {
            number: self.number + other.number,
            expected_ms: expected_ms.map(|(one, other)| one.saturating_add(other)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(id: u32, expected_ms: u64) -> Lot {
        Lot::single(SubjobId(id), Some(expected_ms))
    }

    fn sum(lots: &[Lot]) -> (u32, u64) {
        let expected = lots.iter().filter_map(|lot| lot.expected_ms).sum();
        (lots.iter().map(|lot| lot.number).sum(), expected)
    }

    #[test]
    fn lots_get_the_smaller_the_nearer_the_end_is_and_none_is_lost() {
        let all: Vec<Lot> = (0..100_000)
            .map(|id| single(id, 200_000 - u64::from(id)))
            .collect();
        let whole = sum(&all);
        for (executors, most) in [(8, 300), (200, 4000), (4000, LOTS)] {
            let bundling = Bundling::of(1, executors);
            let lots = bundling.lots(all.iter().copied(), (all.len(), Some(whole.1)));
            assert!(lots.len() <= most, "{executors}: {}", lots.len());
            assert_eq!(sum(&lots), whole);
            let longest = lots.iter().filter_map(|lot| lot.expected_ms).max();
            let fits = longest.is_some_and(|longest| longest <= whole.1 / executors);
            assert!(fits || lots.len() > 4000, "{executors}: {longest:?}");
            assert!(lots[0].number >= lots[lots.len() - 1].number);
        }
        let few = Bundling::of(1, 8).lots(all[..900].iter().copied(), (900, None));
        assert_eq!(few, all[..900]);
    }
}
