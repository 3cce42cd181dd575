//! Serving HTTP, the same for both daemons and every API: one accept loop, bounded connections and answers, TLS. What
//! the answers of one API have in common is in a room of that API.

mod answering;
pub mod answers;
pub mod around;
pub mod clusterrunner;
mod connections;
pub mod cors;
pub mod limits;
pub mod peer;
mod rest;
#[cfg(test)]
mod serving_tests;
#[cfg(test)]
mod tests;
pub mod tls;
mod watched;
pub mod web_socket;
#[cfg(test)]
mod web_socket_tests;

use crate::api::{ErrorBody, ErrorCode};
use answering::Answerer;
use answers::Budget;
use around::Inside;
use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use connections::{Activity, Connections};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use limits::ServingLimits;
use peer::Peer;
use serde_json::json;
use socket2::SockRef;
use std::io;
use std::sync::{Arc, Once};
use std::time::Duration;
use tls::TlsDoor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watched::{UNSENT, WRITE_TIMEOUT, Watched};

/// The largest body that is held in memory for a sender who is not proved yet. Uploads are streamed
/// and not bound by it.
pub const MAX_BUFFERED_BODY: usize = 1 << 20;

/// The largest body that is held for such a sender in any case: so much is no burden even if every connection
/// brings it. Larger ones share a budget, unless the head of the request names their digest and is signed.
pub(crate) const SMALL_BODY: usize = 16 << 10;

/// How long a connection may stay without a complete request head, between requests too. Our own callers
/// give up connections before that ([`crate::caller`]).
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How large a request head may be, and how much of an answer waits in memory until the system takes it.
const MAX_HEAD: usize = 32 << 10;

/// Pause after a failed accept, which mostly means that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Path and query exactly as on the request line, where they were tidied since: what a signature
/// covers.
#[derive(Clone, Debug)]
pub(crate) struct RequestLine(pub String);

/// The method of a request as it was sent: a HEAD goes on as a GET, but is signed as what it is.
#[derive(Clone, Debug)]
pub struct SentMethod(pub Method);

/// Chooses the TLS implementation for every client of this process; later calls change nothing.
pub fn install_crypto() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error says that another part of the process was first, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
}

/// Serves `router` until `stop`, then lets requests in flight finish for at most `drain`. Connections that went on in
/// another protocol have to see to it themselves that they end at the stop, and get the same time for it.
pub async fn serve(
    listener: TcpListener,
    router: impl Inside,
    stop: CancellationToken,
    drain: Duration,
) {
    let limits = ServingLimits::default();
    serve_secured(listener, router, (None, limits), stop, drain).await;
}

/// As [`serve`], within limits; with `tls`, connections are taken over TLS only.
pub async fn serve_secured(
    listener: TcpListener,
    router: impl Inside,
    (tls, limits): (Option<TlsDoor>, ServingLimits),
    stop: CancellationToken,
    drain: Duration,
) {
    let patience = Patience::default();
    let connections = Connections::of_this_process(limits);
    serve_connections(
        listener,
        router,
        tls,
        (&connections, patience),
        (stop, drain),
    )
    .await;
}

/// How long a connection waits for its peer.
#[derive(Clone, Copy, Debug)]
struct Patience {
    head: Duration,
    answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: HEAD_TIMEOUT,
            answer: WRITE_TIMEOUT,
        }
    }
}

