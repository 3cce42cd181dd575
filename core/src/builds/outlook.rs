//! How much of a build runs now, and how long what is left of it will take at that pace.

use crate::builds::build::Build;
use clusterrunner_common::ids::{Attempt, SubjobId};

/// How many of the subjobs that slaves have are looked at: an estimate needs no more, and there may be very many of them
/// each time that a build is shown.
const HELD_LOOKED_AT: usize = 256;

impl Build {
    /// How many atoms run: no more than there are executors that work on the build. What else slaves have of
    /// it waits there, or is only to be delivered.
    #[must_use]
    pub fn num_atoms_in_progress(&self) -> u64 {
        let working = self.num_executors();
        let running = self.progress().into_iter();
        let running = running.flat_map(|progress| progress.running.keys());
        let atoms = running.filter_map(|id| Some(self.subjob(*id)?.atoms.len()));
        atoms.take(working).sum::<usize>().min(working) as u64
    }

    /// What is left of the atoms of a build at the pace of the executors that it has now, in milliseconds; nothing where
    /// nothing is known of how long they take, or none of them runs. `ran_ms` says for how long a hand-out has run.
    #[must_use]
    pub fn left_ms(&self, ran_ms: impl Fn(SubjobId, Attempt) -> u64) -> Option<u64> {
        let progress = self.progress()?;
        let held = progress.running.len();
        let every = held.div_ceil(HELD_LOOKED_AT).max(1);
        let some = progress.running.iter().step_by(every);
        let some = some.filter_map(|(id, (_, attempt))| {
            let expected_ms = self.subjob(*id)?.expected_ms();
            Some(expected_ms.saturating_sub(ran_ms(*id, *attempt)))
        });
        let left_of_held: Vec<u64> = some.collect();
        let aside = self.set_aside().map(|(_, subjob)| subjob.expected_ms());
        let waiting_ms =
            progress.unstarted.expected_ms() + progress.again.expected_ms() + aside.sum::<u64>();
        let left_ms = left(
            waiting_ms,
            (&left_of_held, held as u64),
            self.num_executors() as u64,
        )?;
        (left_ms > 0).then_some(left_ms)
    }
}

/// In milliseconds: the work that waits and what is left of that which slaves have, shared out to the executors, but no less
/// than what is left of the longest. Of the `held` subjobs that slaves have, some are given. None without executors.
fn left(waiting_ms: u64, (some, held): (&[u64], u64), executors: u64) -> Option<u64> {
    let sum = some
        .iter()
        .fold(0_u64, |sum, left| sum.saturating_add(*left));
    let held_ms = sum.saturating_mul(held).checked_div(some.len() as u64);
    let all_ms = waiting_ms.saturating_add(held_ms.unwrap_or(0));
    let longest = some.iter().copied().max().unwrap_or(0);
    Some(all_ms.checked_div(executors)?.max(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_shared_out_but_for_the_longest() {
        for (waiting, held, executors, expected) in [
            (40, &[10, 10][..], 2, Some(30)),
            (0, &[10, 50], 2, Some(50)),
            (0, &[0, 0], 2, Some(0)),
            (0, &[], 2, Some(0)),
            (40, &[10], 0, None),
        ] {
            let found = left(waiting, (held, held.len() as u64), executors);
            assert_eq!(found, expected, "{waiting} {held:?} {executors}");
        }
        // Some of very many stand for all of them.
        assert_eq!(left(0, (&[10, 20], 200), 10), Some(300));
    }

    #[test]
    fn it_only_falls_while_atoms_run() {
        let mut last = u64::MAX;
        for ran in (0..200_u64).step_by(7) {
            let held = [50, 120_u64].map(|expected| expected.saturating_sub(ran));
            let now = left(30, (&held, 2), 2).unwrap();
            assert!(now <= last, "{ran}: {now} after {last}");
            last = now;
        }
        // What takes longer than expected does not count below nothing.
        assert_eq!(last, 15);
    }
}
