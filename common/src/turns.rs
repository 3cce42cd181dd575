//! Reads that take a thread or much memory while they are made: they take turns, so that however many there are, the
//! threads and the processor are still there for builds.

use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The fewest at a time, so that one that waits for its disk does not keep all others.
const FEWEST: usize = 4;

/// Who may go on. Clones share the turns.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for Turns {
    /// As many at a time as there are processors, four at least.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::at_a_time(processors.max(FEWEST))
    }
}

impl Turns {
    /// Lets so many work at a time.
    #[must_use]
    pub fn at_a_time(number: usize) -> Self {
        Self(Arc::new(Semaphore::new(number)))
    }

    /// Waits for a turn; who waits longest is next.
    pub async fn take(&self) -> Turn {
        // It is never closed.
        let permit = Arc::clone(&self.0).acquire_owned().await.ok();
        Turn { _permit: permit }
    }

    /// A turn, if nobody has to be waited for.
    #[must_use]
    pub fn try_take(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        Some(Turn {
            _permit: Some(permit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_ends_when_it_is_dropped() {
        let turns = Turns::at_a_time(2);
        let first = turns.take().await;
        let second = turns.clone().try_take();
        assert!(second.is_some() && turns.try_take().is_none());
        drop(first);
        assert!(turns.try_take().is_some());
    }
}
