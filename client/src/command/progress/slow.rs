//! Which running atoms are slow.

use clusterrunner_common::api::AtomView;

/// An atom is slow once it has run for so many times as long as it usually takes.
const TIMES_AS_LONG: f64 = 2.0;

/// From when on an atom is slow, in seconds. No atom is slow before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slow(pub(crate) u32);

impl Slow {
    /// For how long an atom runs before it is slow, in seconds.
    pub(crate) fn limit(self, atom: &AtomView) -> f64 {
        let usual = atom.expected_time.unwrap_or(0.0);
        f64::from(self.0).max(TIMES_AS_LONG * usual)
    }
}
