//! Bodies of requests: how much is held for senders who are not proved yet, and how slowly bodies may come.

use super::{Closed, content_length};
use crate::http::SMALL_BODY;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// What all bodies above [`SMALL_BODY`] together may take while their senders are not proved: 32 of the largest.
/// The farm's own calls prove their senders first and never wait for it.
const BUDGET: usize = 32 << 20;

/// What the budget is given out in.
const UNIT: usize = 1 << 10;

/// How long a body waits for its part of the budget.
const BUDGET_WAIT: Duration = Duration::from_secs(5);

/// How long a body may keep us waiting: a while, and then for as long as bytes come at a rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    grace: Duration,
    bytes_per_second: u32,
}

impl Pace {
    /// For senders who may be anybody: the largest body has to be there within 74 s.
    pub(super) const UNPROVED: Self = Self {
        grace: Duration::from_secs(10),
        bytes_per_second: 16 << 10,
    };

    /// For senders who are proved: a link that stalls for a moment has its time.
    pub(super) const PROVED: Self = Self {
        grace: Duration::from_secs(60),
        bytes_per_second: 1 << 10,
    };

    fn allowed(self, received: u64) -> Duration {
        let seconds = received / u64::from(self.bytes_per_second);
        self.grace.saturating_add(Duration::from_secs(seconds))
    }
}

/// What is held of unproved senders' bodies. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
    wait: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(BUDGET, BUDGET_WAIT)
    }
}

impl Budget {
    fn of(bytes: usize, wait: Duration) -> Self {
        let units = Arc::new(Semaphore::new(bytes / UNIT));
        Self { units, wait }
    }

    /// Reads the body of an unproved sender, of `limit` bytes at most, and puts it back. The last value is its
    /// part of the budget, to be dropped when the sender is proved.
    pub(super) async fn buffered(
        &self,
        request: Request,
        limit: usize,
    ) -> Result<(Request, Bytes, Option<OwnedSemaphorePermit>), Closed> {
        let length = stated_length(&request, limit)?;
        let part = self.part(length.unwrap_or(limit)).await?;
        let (request, body) = buffered(request, limit, Pace::UNPROVED).await?;
        Ok((request, body, part))
    }

    async fn part(&self, length: usize) -> Result<Option<OwnedSemaphorePermit>, Closed> {
        if length <= SMALL_BODY {
            return Ok(None);
        }
        // A body's limit is far below what fits the number.
        let units = u32::try_from(length.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let part = Arc::clone(&self.units).acquire_many_owned(units);
        match tokio::time::timeout(self.wait, part).await {
            Ok(Ok(part)) => Ok(Some(part)),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(Closed::Busy),
        }
    }
}

/// The length that the head states, if it does.
fn stated_length(request: &Request, limit: usize) -> Result<Option<usize>, Closed> {
    let Some(length) = content_length(request.headers()) else {
        return Ok(None);
    };
    let length = usize::try_from(length).ok();
    match length.filter(|length| *length <= limit) {
        Some(length) => Ok(Some(length)),
        None => Err(Closed::TooLarge(limit)),
    }
}

/// Reads a body of `limit` bytes at most and puts it back.
pub(super) async fn buffered(
    request: Request,
    limit: usize,
    pace: Pace,
) -> Result<(Request, Bytes), Closed> {
    let length = stated_length(&request, limit)?;
    let (parts, body) = request.into_parts();
    let mut body = Limited::new(Paced::new(body, pace), limit);
    let mut first = Bytes::new();
    // Pieces may be small and many: they are not kept as they came.
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) if error.is::<LengthLimitError>() => return Err(Closed::TooLarge(limit)),
            Err(error) => return Err(Closed::Unreadable(error.to_string())),
        };
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if first.is_empty() && whole.is_empty() {
            first = piece;
            continue;
        }
        if whole.is_empty() {
            // What is stated may never come, so it is not believed beyond the second piece.
            whole.reserve(length.unwrap_or(0).min(first.len() * 2 + piece.len()));
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&piece);
    }
    let body = match whole.is_empty() {
        true => first,
        false => whole.into(),
    };
    Ok((Request::from_parts(parts, Body::from(body.clone())), body))
}

