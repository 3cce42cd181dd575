//! A connection to a program, with one request at a time. A task of its own reads and writes on it.

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a program may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// After how long a connection on which nothing moves is checked: a slave may be gone without a word.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How much of a request or an answer a connection holds at a time; no head may be longer.
const HELD: usize = 64 << 10;

/// A connection. When this value is dropped, the connection goes on until the present request is sent and its answer is
/// read, or given up.
#[derive(Debug)]
pub(super) struct Connection(SendRequest<Body>);

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
        tokio::spawn(async move {
            // What waits for something of the connection learns of the error, too.
            connection.with_upgrades().await.ok();
        });
        Ok(Self(sender))
    }

    /// Sends a request, and waits for the head of its answer. The error has the request if nothing of it was sent.
    pub(super) async fn ask(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        self.0.try_send_request(request).await
    }

    /// Whether the next request may come: the last one and its answer are over.
    pub(super) fn is_free(&self) -> bool {
        self.0.is_ready()
    }

    /// Whether the program has closed the connection.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
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
