//! A connection to a program.
//!
//! No task of its own reads and writes on it: whoever waits for an answer drives it. So a request stays with the task
//! of its user from its first byte to the last one of its answer, and no task has to wake another one on the way.

use super::bell::Bell;
use super::passing::Question;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a program may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// After how long a connection on which nothing moves is checked: a slave may be gone without a word.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How much of a request or an answer a connection holds at a time; no head may be longer.
const HELD: usize = 64 << 10;

/// How often a connection is driven before its task lets others go first.
const ROUNDS: usize = 8;

/// Reads and writes whenever it is polled, and ends with the connection.
type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A connection, with one request at a time.
pub(super) struct Connection {
    sender: SendRequest<Question>,
    /// None where the connection has ended.
    driver: Option<Driver>,
    bell: Arc<Bell>,
    waker: Waker,
}

impl Connection {
    /// To `host:port`.
    pub(super) async fn open(address: &str) -> io::Result<Self> {
        let connecting = TcpStream::connect(address);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await??;
        prepare(&stream);
        let mut http = Builder::new();
        http.max_buf_size(HELD);
        let shaken = http.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(io::Error::other)?;
        let bell = Arc::new(Bell::default());
        Ok(Self {
            sender,
            driver: Some(Box::pin(connection.with_upgrades())),
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        })
    }

    /// Sends a request; the head of its answer, and the body as far as it is there. The error has the request if
    /// nothing of it was sent.
    pub(super) async fn ask(
        &mut self,
        request: Request<Question>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Question>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| self.drive(cx, |cx| answer.as_mut().poll(cx))).await
    }

    /// Drives the connection until `look` finds what it looks for, or nothing moves any more.
    pub(super) fn drive<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Some(driver) = &mut self.driver else {
            return look(cx);
        };
        self.bell.begin(cx.waker());
        // Nothing comes but by the driver, so nobody but the driver has to be woken.
        let mut nobody = Context::from_waker(Waker::noop());
        let mut found = look(&mut nobody);
        let mut rounds = 0;
        while found.is_pending() {
            self.bell.has_rung();
            let driven = driver.as_mut().poll(&mut Context::from_waker(&self.waker));
            if driven.is_ready() {
                self.driver = None;
                found = look(cx);
                break;
            }
            found = look(&mut nobody);
            rounds += 1;
            if rounds == ROUNDS || !self.bell.has_rung() {
                break;
            }
        }
        if self.bell.end() && found.is_pending() {
            cx.waker().wake_by_ref();
        }
        found
    }

    /// Whether the next request may come: the last one and its answer are over.
    pub(super) fn is_free(&mut self) -> bool {
        let Some(driver) = &mut self.driver else {
            return false;
        };
        self.bell.forget();
        let mut cx = Context::from_waker(&self.waker);
        self.sender.is_ready()
            || (driver.as_mut().poll(&mut cx).is_pending() && self.sender.is_ready())
    }

    /// Leaves the connection to a task of its own until its end.
    pub(super) fn leave(self) {
        if let Some(driver) = self.driver {
            tokio::spawn(async move {
                // What waits for something of it learns of the error, too.
                driver.await.ok();
                drop(self.sender);
            });
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not disable Nagle's algorithm");
    }
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!(%error, "could not have an idle connection checked");
    }
}
