//! A call on its way to the slave, as the answer to a poll.

use super::answer::Answering;
use bytes::Bytes;
use clusterrunner_common::api::{CallHead, written_head};
use futures_util::Stream;
use http_body_util::BodyDataStream;
use reqwest::Body;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a poll is answered. Dropped before its end, it has not arrived, and the call has failed.
#[derive(Debug)]
pub(crate) struct Handed {
    head: Option<Bytes>,
    body: Option<BodyDataStream<Body>>,
    /// None once all is sent.
    answering: Option<Arc<Answering>>,
}

impl Handed {
    pub(super) fn new(head: &CallHead, body: Option<Body>, answering: Arc<Answering>) -> Self {
        Self {
            // Names, numbers and texts can be written; if not, the slave finds no head and the call fails.
            head: Some(written_head(head).unwrap_or_default().into()),
            body: body.map(BodyDataStream::new),
            answering: Some(answering),
        }
    }
}

impl Stream for Handed {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(Ok(head)));
        }
        let next = match &mut self.body {
            Some(body) => std::task::ready!(Pin::new(body).poll_next(cx)),
            None => None,
        };
        if next.is_none() {
            self.answering = None;
        }
        Poll::Ready(next.map(|piece| piece.map_err(io::Error::other)))
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(answering) = &self.answering {
            answering.break_off();
        }
    }
}
