//! Which limits were hit.

use super::Controller;
use clusterrunner_common::work::{Isolation, LimitHit};
use std::num::NonZeroU32;

/// The limits of what runs in some groups, and how often each was hit as far as that was told.
#[derive(Debug)]
pub(crate) struct WatchedLimits {
    memory: Option<Watched<u64>>,
    pids: Option<Watched<NonZeroU32>>,
}

/// A limit, and how often it was hit as far as that was told.
#[derive(Clone, Copy, Debug)]
struct Watched<T> {
    limit: T,
    told: u64,
}

impl<T: Copy> Watched<T> {
    fn new(limit: T) -> Self {
        Self { limit, told: 0 }
    }

    /// The limit if it was hit since the last time.
    fn was_hit(&mut self, number: u64) -> Option<T> {
        let is_new = self.told < number;
        self.told = self.told.max(number);
        is_new.then_some(self.limit)
    }
}

impl WatchedLimits {
    /// Those that an isolation has.
    pub(crate) fn of(isolation: &Isolation) -> Self {
        Self {
            memory: isolation.memory_bytes.map(Watched::new),
            pids: isolation.pids.map(Watched::new),
        }
    }

    /// Whether there is nothing to look at.
    pub(crate) fn is_empty(&self) -> bool {
        self.memory.is_none() && self.pids.is_none()
    }

    /// The limit that was hit since the last time, the worst first. `number` says how often that of a controller was hit
    /// in all.
    pub(crate) fn hit(&mut self, mut number: impl FnMut(Controller) -> u64) -> Option<LimitHit> {
        let memory = self.memory.as_mut();
        let memory = memory.and_then(|memory| memory.was_hit(number(Controller::Memory)));
        let pids = self.pids.as_mut();
        let pids = pids.and_then(|pids| pids.was_hit(number(Controller::Pids)));
        match (memory, pids) {
            (Some(limit_bytes), _) => Some(LimitHit::Memory { limit_bytes }),
            (None, Some(limit)) => Some(LimitHit::Processes { limit: limit.get() }),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_once_each_time_it_is_hit() {
        let mut watched = Watched::new(7);
        let told = [0, 2, 2, 3, 0, 3].map(|number| watched.was_hit(number));
        assert_eq!(told, [None, Some(7), None, Some(7), None, None]);
    }

    #[test]
    fn the_worst_is_told_and_what_has_no_limit_is_not() {
        let mut watched = WatchedLimits::of(&Isolation {
            memory_bytes: Some(5),
            pids: NonZeroU32::new(7),
            ..Isolation::default()
        });
        let numbers = |memory, pids| {
            move |controller| match controller {
                Controller::Memory => memory,
                Controller::Pids => pids,
                Controller::Cpu => 9,
            }
        };
        assert_eq!(watched.hit(numbers(0, 0)), None);
        let memory = Some(LimitHit::Memory { limit_bytes: 5 });
        assert_eq!(watched.hit(numbers(1, 1)), memory);
        let processes = Some(LimitHit::Processes { limit: 7 });
        assert_eq!(watched.hit(numbers(1, 2)), processes);
        let mut none = WatchedLimits::of(&Isolation::default());
        assert!(none.is_empty() && !watched.is_empty());
        assert_eq!(none.hit(numbers(3, 3)), None);
    }
}
