//! What answers to reads may hold of memory while their readers take them.

use axum::body::Body;
use hyper::body::Body as _;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What all large answers under way may take together.
const BUDGET: usize = 128 << 20;

/// What the budget is given out in.
const UNIT: usize = 1 << 10;

/// Answers up to this size are never refused: with as many as there may be connections they take no more than
/// these do anyway.
const SMALL: u64 = 64 << 10;

/// What an answer that is made while it is sent holds at a time.
const STREAM: u64 = 128 << 10;

/// An extension of answers that are made while they are sent: how many bytes are ready at the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Begun(pub usize);

/// The budget of a daemon. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

/// There is no room for one more large answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Default for Budget {
    fn default() -> Self {
        Self::of(BUDGET)
    }
}

impl Budget {
    pub(super) fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT)))
    }

    /// The part of an answer, which it has until it is sent; none where it is small.
    pub(super) fn part(
        &self,
        body: &Body,
        begun: Option<Begun>,
    ) -> Result<Option<OwnedSemaphorePermit>, Full> {
        let begun = begun.map_or(0, |Begun(bytes)| bytes as u64);
        let held = match body.size_hint().exact() {
            Some(length) if length <= SMALL => return Ok(None),
            Some(length) => length,
            None => STREAM.max(begun),
        };
        // More than there is can only be had as all there is.
        let units = held.div_ceil(UNIT as u64).min((BUDGET / UNIT) as u64);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let part = Arc::clone(&self.0).try_acquire_many_owned(units);
        part.map(Some).map_err(|_| Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    #[test]
    fn large_answers_share_a_budget_and_small_ones_need_none() {
        let budget = Budget::of(1 << 20);
        let whole = |length: usize| Body::from(vec![0; length]);
        let streamed = || Body::from_stream(stream::pending::<std::io::Result<Vec<u8>>>());
        let large = budget.part(&whole(800 << 10), None).unwrap();
        assert!(large.is_some());
        assert_eq!(budget.part(&whole(800 << 10), None).unwrap_err(), Full);
        assert_eq!(
            budget
                .part(&streamed(), Some(Begun(800 << 10)))
                .unwrap_err(),
            Full
        );
        let stream = budget.part(&streamed(), None).unwrap();
        assert!(stream.is_some());
        assert!(budget.part(&whole(64 << 10), None).unwrap().is_none());
        drop(large);
        assert!(budget.part(&whole(800 << 10), None).unwrap().is_some());
    }
}
