//! A program that receives requests and answers as the test wants.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use serde_json::Value;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: Method,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What was answered.
    pub(crate) status: u16,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .to_str()
            .unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Debug, Default)]
struct Seen {
    all: Vec<Received>,
    /// The next answers; when there are none left, 200. The text of a redirect is where it leads.
    answers: VecDeque<(u16, String)>,
    /// Where all requests are sent, if they are.
    elsewhere: Option<String>,
}

/// Listens on loopback until it is dropped.
pub(crate) struct Receiver {
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
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1").await
    }

    /// One at another loopback address.
    pub(crate) async fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
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

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Has the next requests answered so, one after the other.
    pub(crate) fn answer(&self, answers: &[(u16, &str)]) {
        let answers = answers.iter();
        let answers = answers.map(|(status, body)| (*status, (*body).to_owned()));
        self.seen.lock().unwrap().answers.extend(answers);
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Has the next request sent elsewhere.
    pub(crate) fn send_to(&self, status: u16, location: &str) {
        self.answer(&[(status, location)]);
    }

    /// Has all requests sent elsewhere.
    pub(crate) fn send_to_always(&self, location: &str) {
        self.seen.lock().unwrap().elsewhere = Some(location.to_owned());
    }

    /// No more answers but 200.
    pub(crate) fn back(&self) {
        let mut seen = self.seen.lock().unwrap();
        seen.answers.clear();
        seen.elsewhere = None;
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.seen.lock().unwrap().all.clone()
    }
}

async fn take(
    State(seen): State<Arc<Mutex<Seen>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    let mut seen = seen.lock().unwrap();
    let usual = match &seen.elsewhere {
        Some(elsewhere) => (302, elsewhere.clone()),
        None => (200, String::new()),
    };
    let (status, answer) = seen.answers.pop_front().unwrap_or(usual);
    let mut more = HeaderMap::new();
    if (300..400).contains(&status) {
        more.insert(header::LOCATION, answer.parse().unwrap());
    }
    seen.all.push(Received {
        method,
        path: uri.to_string(),
        headers,
        body,
        status,
    });
    (StatusCode::from_u16(status).unwrap(), more, answer)
}
