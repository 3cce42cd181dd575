//! The body of an answer on its way from a program to a user.

use super::connection::Connection;
use super::program::{Answered, Program};
use super::uses::Taken;
use axum::body::{Body, Bytes};
use axum::http::Response;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The longest answer that is passed on as it comes. Of a longer one no more than a piece is held at a time, so it is
/// counted as such and not by its length.
const PASSED_WHOLE: u64 = 64 << 10;

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
    /// That which comes by `connection` from `program`.
    pub(super) fn new(
        body: Incoming,
        connection: Connection,
        program: Arc<Program>,
        taken: Taken,
    ) -> Self {
        Self {
            body,
            connection: Some(connection),
            program,
            has_ended: false,
            _taken: taken,
        }
    }
}

impl Answered {
    /// The answer for the user.
    pub(super) fn passed_on(self, program: &Arc<Program>, taken: Taken) -> Response<Body> {
        let Self { answer, connection } = self;
        answer.map(|body| Body::new(Answer::new(body, connection, Arc::clone(program), taken)))
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
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.has_ended |= matches!(frame, Poll::Ready(None));
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
