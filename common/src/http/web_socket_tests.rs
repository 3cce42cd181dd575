//! Web sockets over real connections, to a server whose patience is short.

use super::web_socket::{MAX_MESSAGE, NoWebSocket, Over, upgrade};
use super::*;
use axum::Router;
use axum::extract::{Request, State};
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use std::net::SocketAddr;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{WebSocketStream, client_async};

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(10),
    answer: Duration::from_millis(500),
};

struct Server {
    address: SocketAddr,
    connections: Arc<Connections>,
    serving: JoinHandle<()>,
    told: Told,
    ends: mpsc::Receiver<String>,
}

/// What handlers are told, and where they say how a socket has ended.
#[derive(Clone)]
struct Told {
    stop: CancellationToken,
    close: Arc<Notify>,
    ping_every: Duration,
    ended: mpsc::Sender<String>,
}

/// Greets, waits for the order to close, and closes. With `?flood` it sends without end.
async fn socket(State(told): State<Told>, mut request: Request) -> Response {
    let is_flood = request.uri().query() == Some("flood");
    let (response, opening) = match upgrade(&mut request) {
        Ok(upgraded) => upgraded,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, error.to_string()),
    };
    tokio::spawn(async move {
        let opened = opening.pinged(told.stop.clone(), told.ping_every).await;
        let mut socket = opened.unwrap();
        let talk = async {
            socket.send("hello".to_owned()).await?;
            if is_flood {
                loop {
                    socket.send("x".repeat(MAX_MESSAGE)).await?;
                }
            }
            socket.during(told.close.notified()).await
        };
        let talked: Result<(), Over> = talk.await;
        let ended = match talked {
            Ok(()) => {
                socket.close().await;
                "in order".to_owned()
            }
            Err(over) => {
                let ended = over.to_string();
                socket.give_up(over).await;
                ended
            }
        };
        told.ended.send(ended).await.unwrap();
    });
    response
}

impl Server {
    async fn with(connections: usize) -> Self {
        Self::pinging(connections, Duration::from_secs(30)).await
    }

    async fn pinging(connections: usize, ping_every: Duration) -> Self {
        let (ended, ends) = mpsc::channel(8);
        let told = Told {
            stop: CancellationToken::new(),
            close: Arc::default(),
            ping_every,
            ended,
        };
        let router = Router::new()
            .route("/", get(async || "answer"))
            .route("/socket", get(socket))
            .with_state(told.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::at_most(connections);
        let until = (told.stop.clone(), Duration::from_secs(10));
        let open = Arc::clone(&connections);
        let serving = tokio::spawn(async move {
            serve_connections(listener, router, None, (&open, PATIENCE), until).await;
        });
        Self {
            address,
            connections,
            serving,
            told,
            ends,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A socket that was greeted.
    async fn open(&self) -> WebSocketStream<TcpStream> {
        let url = format!("ws://{}/socket", self.address);
        let (mut socket, answer) = client_async(url, self.connect().await).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(heard(&mut socket).await, Message::text("hello"));
        socket
    }

    async fn end(self) {
        self.told.stop.cancel();
        self.serving.await.unwrap();
        assert_eq!(self.connections.number(), 0);
    }
}

async fn heard(socket: &mut WebSocketStream<TcpStream>) -> Message {
    socket.next().await.unwrap().unwrap()
}

/// The code that the server closes with; nothing comes after it.
async fn close_code(socket: &mut WebSocketStream<TcpStream>) -> CloseCode {
    let Message::Close(Some(frame)) = heard(socket).await else {
        panic!("it goes on");
    };
    let more = socket.next().await;
    // The system cuts the connection off where the server has not read all.
    assert!(more.is_none_or(|more| more.is_err()));
    frame.code
}

#[tokio::test]
async fn messages_go_both_ways_and_each_side_may_close() {
    let mut server = Server::with(10).await;
    let mut socket = server.open().await;
    // In a head these bytes are refused.
    let lines = bytes::Bytes::from(vec![b'\n'; 100]);
    for _ in 0..20 {
        let text = Message::text("of no interest\n");
        socket.send(text).await.unwrap();
        let ping = Message::Ping(lines.clone());
        socket.send(ping).await.unwrap();
        assert_eq!(heard(&mut socket).await, Message::Pong(lines.clone()));
    }
    server.told.close.notify_one();
    assert_eq!(close_code(&mut socket).await, CloseCode::Normal);
    assert_eq!(server.ends.recv().await.unwrap(), "in order");
    let mut socket = server.open().await;
    socket.close(None).await.unwrap();
    assert_eq!(server.ends.recv().await.unwrap(), "the peer closed it");
    server.end().await;
}

#[tokio::test]
async fn an_open_socket_keeps_its_place_and_makes_no_room() {
    let mut server = Server::with(1).await;
    let mut socket = server.open().await;
    let mut other = server.connect().await;
    other
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    let early = other.read_to_string(&mut answer);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), early)
            .await
            .is_err()
    );
    assert_eq!(server.connections.number(), 1);
    server.told.close.notify_one();
    assert_eq!(close_code(&mut socket).await, CloseCode::Normal);
    drop(socket);
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("answer"), "{answer}");
    assert_eq!(server.ends.recv().await.unwrap(), "in order");
    server.end().await;
}