async fn serve_connections(
    listener: TcpListener,
    router: impl Inside,
    tls: Option<TlsDoor>,
    (connections, patience): (&Arc<Connections>, Patience),
    (stop, drain): (CancellationToken, Duration),
) {
    let open = TaskTracker::new();
    let budget = Budget::default();
    let mut http = http1::Builder::new();
    // As the original writes them: there are readers that look names up by their exact letters.
    http.title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_HEAD);
    loop {
        let (accepted, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        let admitted = tokio::select! {
            () = stop.cancelled() => break,
            admitted = connections.admit(peer) => admitted,
        };
        let Some(admitted) = admitted else {
            tracing::debug!(?peer, "a connection too many of one peer was closed");
            continue;
        };
        let activity = Arc::clone(&admitted.activity);
        let service = Answerer::new(router.clone(), peer, &activity, &budget);
        let (http, stop, held) = (http.clone(), stop.clone(), (admitted, open.token()));
        let Some(tls) = tls.clone() else {
            let stream = Watched::new(accepted, patience.answer, &activity).holding(held);
            tokio::spawn(kept(
                activity,
                stop,
                http.serve_connection(TokioIo::new(stream), service),
            ));
            continue;
        };
        tokio::spawn(async move {
            let shaken = tokio::select! {
                () = stop.cancelled() => return,
                () = activity.closed() => return,
                shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake(&tls, accepted)) => shaken,
            };
            match shaken {
                Ok(Ok(stream)) => {
                    let stream = Watched::new(stream, patience.answer, &activity).holding(held);
                    let connection = http.serve_connection(TokioIo::new(stream), service);
                    kept(activity, stop, connection).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake timed out"),
            }
        });
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(drain, open.wait()).await.is_err() {
        tracing::warn!("requests still in flight were cut off at the end");
    }
}

/// The next connection, however long the system has no room for it.
async fn accept(listener: &TcpListener) -> (TcpStream, Peer) {
    let mut is_told = false;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                prepare(&stream);
                return (stream, Peer::at(address));
            }
            Err(error) if is_told => tracing::debug!(%error, "still no connection is accepted"),
            Err(error) => {
                is_told = true;
                tracing::warn!(%error, "could not accept a connection; retrying");
            }
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not disable Nagle's algorithm");
    }
    // Without it the system may keep megabytes for each reader who does not read.
    if let Err(error) = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "could not limit the send buffer");
    }
}

/// Serves a connection until its end, or until it has to make room for another one. After the stop it ends with the
/// answer that is under way.
async fn kept<S, R>(
    activity: Arc<Activity>,
    stop: CancellationToken,
    connection: http1::Connection<TokioIo<Watched<S>>, Answerer<R>>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    R: Inside,
{
    let connection = connection.with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = activity.closed() => {
            tracing::debug!("an idle connection was closed for a new one");
            return;
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Speaks TLS with clients that do, and tells others what is wrong: mostly an `s` is missing after `http`.
async fn handshake(tls: &TlsDoor, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic() {
        let body = json!({"error": "This port speaks HTTPS: use https:// instead of http://, or set https_ca_file in clusterrunner.conf."});
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json; charset=UTF-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        let_go(stream).await?;
        return Err(io::Error::other("the peer speaks plain HTTP"));
    }
    match tls.acceptor().await.accept(stream).into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, stream)) => {
            // What is wrong has been sent to the peer, who may be in the middle of a request already.
            let_go(stream).await.ok();
            Err(error)
        }
    }
}

/// Ends a connection so that the peer gets what was sent last: what is still unread at the close would make the system throw
/// that away.
async fn let_go(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = stream.take(MAX_BUFFERED_BODY as u64);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}

/// A refusal: `{"error": ...}` with a status.
pub fn refusal(status: StatusCode, error: impl Into<String>) -> Response {
    coded_refusal(status, None, error)
}

/// A refusal that programs tell apart: `{"error": ..., "code": ...}` with a status.
pub fn coded_refusal(
    status: StatusCode,
    code: Option<ErrorCode>,
    error: impl Into<String>,
) -> Response {
    let body = ErrorBody {
        status: None,
        error: error.into(),
        code,
    };
    (status, Json(body)).into_response()
}

/// A refusal in the form that the original gives to requests for builds:
/// `{"status": "FAILURE", "error": ...}`.
pub fn failure(status: StatusCode, error: impl Into<String>) -> Response {
    let body = ErrorBody {
        status: Some("FAILURE".to_owned()),
        error: error.into(),
        code: None,
    };
    (status, Json(body)).into_response()
}
