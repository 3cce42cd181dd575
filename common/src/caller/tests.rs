//! A caller and daemons that are started again.

use super::*;
use crate::auth::gate::{Gate, SignedUpload};
use crate::http::serve;
use axum::Router;
use axum::routing::{get, post};
use reqwest::StatusCode;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "a secret for tests";

fn secret() -> Secret {
    Secret::new(SECRET.to_owned()).unwrap()
}

/// A daemon that counts the requests that it is asked.
struct Daemon {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Daemon {
    /// One with this session, at an address where there is another one no more.
    async fn start(session: &str, address: SocketAddr, proved_reads: bool) -> Self {
        let taken = async |upload: SignedUpload| {
            let body = axum::body::to_bytes(upload.request.into_body(), usize::MAX).await;
            axum::Json(body.unwrap().len())
        };
        let router = Router::new()
            .route("/order", post(taken))
            .route("/read", get(async || axum::Json("read")));
        let session = SessionId(session.to_owned());
        let gate = Gate::new(secret(), &session, Duration::from_secs(60), |_, _| false);
        let gate = match proved_reads {
            true => gate.with_proved_reads(None),
            false => gate,
        };
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let router = gate.guard(router).layer(axum::middleware::map_request(
            move |request: axum::extract::Request| {
                count.fetch_add(1, Ordering::Relaxed);
                async { request }
            },
        ));
        let listener = TcpListener::bind(address).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let until = stop.clone();
        let serving = tokio::spawn(serve(listener, router, until, Duration::ZERO));
        Self {
            address,
            asked,
            stop,
            serving,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }

    async fn end(self) -> SocketAddr {
        self.stop.cancel();
        self.serving.await.unwrap();
        self.address
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn caller() -> Caller {
    Caller::new(Some(secret()), Duration::from_secs(30)).unwrap()
}

async fn order(caller: &Caller, daemon: &Daemon) -> Result<usize, CallError> {
    caller
        .send(Method::POST, &daemon.url("/order"), "order")
        .await
}

#[tokio::test]
async fn a_caller_learns_the_session_once_and_again_after_a_restart() {
    let caller = caller();
    let daemon = Daemon::start("first", anywhere(), false).await;
    assert_eq!(order(&caller, &daemon).await.unwrap(), 7);
    assert_eq!(daemon.asked(), 2, "for its session, and then");
    for _ in 0..3 {
        order(&caller, &daemon).await.unwrap();
    }
    assert_eq!(daemon.asked(), 3);
    let address = daemon.end().await;
    let daemon = Daemon::start("second", address, false).await;
    // A connection that is gone may have to be noticed first.
    while order(&caller, &daemon).await.is_err() {}
    order(&caller, &daemon).await.unwrap();
    daemon.end().await;
}

#[tokio::test]
async fn what_is_signed_for_a_life_that_is_over_is_signed_again_once() {
    let (caller, other) = (caller(), caller());
    let daemon = Daemon::start("second", anywhere(), false).await;
    let url = caller.parse(&daemon.url("/order")).unwrap();
    let remember = |caller: &Caller| {
        let answer = axum::http::Response::builder().header("session-id", "first");
        let answer = Response::from(answer.body(Vec::new()).unwrap());
        caller.sessions.learn(&url, &answer);
    };
    remember(&caller);
    assert_eq!(order(&caller, &daemon).await.unwrap(), 7);
    assert_eq!(daemon.asked(), 2);
    // What streams is not sent again by itself, but the next time it is right.
    remember(&caller);
    let digest = content_digest(b"body");
    let upload = async || {
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>("body")]);
        let body = reqwest::Body::wrap_stream(body);
        let url = daemon.url("/order");
        let sent = caller.upload(&url, "text/plain", 4, &digest, body, None);
        sent.await as Result<usize, _>
    };
    let refused: CallError = upload().await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::UNAUTHORIZED));
    assert_eq!(upload().await.unwrap(), 4);
    // Who means one life only never speaks to another one.
    let meant = SessionId("first".to_owned());
    let url = daemon.url("/order");
    let sent = other.send_to::<usize>(&meant, Method::POST, &url, b"1".to_vec());
    assert_eq!(
        sent.await.unwrap_err().status(),
        Some(StatusCode::UNAUTHORIZED)
    );
    daemon.end().await;
}

#[tokio::test]
async fn a_read_is_signed_where_that_is_asked_for() {
    for (proved_reads, asked) in [(false, [1, 1]), (true, [2, 1])] {
        let caller = caller();
        let daemon = Daemon::start("first", anywhere(), proved_reads).await;
        for asked in asked {
            let read: String = caller.get(&daemon.url("/read")).await.unwrap();
            assert_eq!(read, "read");
            assert_eq!(daemon.asked(), asked);
        }
        daemon.end().await;
    }
}

#[tokio::test]
async fn who_tells_no_session_is_no_daemon() {
    let listener = TcpListener::bind(anywhere()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, Router::new(), stop.clone(), Duration::ZERO));
    let (caller, url) = (caller(), format!("{address}/order"));
    let sent = caller.send::<_, usize>(Method::POST, &url, "order");
    let error = sent.await.unwrap_err();
    assert!(matches!(error, CallError::NoSession { .. }), "{error}");
    for odd in [r"h\..\x:1/v1", "h:1/v1 x", "h:1/v1\n"] {
        let error = caller.get::<usize>(odd).await.unwrap_err();
        assert!(matches!(error, CallError::Address { .. }), "{odd}: {error}");
    }
    stop.cancel();
    serving.await.unwrap();
}
