//! What is derived of a build for scheduling, and for judging slaves.

use crate::builds::outcome::AtomOutcome;
use crate::scheduling::build_queue::Share;

/// What is derived of a build, kept for speed: [`crate::Cluster::check`] compares it with what it is derived from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    /// How many executors are expected to work on the build.
    pub(crate) executors: usize,
    /// For how many executors set-ups of the build are under way.
    pub(crate) coming: usize,
    /// How many executors the slaves have that are ready for the build.
    pub(crate) ready_executors: usize,
    /// The total duration of the atoms that ended by themselves, and their number.
    pub(crate) ended_ms: u64,
    pub(crate) ended: u64,
    /// How many atoms have failed results that do not count, since they were run again.
    pub(crate) run_again: u64,
    /// The share by which the build is queued, if it is.
    pub(crate) in_line: Option<Share>,
}

impl Standing {
    /// Whether some slave is ready for the build.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready_executors > 0
    }

    /// Learns from a result.
    pub(crate) fn observe(&mut self, outcomes: &[AtomOutcome]) {
        for outcome in outcomes.iter().filter(|outcome| outcome.trouble.is_none()) {
            self.ended_ms = self
                .ended_ms
                .saturating_add(outcome.duration_ms.min(u64::from(u32::MAX)));
            self.ended += 1;
        }
    }
}
