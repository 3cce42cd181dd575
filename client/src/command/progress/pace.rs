//! When a build will end: as its master foretells it, else by how fast atoms end.

use crate::output::text::{clock, duration};
use clusterrunner_common::api::FinishView;
use std::time::{Duration, Instant};

/// For how long it counts when a build will end, while its master does not say so again.
const HOLDS: Duration = Duration::from_secs(15);

/// The pace of a build.
pub(super) struct Pace {
    began: Instant,
    /// How many atoms had ended when the last one did, and when that was.
    last: (u64, Instant),
    /// When the master says that the build will end.
    foretold: Option<Foretold>,
    /// How many seconds a master expects that foretells nothing, and when it first said so.
    expected: Option<(f64, Instant)>,
}

/// When a build will end, as it was said at a moment.
#[derive(Clone, Copy)]
pub(super) struct Foretold {
    finish: FinishView,
    since: Instant,
}

impl Foretold {
    /// As it is said at a moment.
    pub(super) fn at(finish: FinishView, since: Instant) -> Self {
        Self { finish, since }
    }

    /// What is left then of the time that was said.
    pub(super) fn left(self, now: Instant) -> FinishView {
        let ago = now.duration_since(self.since);
        self.finish.after(ago.as_secs_f64())
    }

    /// The same if it was not said long ago: a look that says nothing does not make the last one wrong at once.
    pub(super) fn if_fresh(self, now: Instant) -> Option<Self> {
        (now.duration_since(self.since) <= HOLDS).then_some(self)
    }
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
            expected: None,
        }
    }

    /// Takes note of how many atoms have ended, and of what the master says of the rest.
    pub(super) fn note(
        &mut self,
        done: u64,
        (finish, seconds_left): (Option<FinishView>, Option<f64>),
        now: Instant,
    ) {
        if done != self.last.0 {
            self.last = (done, now);
        }
        let before = self.foretold.and_then(|foretold| foretold.if_fresh(now));
        self.foretold = finish.map(|finish| Foretold::at(finish, now)).or(before);
        if self.expected.map(|(seconds, _)| seconds) != seconds_left {
            self.expected = seconds_left.map(|seconds| (seconds, now));
        }
    }

    /// In words, if anything is known; the second one is shorter. It counts down from one look, or ended atom, to the next.
    pub(super) fn time_left(&self, done: u64, left: u64, now: Instant) -> Option<[String; 2]> {
        if let Some(foretold) = self.foretold {
            let finish = foretold.left(now);
            return Some([done_in(finish), briefly_done_in(finish)]);
        }
        let about = |seconds| {
            let left = format!("about {} left", in_units(seconds));
            Some([left.clone(), left])
        };
        // Who knows how long each atom takes knows better than the pace so far.
        if let Some((seconds, since)) = self.expected {
            return about(seconds - now.duration_since(since).as_secs_f64());
        }
        if done == 0 {
            return None;
        }
        let atoms_left_per_ended = left as f64 / done as f64;
        let until_last = self.last.1.duration_since(self.began).as_secs_f64();
        let since_last = now.duration_since(self.last.1).as_secs_f64();
        about(until_last * atoms_left_per_ended - since_last)
    }
}

/// `done in 2:10 (1:50 to 2:40)`.
pub(in crate::command) fn done_in(finish: FinishView) -> String {
    let (low, high) = (clock(finish.low), clock(finish.high));
    let brief = briefly_done_in(finish);
    match low == high {
        true => brief,
        false => format!("{brief} ({low} to {high})"),
    }
}

fn briefly_done_in(finish: FinishView) -> String {
    format!("done in {}", clock(finish.median.max(1.0)))
}

/// Whole seconds, one at least.
pub(super) fn in_units(seconds: f64) -> String {
    duration(seconds.round().max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_foretells_the_end_knows_better_than_the_pace() {
        let finish = |median: f64| FinishView {
            median,
            low: median - 10.0,
            high: median + 3600.0,
        };
        let now = Instant::now();
        let mut pace = Pace::since(now);
        pace.note(0, (None, None), now);
        assert!(pace.time_left(0, 6, now).is_none());
        pace.note(1, (None, Some(99.9)), now);
        let told = pace.time_left(1, 5, now).unwrap();
        assert_eq!(told[0], "about 1 min 40 s left");
        pace.note(2, (Some(finish(70.0)), Some(40.0)), now);
        let expected = ["done in 1:10 (1:00 to 1:01:10)", "done in 1:10"];
        assert_eq!(pace.time_left(2, 4, now).unwrap(), expected);
        let soon = now + Duration::from_secs(10);
        pace.note(3, (None, Some(40.0)), soon);
        assert_eq!(pace.time_left(3, 3, soon).unwrap()[1], "done in 1:00");
        // It knows nothing of it any more.
        let later = now + Duration::from_secs(20);
        pace.note(3, (None, Some(40.0)), later);
        assert_eq!(pace.time_left(3, 3, later).unwrap()[0], "about 20.0 s left");
        assert_eq!(done_in(finish(70.0).after(9999.0)), "done in 0:01");
    }
}
