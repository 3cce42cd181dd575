//! Web sockets: a request after which its connection carries messages in both directions.
//!
//! The peer is a stranger. Of what it sends at most one message of bounded size is held; while it does not read, nothing
//! is read of it either, and the stream below gives it up after a while. A peer that is gone without a word is found by
//! pings.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

/// The largest message that a peer may send.
pub const MAX_MESSAGE: usize = 64 << 10;

/// How much is read of a peer at a time.
const READ_AT_A_TIME: usize = 4 << 10;

/// How often the peer is asked whether it is still there. Whoever has said nothing since the last time is gone.
const PING_EVERY: Duration = Duration::from_secs(30);

/// How long a peer may take to close the socket after it was told to.
const CLOSING: Duration = Duration::from_secs(1);

/// The version of the protocol.
const VERSION: &str = "13";

/// Why a request does not become a web socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWebSocket {
    /// It asks for none.
    #[error(
        "This route is a web socket: the request must be a GET with 'Connection: Upgrade', 'Upgrade: websocket' and \
         'Sec-WebSocket-Key'."
    )]
    NotAsked,
    /// It asks for another version.
    #[error("Web sockets are spoken here in version 13: send 'Sec-WebSocket-Version: 13'.")]
    OtherVersion,
}

/// Why a web socket is over.
#[derive(Debug, thiserror::Error)]
pub enum Over {
    /// The peer has closed it.
    #[error("the peer closed it")]
    Closed,
    /// The peer does not answer pings.
    #[error("the peer says nothing")]
    Silent,
    /// This daemon ends.
    #[error("this daemon ends")]
    Stopping,
    /// The connection failed, or the peer speaks something else.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A web socket that is open as soon as the answer to its request is sent.
#[derive(Debug)]
pub struct Opening(OnUpgrade);

/// An open web socket, on the side of the server.
#[derive(Debug)]
pub struct WebSocket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    stop: CancellationToken,
    pings: Interval,
    /// Whether the peer has said something since the last ping, or since its request.
    is_heard: bool,
}

/// Takes a request for a web socket over: the answer to send, and the socket.
///
/// # Errors
/// The request is no such request.
pub fn upgrade(request: &mut Request) -> Result<(Response, Opening), NoWebSocket> {
    let headers = request.headers();
    let is_asked = request.method() == Method::GET
        && has_word(headers, header::CONNECTION.as_str(), "upgrade")
        && has_word(headers, header::UPGRADE.as_str(), "websocket");
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .filter(|_| is_asked)
        .ok_or(NoWebSocket::NotAsked)?;
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|given| given != VERSION)
    {
        return Err(NoWebSocket::OtherVersion);
    }
    // It is base64, so no request is refused for a character.
    let accepted = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    let accepted = accepted.map_err(|_| NoWebSocket::NotAsked)?;
    // The server below puts it there for each request that asks for another protocol.
    let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let on_upgrade = on_upgrade.ok_or(NoWebSocket::NotAsked)?;
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
    Ok((response, Opening(on_upgrade)))
}

/// Whether one of the words of a header, which commas separate, is this one.
fn has_word(headers: &HeaderMap, name: &str, word: &str) -> bool {
    let values = headers.get_all(name).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let mut words = texts.flat_map(|text| text.split(','));
    words.any(|given| given.trim().eq_ignore_ascii_case(word))
}

impl Opening {
    /// The socket, once its answer is sent. It ends at `stop` at the latest.
    ///
    /// # Errors
    /// The connection has ended before.
    pub async fn opened(self, stop: CancellationToken) -> Result<WebSocket, hyper::Error> {
        self.pinged(stop, PING_EVERY).await
    }

    /// [`Opening::opened`], with pings this often.
    pub(super) async fn pinged(
        self,
        stop: CancellationToken,
        every: Duration,
    ) -> Result<WebSocket, hyper::Error> {
        let upgraded = TokioIo::new(self.0.await?);
        let bounds = WebSocketConfig::default()
            .read_buffer_size(READ_AT_A_TIME)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(bounds)).await;
        let mut pings = interval_at(Instant::now() + every, every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(WebSocket {
            stream,
            stop,
            pings,
            is_heard: true,
        })
    }
}

impl WebSocket {
    /// Sends a text, and waits until the system has taken it.
    ///
    /// # Errors
    /// The socket is over.
    pub async fn send(&mut self, text: String) -> Result<(), Over> {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => Err(Over::Stopping),
            sent = self.stream.send(Message::text(text)) => Ok(sent?),
        }
    }

    /// Attends to the peer for as long as `work` takes: answers its pings, sends some, throws away what it says.
    ///
    /// # Errors
    /// The socket is over; so is the work.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Over> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Over::Stopping),
                heard = self.stream.next() => match heard {
                    Some(Ok(Message::Close(_))) | None => return Err(Over::Closed),
                    Some(Ok(_)) => self.is_heard = true,
                    Some(Err(error)) => return Err(error.into()),
                },
                done = work.as_mut() => return Ok(done),
                _ = self.pings.tick() => {
                    if !std::mem::take(&mut self.is_heard) {
                        return Err(Over::Silent);
                    }
                    self.stream.send(Message::Ping(bytes::Bytes::new())).await?;
                }
            }
        }
    }

    /// Ends the socket in order: says so to the peer, and waits a moment for its answer.
    pub async fn close(mut self) {
        self.close_with(CloseCode::Normal).await;
    }

    /// Ends a socket that is over, with what there is still to say to the peer.
    pub async fn give_up(mut self, over: Over) {
        tracing::debug!(error = %over, "a web socket is over");
        let code = match over {
            Over::Closed => CloseCode::Normal,
            Over::Stopping => CloseCode::Away,
            Over::Failed(Error::Capacity(_)) => CloseCode::Size,
            Over::Failed(Error::Protocol(_)) => CloseCode::Protocol,
            Over::Failed(Error::Utf8(_)) => CloseCode::Invalid,
            Over::Silent | Over::Failed(_) => return,
        };
        self.close_with(code).await;
    }

    async fn close_with(&mut self, code: CloseCode) {
        let frame = CloseFrame {
            code,
            reason: "".into(),
        };
        let closed = timeout(CLOSING, async {
            self.stream.close(Some(frame)).await?;
            // The peer's answer; what it said before that is of no use any more.
            while let Some(said) = self.stream.next().await {
                said?;
            }
            Ok::<_, Error>(())
        });
        if let Ok(Err(error)) = closed.await {
            tracing::trace!(%error, "a web socket ended before it was closed");
        }
    }
}
