//! How fast atoms end, for an estimate of the rest.

use crate::output::text::duration;
use std::time::Instant;

/// The pace of a build.
pub(super) struct Pace {
    began: Instant,
    /// How many atoms had ended when the last one did, and when that was.
    last: (u64, Instant),
    /// How many seconds the master expects, and when it first said so.
    foretold: Option<(f64, Instant)>,
}

impl Pace {
    pub(super) fn start() -> Self {
        Self::since(Instant::now())
    }

    pub(super) fn since(began: Instant) -> Self {
        Self {
            began,
            last: (0, began),
            foretold: None,
        }
    }

    pub(super) fn note(&mut self, done: u64, seconds_left: Option<f64>) {
        if done != self.last.0 {
            self.last = (done, Instant::now());
        }
        if self.foretold.map(|(seconds, _)| seconds) != seconds_left {
            self.foretold = seconds_left.map(|seconds| (seconds, Instant::now()));
        }
    }

    /// In words, if anything is known. It counts down from one ended atom to the next.
    pub(super) fn time_left(&self, done: u64, left: u64) -> Option<String> {
        // Who knows how long each atom takes knows better than the pace so far.
        if let Some((seconds, since)) = self.foretold {
            return Some(in_units(seconds - since.elapsed().as_secs_f64()));
        }
        if done == 0 {
            return None;
        }
        let atoms_left_per_ended = left as f64 / done as f64;
        let until_last = self.last.1.duration_since(self.began).as_secs_f64();
        let left = until_last * atoms_left_per_ended - self.last.1.elapsed().as_secs_f64();
        Some(in_units(left))
    }
}

/// Whole seconds, one at least.
pub(super) fn in_units(seconds: f64) -> String {
    duration(seconds.round().max(1.0))
}
