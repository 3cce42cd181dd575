//! Bodies that were refused before they were read.
//!
//! A peer that still sends when the connection closes loses the answer: the system tells of the close first. So what is
//! left of a body is read and thrown away while the answer is on its way, as far as that is little.

use super::MAX_BUFFERED_BODY;
use axum::body::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long the rest of a body is read.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A body whose rest is read when it is dropped.
#[derive(Debug)]
pub(super) struct Rest(pub(super) Option<Incoming>);

impl Body for Rest {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let Some(body) = self.0.take() else {
            return;
        };
        let is_little = body.size_hint().lower() <= MAX_BUFFERED_BODY as u64;
        // Outside of a runtime there is no connection either.
        if let (false, true, Ok(runtime)) = (
            body.is_end_stream(),
            is_little,
            tokio::runtime::Handle::try_current(),
        ) {
            runtime.spawn(tokio::time::timeout(TIMEOUT, read(body)));
        }
    }
}

async fn read(mut body: Incoming) {
    let mut left = MAX_BUFFERED_BODY;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(less) => left = less,
            None => return,
        }
    }
}