/// A body that ends in an error when it comes too slowly. Only time that is spent waiting for the sender counts.
#[derive(Debug)]
pub(super) struct Paced {
    body: Body,
    pace: Pace,
    received: u64,
    waited: Duration,
    /// Since when it is waited for; the timer is kept for the next time.
    waiting: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// See [`Paced`].
#[derive(Debug, thiserror::Error)]
#[error("it took too long to arrive")]
struct TooSlow;

impl Paced {
    pub(super) fn new(body: Body, pace: Pace) -> Self {
        Self {
            body,
            pace,
            received: 0,
            waited: Duration::ZERO,
            waiting: None,
            timer: None,
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<TooSlow> {
        if self.waiting.is_none() {
            let now = Instant::now();
            self.waiting = Some(now);
            let left = self.pace.allowed(self.received);
            let until = now + left.saturating_sub(self.waited);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
        if let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(cx));
            return Poll::Ready(TooSlow);
        }
        Poll::Pending
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            let slow = ready!(self.wait(cx));
            return Poll::Ready(Some(Err(axum::Error::new(slow))));
        };
        if let Some(since) = self.waiting.take() {
            self.waited += since.elapsed();
        }
        if let Some(Ok(frame)) = &frame
            && let Some(piece) = frame.data_ref()
        {
            self.received += piece.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn request(pieces: Vec<&'static [u8]>, stated: Option<usize>) -> Request {
        let pieces = pieces.into_iter().map(Ok::<_, std::io::Error>);
        let body = Body::from_stream(stream::iter(pieces));
        let mut request = Request::builder();
        if let Some(stated) = stated {
            request = request.header("content-length", stated);
        }
        request.body(body).unwrap()
    }

    #[tokio::test]
    async fn a_body_is_read_whole_however_it_comes() {
        for pieces in [
            vec![],
            vec![&b"whole"[..]],
            vec![b"in", b"", b" ", b"pieces"],
            vec![b"", b"late"],
        ] {
            let whole = pieces.concat();
            for stated in [None, Some(whole.len())] {
                let request = request(pieces.clone(), stated);
                let read = buffered(request, 100, Pace::UNPROVED).await;
                let (request, body) = read.unwrap_or_else(|_| panic!("{pieces:?}"));
                assert_eq!(body, whole);
                let again = request.into_body().collect().await.unwrap();
                assert_eq!(again.to_bytes(), whole);
            }
        }
        let too_large = request(vec![b"123", b"456"], None);
        let read = buffered(too_large, 5, Pace::UNPROVED).await;
        assert!(matches!(read, Err(Closed::TooLarge(5))));
    }

    #[tokio::test]
    async fn large_bodies_share_a_budget_and_small_ones_need_none() {
        let budget = Budget::of(64 << 10, Duration::from_millis(20));
        let first = budget.part(40 << 10).await;
        assert!(matches!(first, Ok(Some(_))));
        assert!(matches!(budget.part(40 << 10).await, Err(Closed::Busy)));
        assert!(matches!(budget.part(SMALL_BODY).await, Ok(None)));
        drop(first);
        assert!(matches!(budget.part(40 << 10).await, Ok(Some(_))));
    }

    #[tokio::test]
    async fn a_body_has_to_come_at_a_rate() {
        let pace = Pace {
            grace: Duration::from_millis(100),
            bytes_per_second: 4,
        };
        // Four bytes more are a second more.
        let drip = |piece: &'static [u8], pause_ms| {
            let pieces = stream::unfold(0, move |number| async move {
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                (number < 20).then_some((Ok::<_, std::io::Error>(piece), number + 1))
            });
            Request::new(Body::from_stream(pieces))
        };
        let quick = buffered(drip(b"four", 20), 100, pace).await;
        assert!(quick.is_ok_and(|(_, body)| body.len() == 80));
        let slow = buffered(drip(b"", 20), 100, pace).await;
        assert!(matches!(slow, Err(Closed::Unreadable(_))));
        assert_eq!(pace.allowed(8), Duration::from_millis(2100));
    }
}