#[tokio::test]
async fn a_server_that_stops_closes_its_sockets() {
    let mut server = Server::with(10).await;
    let mut socket = server.open().await;
    server.told.stop.cancel();
    assert_eq!(close_code(&mut socket).await, CloseCode::Away);
    assert_eq!(server.ends.recv().await.unwrap(), "this daemon ends");
    server.end().await;
}

#[tokio::test]
async fn peers_that_break_the_rules_are_dropped() {
    let mut server = Server::with(10).await;
    let mut large = server.open().await;
    let message = Message::text("x".repeat(MAX_MESSAGE + 1));
    large.send(message).await.unwrap();
    assert_eq!(close_code(&mut large).await, CloseCode::Size);
    assert!(server.ends.recv().await.unwrap().contains("too long"));
    let mut garbage = server.open().await;
    garbage.get_mut().write_all(&[0xff; 100]).await.unwrap();
    assert_eq!(close_code(&mut garbage).await, CloseCode::Protocol);
    server.ends.recv().await.unwrap();
    // Closed by the system, without a word.
    drop(server.open().await);
    server.ends.recv().await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn a_peer_that_answers_pings_stays_and_another_one_is_dropped() {
    let mut server = Server::pinging(10, Duration::from_secs(1)).await;
    let mut socket = server.open().await;
    for _ in 0..3 {
        // The answer goes out with the next look at the socket.
        assert_eq!(heard(&mut socket).await, Message::Ping(bytes::Bytes::new()));
    }
    server.told.close.notify_one();
    assert_eq!(close_code(&mut socket).await, CloseCode::Normal);
    assert_eq!(server.ends.recv().await.unwrap(), "in order");
    let silent = server.open().await;
    assert_eq!(server.ends.recv().await.unwrap(), "the peer says nothing");
    drop(silent);
    server.end().await;
}

#[tokio::test]
async fn a_peer_that_never_reads_is_given_up() {
    let mut server = Server::with(10).await;
    let url = format!("ws://{}/socket?flood", server.address);
    let connected = client_async(url, server.connect().await).await.unwrap();
    let ended = server.ends.recv().await.unwrap();
    assert!(ended.contains("took nothing"), "{ended}");
    drop(connected);
    server.end().await;
}

#[tokio::test]
async fn other_requests_are_told_what_a_socket_needs() {
    let server = Server::with(10).await;
    let asks = "Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a";
    for (headers, expected) in [
        ("Connection: close".to_owned(), NoWebSocket::NotAsked),
        (
            format!("{asks}\r\nSec-WebSocket-Version: 8"),
            NoWebSocket::OtherVersion,
        ),
        (asks.to_owned(), NoWebSocket::OtherVersion),
    ] {
        let mut stream = server.connect().await;
        let request = format!("GET /socket HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let error = json!({"error": expected.to_string()}).to_string();
        assert!(answer.ends_with(&error), "{answer}");
    }
    server.end().await;
}
