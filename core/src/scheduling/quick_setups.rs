//! The jobs that a slave has set up quickly.

use std::collections::BTreeSet;

/// A set-up is quick if it takes at most this long: as much work as may be prefetched for an executor anyway, see
/// [`super::prefetch`].
const QUICK_MS: u64 = 250;

/// How many jobs with quick set-ups a slave remembers at most.
const REMEMBERED: usize = 64;

/// Jobs whose last set-up on a slave was quick. A forgotten one costs a round trip.
#[derive(Clone, Debug, Default)]
pub(crate) struct QuickSetups(BTreeSet<u64>);

impl QuickSetups {
    /// Notes how long a set-up took; `None` if it failed.
    pub(crate) fn note(&mut self, job: u64, took_ms: Option<u64>) {
        if took_ms.is_none_or(|took| took > QUICK_MS) {
            self.0.remove(&job);
            return;
        }
        if self.0.len() >= REMEMBERED && !self.0.contains(&job) {
            // The keys are hashes, so this removes a random job.
            self.0.pop_first();
        }
        self.0.insert(job);
    }

    /// Whether the last set-up of a job was quick.
    pub(crate) fn has(&self, job: u64) -> bool {
        self.0.contains(&job)
    }
}
