//! A program that receives requests and answers as the test wants.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request that came.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) method: Method,
    /// With the query.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What was answered.
    pub(super) status: u16,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .to_str()
            .unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Debug, Default)]
struct Seen {
    all: Vec<Received>,
    /// The next answers; when there are none left, 200.
    answers: VecDeque<(u16, String)>,
}

/// Listens on loopback until it is dropped.
pub(super) struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::listen(listener, Arc::default())
    }

    fn listen(listener: TcpListener, seen: Arc<Mutex<Seen>>) -> Self {
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(Arc::clone(&seen));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            address,
            seen,
            serving,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has the next requests answered so, one after the other.
    pub(super) fn answer(&self, answers: &[(u16, &str)]) {
        let answers = answers.iter();
        let answers = answers.map(|(status, body)| (*status, (*body).to_owned()));
        self.seen.lock().unwrap().answers.extend(answers);
    }

    /// No more answers but 200.
    pub(super) fn back(&self) {
        self.seen.lock().unwrap().answers.clear();
    }

    /// All requests so far.
    pub(super) fn received(&self) -> Vec<Received> {
        self.seen.lock().unwrap().all.clone()
    }
}

async fn take(
    State(seen): State<Arc<Mutex<Seen>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let mut seen = seen.lock().unwrap();
    let (status, answer) = seen.answers.pop_front().unwrap_or((200, String::new()));
    seen.all.push(Received {
        method,
        path: uri.to_string(),
        headers,
        body,
        status,
    });
    (StatusCode::from_u16(status).unwrap(), answer)
}
