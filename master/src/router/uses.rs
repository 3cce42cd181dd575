//! When an instance was last used, and by how many requests it is used now.

use clusterrunner_common::clock::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::OwnedSemaphorePermit;

/// The uses of an instance. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    last: AtomicU64,
    under_way: AtomicUsize,
}

/// A request that is with an instance, or its connection that goes on in another protocol.
#[derive(Debug)]
pub(super) struct Use(Uses);

/// What a request takes until its answer is passed on to its end.
#[derive(Debug)]
pub(super) struct Taken {
    _place: OwnedSemaphorePermit,
    pub(super) using: Use,
}

impl Taken {
    /// That of a request that has this place among those that are with programs.
    pub(super) fn new(place: OwnedSemaphorePermit, using: Use) -> Self {
        Self {
            _place: place,
            using,
        }
    }
}

impl Uses {
    /// A request begins; it is under way until the value is dropped.
    pub(super) fn begin(&self) -> Use {
        self.0.under_way.fetch_add(1, Ordering::Relaxed);
        let begun = Use(self.clone());
        begun.goes_on();
        begun
    }

    /// Whether any request is under way.
    pub(super) fn are_under_way(&self) -> bool {
        self.0.under_way.load(Ordering::Relaxed) > 0
    }

    /// When the instance was used last.
    pub(super) fn last(&self) -> Option<Timestamp> {
        let last = self.0.last.load(Ordering::Relaxed);
        (last > 0).then_some(Timestamp(last))
    }
}

impl Use {
    /// The instance is used now.
    pub(super) fn goes_on(&self) {
        let last = &self.0.0.last;
        last.fetch_max(Timestamp::now().0, Ordering::Relaxed);
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.0.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_under_way_until_it_is_dropped() {
        let uses = Uses::default();
        assert!(uses.last().is_none() && !uses.are_under_way());
        let (first, second) = (uses.begin(), uses.clone().begin());
        assert!(uses.last().is_some());
        drop(first);
        assert!(uses.are_under_way());
        drop(second);
        assert!(!uses.are_under_way());
    }
}
