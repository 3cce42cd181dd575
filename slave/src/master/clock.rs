//! The master's clock, which may differ from this machine's.

use clusterrunner_common::clock::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// An answer that took longer says too little of the moment at which it was given.
const LONGEST: Duration = Duration::from_secs(1);

/// How far the master's clock is ahead of ours, in milliseconds: measured at each heartbeat that is answered
/// quickly, exact to half of the time that this takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct MasterClock(Arc<AtomicI64>);

impl MasterClock {
    /// The master said that it was `master` there between these two moments here.
    pub(crate) fn compare(&self, sent: Timestamp, master: Timestamp, received: Timestamp) {
        if received >= sent && sent.until(received) <= LONGEST {
            let here = sent.0.midpoint(received.0);
            let ahead = i64::try_from(i128::from(master.0) - i128::from(here));
            self.0.store(ahead.unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// The master's time at a moment of our clock.
    pub(crate) fn of_master(&self, here: Timestamp) -> Timestamp {
        Timestamp(here.0.saturating_add_signed(self.0.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_quick_call_is_the_moment_of_its_answer() {
        let clock = MasterClock::default();
        assert_eq!(clock.of_master(Timestamp(7)), Timestamp(7));
        clock.compare(Timestamp(10_000), Timestamp(60_000), Timestamp(10_020));
        assert_eq!(clock.of_master(Timestamp(20_000)), Timestamp(69_990));
        // Slow, or the clock was set meanwhile.
        clock.compare(Timestamp(10_000), Timestamp(5), Timestamp(12_000));
        clock.compare(Timestamp(10_000), Timestamp(5), Timestamp(9_000));
        assert_eq!(clock.of_master(Timestamp(20_000)), Timestamp(69_990));
        clock.compare(Timestamp(10_000), Timestamp(9_000), Timestamp(10_000));
        assert_eq!(clock.of_master(Timestamp(20_000)), Timestamp(19_000));
        assert_eq!(clock.of_master(Timestamp(1)), Timestamp(0));
    }
}
