//! The stream under a connection: cuts off peers that do not read what is sent, and request heads with bare
//! line feeds refused.
//!
//! Proxies and servers that disagree about where a line or a request ends can be made to take one request for
//! two. So a line of a head ends with CR LF here and with nothing else, although the HTTP library would take a
//! bare LF, and a request that comes before the answer to the last one is not answered at all.

use super::connections::{Activity, Admitted};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How long nothing of an answer may be taken. The system takes more when half of [`UNSENT`] was sent, so
/// this is a rate as well: a peer that reads less than 1 KiB in a second is cut off.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How much the system may keep of an answer before it is sent; what is on its way does not count.
pub(super) const UNSENT: u32 = 64 << 10;

/// A stream with its watch.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    reading: Reading,
    /// How long nothing may be taken of what is to be sent.
    write_timeout: Duration,
    /// Runs out then; made when it is first needed.
    patience: Option<Pin<Box<Sleep>>>,
    /// Its place among the connections: it has it until its end, wherever it is by then.
    _held: Option<(Admitted, TaskTrackerToken)>,
}

/// What is read next of a connection.
#[derive(Debug)]
enum Reading {
    Head(Lines),
    /// The body of a request, if it has one.
    Body,
}

/// The lines of a head so far.
#[derive(Debug, Default)]
struct Lines {
    /// Whether the request line is there.
    has_first: bool,
    /// How much of the current line, its CR included, was read before.
    length: usize,
    last_is_cr: bool,
}

/// What was found in a piece of a head.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    More,
    /// The head ends before this byte.
    End(usize),
    /// This byte is a bare line feed.
    BareLineFeed(usize),
}

impl Lines {
    fn read(&mut self, piece: &[u8]) -> Found {
        let mut begin = 0;
        while let Some(length) = piece[begin..].iter().position(|byte| *byte == b'\n') {
            let at = begin + length;
            let after_cr = match at.checked_sub(1) {
                Some(before) if before >= begin => piece[before] == b'\r',
                _ => self.length > 0 && self.last_is_cr,
            };
            if !after_cr {
                return Found::BareLineFeed(at);
            }
            let is_empty = self.length + length == 1;
            self.length = 0;
            begin = at + 1;
            // Empty lines before a request are none of it.
            if is_empty && self.has_first {
                return Found::End(begin);
            }
            self.has_first |= !is_empty;
        }
        if let Some(last) = piece[begin..].last() {
            self.last_is_cr = *last == b'\r';
            self.length += piece.len() - begin;
        }
        Found::More
    }
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, write_timeout: Duration, activity: &Arc<Activity>) -> Self {
        Self {
            stream,
            activity: Arc::clone(activity),
            write_timeout,
            reading: Reading::Head(Lines::default()),
            patience: None,
            _held: None,
        }
    }

    /// The same connection, with its place among the others.
    pub(super) fn holding(self, held: (Admitted, TaskTrackerToken)) -> Self {
        Self {
            _held: Some(held),
            ..self
        }
    }

    /// Looks at what was just read.
    fn look(&mut self, mut read: &mut [u8]) {
        if self.activity.is_taken_over.load(Ordering::Relaxed) {
            return;
        }
        if let Reading::Body = self.reading {
            let left = self.activity.body_left.load(Ordering::Relaxed);
            let of_body = left.min(read.len() as u64);
            self.activity
                .body_left
                .store(left - of_body, Ordering::Relaxed);
            // It is no longer than what was read.
            read = &mut read[usize::try_from(of_body).unwrap_or(0)..];
            if read.is_empty() {
                return;
            }
            self.reading = Reading::Head(Lines::default());
        }
        let Reading::Head(lines) = &mut self.reading else {
            return;
        };
        match lines.read(read) {
            Found::More => {}
            Found::End(end) => {
                let after = (read.len() - end) as u64;
                self.activity.after_head.store(after, Ordering::Relaxed);
                self.reading = Reading::Body;
            }
            // No head may have this byte, so the HTTP library refuses it: 400.
            Found::BareLineFeed(at) => read[at] = 0,
        }
    }
}

impl<S: Unpin> Watched<S> {
    /// Says what became of an attempt to send something.
    fn sent<T>(&mut self, cx: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.activity.is_sending.store(false, Ordering::Relaxed);
            return sent;
        }
        if !self.activity.is_sending.swap(true, Ordering::Relaxed) {
            let until = Instant::now() + self.write_timeout;
            match &mut self.patience {
                Some(patience) => patience.as_mut().reset(until),
                None => self.patience = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
        if let Some(patience) = &mut self.patience {
            ready!(patience.as_mut().poll(cx));
            let error = "the peer took nothing of an answer for too long";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, error)));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.look(&mut buffer.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.sent(cx, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.sent(cx, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.stream).poll_flush(cx);
        self.sent(cx, sent)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.sent(cx, sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    /// What is found in pieces of this length, counted from the beginning of the text.
    fn found(text: &str, piece: usize) -> Found {
        let mut lines = Lines::default();
        for (number, bytes) in text.as_bytes().chunks(piece).enumerate() {
            let begin = number * piece;
            match lines.read(bytes) {
                Found::More => {}
                Found::End(at) => return Found::End(begin + at),
                Found::BareLineFeed(at) => return Found::BareLineFeed(begin + at),
            }
        }
        Found::More
    }

    #[test]
    fn heads_end_with_an_empty_line_and_lines_with_both_characters() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody", Found::End(27)),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Found::End(22)),
            ("GET / HTTP/1.1\r\nHost: a\r\n", Found::More),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Found::BareLineFeed(14)),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", Found::BareLineFeed(23)),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", Found::BareLineFeed(25)),
            ("\nGET / HTTP/1.1\r\n\r\n", Found::BareLineFeed(0)),
        ] {
            for piece in 1..=text.len() {
                assert_eq!(found(text, piece), expected, "{text:?} by {piece}");
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            parts in prop::collection::vec(prop_oneof!["\r\n", "\n", "\r", "[a-c ]{1,3}"], 0..12),
            piece in 1..6_usize,
        ) {
            let text = parts.concat();
            prop_assert_eq!(found(&text, piece), found(&text, text.len().max(1)));
        }
    }

    #[tokio::test]
    async fn whoever_reads_nothing_is_cut_off_and_whoever_reads_slowly_is_not() {
        let timeout = Duration::from_millis(400);
        let (ours, mut theirs) = duplex(10);
        let mut watched = Watched::new(ours, timeout, &Activity::alone());
        let reader = async {
            let mut byte = [0];
            for _ in 0..20 {
                tokio::time::sleep(timeout / 10).await;
                theirs.read_exact(&mut byte).await.unwrap();
            }
        };
        let writer = async {
            watched.write_all(&[1; 30]).await.unwrap();
            assert!(watched.write_all(&[1; 30]).await.is_err());
        };
        let ((), ()) = tokio::join!(reader, writer);
    }
}
