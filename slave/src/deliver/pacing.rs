//! When calls to the master may begin after some have failed.

use crate::master::retrying::Backoff;
use tokio::time::Instant;

/// Paces many calls side by side. A master that does not hear one does not hear the others either, so calls that fail
/// together are one failure, with one pause.
#[derive(Debug)]
pub(super) struct Pacing {
    backoff: Backoff,
    /// How many pauses there were. Calls of an earlier spell began before the last pause did.
    spell: u64,
    pause: Option<Instant>,
}

impl Default for Pacing {
    fn default() -> Self {
        Self {
            backoff: Backoff::quick(),
            spell: 0,
            pause: None,
        }
    }
}

impl Pacing {
    /// Whether a call may begin now.
    pub(super) fn may_begin(&self) -> bool {
        self.pause.is_none()
    }

    /// The spell in which a call begins now.
    pub(super) fn spell(&self) -> u64 {
        self.spell
    }

    /// The master has heard something, or was found again: nothing waits any more.
    pub(super) fn is_well(&mut self) {
        self.backoff = Backoff::quick();
        self.pause = None;
    }

    /// A call that began in this spell has failed.
    pub(super) fn failed(&mut self, spell: u64) {
        if spell == self.spell {
            self.spell += 1;
            self.pause = Some(Instant::now() + self.backoff.next());
        }
    }

    /// Waits for the end of the pause; without one for ever.
    pub(super) async fn pause_is_over(&self) {
        match self.pause {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    }

    /// Calls may begin again, and the next pause is longer unless one of them succeeds.
    pub(super) fn goes_on(&mut self) {
        self.pause = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_fail_together_make_one_pause() {
        let mut pacing = Pacing::default();
        let began_together = pacing.spell();
        pacing.failed(began_together);
        let pause = pacing.pause;
        assert!(!pacing.may_begin());
        for _ in 0..15 {
            pacing.failed(began_together);
        }
        assert_eq!((pacing.pause, pacing.spell()), (pause, 1));
        pacing.goes_on();
        // One that began before the pause and fails after it says nothing new.
        pacing.failed(began_together);
        assert!(pacing.may_begin());
        pacing.failed(pacing.spell());
        assert_eq!((pacing.may_begin(), pacing.spell()), (false, 2));
    }

    #[test]
    fn a_master_that_hears_again_ends_the_pause() {
        let mut pacing = Pacing::default();
        pacing.failed(pacing.spell());
        pacing.is_well();
        assert!(pacing.may_begin());
    }
}
