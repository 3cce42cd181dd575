//! One call from its caller to the queue, and its answer from the pieces back to the caller.

use super::answer::{Answering, Piece};
use super::{Line, Lines, Waiting};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use clusterrunner_common::api::{AnswerHead, CallHead};
use clusterrunner_common::caller::{Carried, Carrier, NotCarried};
use clusterrunner_common::lock::lock;
use futures_util::stream;
use reqwest::{Body, Request};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a call waits for a poll of its slave: as long as a connection may take to come about.
const POLL_PATIENCE: Duration = Duration::from_secs(5);

/// Pieces that have come and are not read yet, beside the one that waits for its place.
const UNREAD: usize = 1;

impl Carrier for Lines {
    fn carry(&self, address: String, request: Request, patience: Duration) -> Carried<'_> {
        let line = self.of(&address);
        Box::pin(async move { line.carry(request, patience).await })
    }
}

impl Line {
    async fn carry(
        self: Arc<Self>,
        mut request: Request,
        patience: Duration,
    ) -> Result<Response<Body>, NotCarried> {
        let ends = request.timeout().map(|whole| Instant::now() + *whole);
        let (reader, pieces) = mpsc::channel(UNREAD);
        let answering = Arc::new(Answering::new(reader));
        let under_way = self.begin(&answering);
        let (taken, mut is_taken) = oneshot::channel();
        let call = Waiting {
            head: head(&request, under_way.call),
            body: request.body_mut().take(),
            answering,
            taken,
        };
        let queued = timeout(POLL_PATIENCE, self.waiting.send(call)).await;
        queued
            .map_err(|_| NotCarried::TooMany)?
            .map_err(|_| NotCarried::NoPoll)?;
        if timeout(POLL_PATIENCE, &mut is_taken).await.is_err() {
            // Either a poll has it by now, or none gets it any more.
            is_taken.close();
            is_taken.try_recv().map_err(|_| NotCarried::NoPoll)?;
        }
        let mut coming = Coming {
            pieces,
            patience,
            ends,
            is_over: false,
            _under_way: under_way,
        };
        let first = coming.next().await?.ok_or(NotCarried::BrokenOff)?;
        let head = first.head.ok_or(NotCarried::Unreadable)?;
        answer(head, coming.body(first.bytes))
    }

    fn begin(self: &Arc<Self>, answering: &Arc<Answering>) -> UnderWay {
        let call = self.last_call.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.under_way).insert(call, Arc::clone(answering));
        UnderWay {
            line: Arc::clone(self),
            call,
        }
    }
}

/// A call until nobody waits for its answer any more.
#[derive(Debug)]
struct UnderWay {
    line: Arc<Line>,
    call: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.line.under_way).remove(&self.call);
    }
}

/// An answer that is coming in.
#[derive(Debug)]
struct Coming {
    pieces: mpsc::Receiver<Piece>,
    /// How long each piece may take.
    patience: Duration,
    /// When all of it must be here.
    ends: Option<Instant>,
    is_over: bool,
    _under_way: UnderWay,
}

impl Coming {
    /// The next piece, until the last one was.
    async fn next(&mut self) -> Result<Option<Piece>, NotCarried> {
        if self.is_over {
            return Ok(None);
        }
        let longest = Instant::now() + self.patience;
        let until = self.ends.map_or(longest, |ends| ends.min(longest));
        let piece = timeout_at(until, self.pieces.recv()).await;
        let piece = piece.map_err(|_| NotCarried::TimedOut)?;
        let piece = piece.ok_or(NotCarried::BrokenOff)?;
        self.is_over = piece.last;
        Ok(Some(piece))
    }

    /// The body of the answer, which begins with these bytes.
    fn body(self, first: Bytes) -> Body {
        if self.is_over {
            return first.into();
        }
        Body::wrap_stream(stream::try_unfold(
            (self, Some(first)),
            |(mut coming, first)| async move {
                if let Some(first) = first {
                    return Ok::<_, io::Error>(Some((first, (coming, None))));
                }
                let next = coming.next().await.map_err(io::Error::other)?;
                Ok(next.map(|piece| (piece.bytes, (coming, None))))
            },
        ))
    }
}

/// What of a request does not go with its body.
fn head(request: &Request, call: u64) -> CallHead {
    let url = request.url();
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    CallHead {
        call,
        method: request.method().as_str().to_owned(),
        path,
        headers: request.headers().iter().filter_map(text).collect(),
    }
}

fn answer(head: AnswerHead, body: Body) -> Result<Response<Body>, NotCarried> {
    let mut answer = Response::new(body);
    let status = StatusCode::from_u16(head.status);
    *answer.status_mut() = status.map_err(|_| NotCarried::Unreadable)?;
    for (name, value) in head.headers {
        let name = HeaderName::try_from(name).map_err(|_| NotCarried::Unreadable)?;
        let value = HeaderValue::try_from(value).map_err(|_| NotCarried::Unreadable)?;
        answer.headers_mut().append(name, value);
    }
    Ok(answer)
}
