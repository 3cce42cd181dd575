//! Which slaves have been silent for too long. Pure: the time since the master's start, on a clock
//! that never jumps, comes in as an argument.

use clusterrunner_common::ids::SlaveId;
use std::collections::BTreeMap;
use std::time::Duration;

/// The last sign of life of each slave.
#[derive(Clone, Debug)]
pub(super) struct Liveness {
    lease: Duration,
    last_heard: BTreeMap<SlaveId, Duration>,
    /// Leases other than the usual one.
    own_leases: BTreeMap<SlaveId, Duration>,
    last_look: Duration,
}

/// A look that comes this much later than the lease's quarter was kept from coming: the master
/// itself was stopped, or its machine slept.
const STALL: Duration = Duration::from_secs(2);

impl Liveness {
    /// Nobody heard yet. A slave that is silent for `lease` is lost.
    #[must_use]
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            lease,
            last_heard: BTreeMap::new(),
            own_leases: BTreeMap::new(),
            last_look: Duration::ZERO,
        }
    }

    /// How often to ask for [`Self::silent`].
    #[must_use]
    pub(super) fn look_interval(&self) -> Duration {
        (self.lease / 4).clamp(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// A slave gave a sign of life, or begins its lease.
    pub(super) fn heard(&mut self, slave: SlaveId, now: Duration) {
        self.last_heard.insert(slave, now);
    }

    /// A slave has a lease of its own from now on.
    pub(super) fn lease(&mut self, slave: SlaveId, lease: Duration) {
        self.own_leases.insert(slave, lease);
    }

    /// A slave does not count any more.
    pub(super) fn forget(&mut self, slave: SlaveId) {
        self.last_heard.remove(&slave);
        self.own_leases.remove(&slave);
    }

    /// The slaves whose lease is over. After a stall of the master itself every lease begins anew:
    /// the slaves may have called all the while.
    pub(super) fn silent(&mut self, now: Duration) -> Vec<SlaveId> {
        let stalled = now.saturating_sub(self.last_look) > self.look_interval() + STALL;
        self.last_look = now;
        if stalled {
            for last in self.last_heard.values_mut() {
                *last = now;
            }
        }
        let silent = self.last_heard.iter();
        let lease = |slave| self.own_leases.get(slave).unwrap_or(&self.lease);
        silent
            .filter(|(slave, last)| now.saturating_sub(**last) >= *lease(slave))
            .map(|(slave, _)| *slave)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);
    const SLAVE: SlaveId = SlaveId(1);

    fn silent_after(liveness: &mut Liveness, seconds: std::ops::Range<u64>) -> Vec<SlaveId> {
        let mut silent = Vec::new();
        for second in seconds {
            silent.extend(liveness.silent(Duration::from_secs(second)));
        }
        silent
    }

    #[test]
    fn a_slave_is_lost_when_its_lease_is_over() {
        let mut liveness = Liveness::new(LEASE);
        liveness.heard(SLAVE, Duration::ZERO);
        assert_eq!(silent_after(&mut liveness, 0..15), []);
        assert_eq!(silent_after(&mut liveness, 15..16), [SLAVE]);
        liveness.heard(SLAVE, Duration::from_secs(16));
        assert_eq!(silent_after(&mut liveness, 16..31), []);
        liveness.forget(SLAVE);
        assert_eq!(silent_after(&mut liveness, 31..60), []);
    }

    #[test]
    fn a_slave_may_have_a_lease_of_its_own() {
        let mut liveness = Liveness::new(LEASE);
        liveness.heard(SLAVE, Duration::ZERO);
        liveness.lease(SLAVE, 4 * LEASE);
        assert_eq!(silent_after(&mut liveness, 0..60), []);
        assert_eq!(silent_after(&mut liveness, 60..61), [SLAVE]);
    }

    #[test]
    fn a_master_that_was_stopped_blames_nobody() {
        let mut liveness = Liveness::new(LEASE);
        liveness.heard(SLAVE, Duration::ZERO);
        assert_eq!(silent_after(&mut liveness, 0..3), []);
        assert_eq!(silent_after(&mut liveness, 100..115), []);
        assert_eq!(silent_after(&mut liveness, 115..116), [SLAVE]);
    }
}
