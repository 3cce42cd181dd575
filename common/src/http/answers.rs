//! What answers to reads may hold of memory while their readers take them.

use axum::body::Body;
use axum::http::Extensions;
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

/// An extension of answers that are made while they are sent, for as long as their readers like: how many bytes of one
/// are ready at a time at most, all but those that other answers share.
#[derive(Clone, Copy, Debug)]
pub struct Trickling(pub usize);

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
        extensions: &Extensions,
    ) -> Result<Option<OwnedSemaphorePermit>, Full> {
        let streamed = match (extensions.get(), extensions.get()) {
            (Some(Trickling(bytes)), _) => *bytes as u64,
            (None, Some(Begun(bytes))) => STREAM.max(*bytes as u64),
            (None, None) => STREAM,
        };
        let held = match body.size_hint().exact() {
            Some(length) if length <= SMALL => return Ok(None),
            Some(length) => length,
            None => streamed,
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
        let plain = &Extensions::new();
        let mut begun = Extensions::new();
        begun.insert(Begun(800 << 10));
        let mut trickling = Extensions::new();
        trickling.insert(Trickling(4 << 10));
        let large = budget.part(&whole(800 << 10), plain).unwrap();
        assert!(large.is_some());
        assert_eq!(budget.part(&whole(800 << 10), plain).unwrap_err(), Full);
        assert_eq!(budget.part(&streamed(), &begun).unwrap_err(), Full);
        let stream = budget.part(&streamed(), plain).unwrap();
        let trickle = budget.part(&streamed(), &trickling).unwrap();
        assert_eq!(trickle.map(|part| part.num_permits()), Some(4));
        assert!(stream.is_some());
        assert!(budget.part(&whole(64 << 10), plain).unwrap().is_none());
        drop(large);
        assert!(budget.part(&whole(800 << 10), plain).unwrap().is_some());
    }
}
