//! Connections as strangers make them: each byte of a request is written by hand, and patience is short.

use super::*;
use axum::Router;
use axum::routing::get;
use std::net::SocketAddr;
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;

/// More than all buffers between here and there hold.
const LARGE: usize = 64 << 20;

const PATIENCE: Patience = Patience {
    head: Duration::from_millis(500),
    answer: Duration::from_millis(500),
};

struct Server {
    address: SocketAddr,
    connections: Arc<Connections>,
    serving: JoinHandle<()>,
    stop: DropGuard,
}

impl Server {
    async fn with(connections: usize) -> Self {
        Self::start(connections, PATIENCE).await
    }

    async fn start(connections: usize, patience: Patience) -> Self {
        let echo = async |body: axum::body::Bytes| body.len().to_string();
        let large = || async { axum::body::Bytes::from(vec![b'x'; LARGE]) };
        let router = Router::new()
            .route("/", get(async || "answer").post(echo))
            .route("/large", get(large));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::at_most(connections);
        let stop = CancellationToken::new();
        let until = (stop.clone(), Duration::ZERO);
        let open = Arc::clone(&connections);
        let serving = tokio::spawn(async move {
            serve_connections(listener, router, None, (&open, patience), until).await;
        });
        Self {
            address,
            connections,
            serving,
            stop: stop.drop_guard(),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// All that comes back until the connection ends.
    async fn answers(&self, sent: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        rest_of(&mut stream).await
    }

    async fn end(self) {
        drop(self.stop);
        self.serving.await.unwrap();
    }
}

async fn rest_of(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // Where the server had not read everything the connection ends with an error.
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8(answer).unwrap()
}

/// Sends a request on an open connection and reads the short answer to it.
async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1 << 12];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8(answer[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn heads_that_others_may_read_otherwise_are_refused() {
    let server = Server::with(100).await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(MAX_HEAD)
    );
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK"),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\n", "400 Bad Request"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "400 Bad Request",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
            "400 Bad Request",
        ),
        ("GET http://a/ HTTP/1.1\r\nHost: A\r\n\r\n", "200 OK"),
        (
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "400 Bad Request",
        ),
        (&long, "431 Request Header Fields Too Large"),
    ] {
        let answers = server.answers(request).await;
        let expected = format!("HTTP/1.1 {status}\r\n");
        assert!(answers.starts_with(&expected), "{request:.60?}: {answers}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other_and_none_before_its_turn() {
    let server = Server::with(100).await;
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = |body: &str| {
        let length = body.len();
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let mut stream = server.connect().await;
    for (request, answer) in [
        (get.to_owned(), "answer"),
        (post("a body\nof lines\n"), "16"),
        (post(""), "0"),
        (get.to_owned(), "answer"),
    ] {
        let answered = exchange(&mut stream, &request).await;
        assert!(
            answered.ends_with(&format!("\r\n\r\n{answer}")),
            "{answered}"
        );
    }
    // The body in a piece of its own, and behind it a head that is not one.
    let (head, body) = (post("four").replace("four", ""), "four");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answered = exchange(&mut stream, body).await;
    assert!(answered.ends_with("\r\n\r\n4"), "{answered}");
    let answered = exchange(&mut stream, "GET / HTTP/1.1\nHost: a\r\n\r\n").await;
    assert!(answered.starts_with("HTTP/1.1 400"), "{answered}");

    for before_its_turn in [format!("{get}{get}"), format!("{}{get}", post("body"))] {
        let answers = server.answers(&before_its_turn).await;
        assert_eq!(answers.matches("HTTP/1.1 200").count(), 1, "{answers}");
        assert!(answers.contains("Connection: close"), "{answers}");
    }
    let chunked =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let answers = server.answers(chunked).await;
    assert!(answers.ends_with("\r\n\r\n2"), "{answers}");
    server.end().await;
}

#[tokio::test]
async fn who_sends_no_head_or_reads_no_answer_is_cut_off() {
    let server = Server::with(100).await;
    for head in [
        "",
        "GET / HTTP/1.1\r\nHost",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let began = tokio::time::Instant::now();
        server.answers(head).await;
        assert!(began.elapsed() >= PATIENCE.head / 2);
    }
    let mut stream = server.connect().await;
    let request = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    for number in [1, 0] {
        while server.connections.number() != number {
            tokio::time::sleep(PATIENCE.answer / 10).await;
        }
    }
    assert!(rest_of(&mut stream).await.len() < LARGE);
    server.end().await;
}

/// Two of these fill the budget, which nobody reads out of.
#[tokio::test]
async fn large_answers_that_nobody_reads_are_so_many_and_small_ones_are_always_given() {
    let server = Server::start(100, Patience::default()).await;
    let request = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut held = Vec::new();
    for status in ["200", "200", "503"] {
        let mut stream = server.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut line = [0; "HTTP/1.1 200".len()];
        stream.read_exact(&mut line).await.unwrap();
        assert!(line.ends_with(status.as_bytes()), "{line:?}");
        held.push(stream);
    }
    let mut stream = server.connect().await;
    let answer = exchange(&mut stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.ends_with("answer"), "{answer}");
    server.end().await;
}

/// A client that is still sending when its request is refused gets the answer, and may go on.
#[tokio::test]
async fn a_refusal_before_the_body_arrives() {
    let server = Server::with(100).await;
    let mut stream = server.connect().await;
    let body = "x".repeat(1 << 19);
    let head = format!(
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = exchange(&mut stream, &head).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = exchange(&mut stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.ends_with("answer"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn idle_connections_make_room_for_new_ones() {
    const MOST: usize = 20;
    let server = Server::with(MOST).await;
    let mut idle = Vec::new();
    for number in 0..10 * MOST {
        let mut stream = server.connect().await;
        if number % 2 == 0 {
            let answer = exchange(&mut stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert!(answer.ends_with("answer"), "{answer}");
        } else {
            stream.write_all(b"GET / HT").await.unwrap();
        }
        idle.push(stream);
        assert!(server.connections.number() <= MOST);
    }
    server.end().await;
}
