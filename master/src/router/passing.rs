//! Bodies on their way: that of a request to a program, and that of its answer.

use super::connection::Connection;
use super::forwarding::Taken;
use super::program::Program;
use axum::body::{Body, Bytes};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

/// The longest answer that is passed on as it comes. Of a longer one no more than a piece is held at a time, so it is
/// counted as such and not by its length.
const PASSED_WHOLE: u64 = 64 << 10;

/// The body of a request to a program.
#[derive(Debug)]
pub(super) struct Question {
    body: Body,
    is_sent: Option<Arc<AtomicBool>>,
}

/// Whether the body of a request has been sent to its end, or was given up.
#[derive(Clone, Debug)]
pub(super) struct IsSent(Option<Arc<AtomicBool>>);

impl Question {
    pub(super) fn new(body: Body) -> Self {
        let is_sent = (!body.is_end_stream()).then(Arc::default);
        Self { body, is_sent }
    }

    /// The body again, of a request that was not sent.
    pub(super) fn into_body(mut self) -> Body {
        mem::take(&mut self.body)
    }

    pub(super) fn is_sent(&self) -> IsSent {
        IsSent(self.is_sent.clone())
    }
}

impl IsSent {
    pub(super) fn get(&self) -> bool {
        let is_sent = self.0.as_ref();
        is_sent.is_none_or(|is_sent| is_sent.load(Ordering::Relaxed))
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(is_sent) = &self.is_sent {
            is_sent.store(true, Ordering::Relaxed);
        }
    }
}

impl hyper::body::Body for Question {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer; its connection is for others when the body was read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    body: Incoming,
    connection: Option<Connection>,
    program: Arc<Program>,
    /// Whether the body said that it has ended.
    has_ended: bool,
    _taken: Taken,
}

impl Answer {
    /// `connection` where the body comes by it only when it is driven.
    pub(super) fn new(
        body: Incoming,
        connection: Option<Connection>,
        program: Arc<Program>,
        taken: Taken,
    ) -> Self {
        Self {
            body,
            connection,
            program,
            has_ended: false,
            _taken: taken,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let has_ended = self.has_ended || self.body.is_end_stream();
        if let Some(connection) = self.connection.take().filter(|_| has_ended) {
            self.program.keep(connection);
        }
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let mut body = Pin::new(&mut this.body);
        let frame = match &mut this.connection {
            Some(connection) => connection.drive(cx, |cx| body.as_mut().poll_frame(cx)),
            None => body.poll_frame(cx),
        };
        this.has_ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.size_hint();
        match hint.upper() {
            Some(upper) if upper <= PASSED_WHOLE => hint,
            _ => SizeHint::default(),
        }
    }
}
