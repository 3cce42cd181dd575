//! The router: requests of users go through the master to the programs that run on slaves.
//!
//! `/user/<key>` and all below it belongs to the instance with that key. Where the instance runs is read from a table
//! that follows the journal, so a request waits for nothing but the program.

mod culling;
mod forwarding;
mod head;
mod pages;
mod routes;
mod splice;
#[cfg(test)]
mod tests;

pub(crate) use culling::cull;
pub(crate) use routes::Routes;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use clusterrunner_common::http::around::Answering;
use clusterrunner_common::process::open_files;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// How long a program may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a connection to a program is kept for the next request. Servers of programs close theirs after 5 s at the
/// earliest (Node).
const KEPT_IDLE: Duration = Duration::from_secs(4);

/// After how long a connection on which nothing moves is checked: a slave may be gone without a word.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The most requests that are with programs at a time, however many files the master may have open.
const MOST_REQUESTS: usize = 4096;

/// The service that gives requests to programs. Clones share it.
#[derive(Clone, Debug)]
pub struct Router {
    routes: Routes,
    client: Client<HttpConnector, Body>,
    /// A place for each request that is with a program: it takes a connection.
    places: Arc<Semaphore>,
    is_tls: bool,
    stop: CancellationToken,
}

impl Router {
    /// A router for these routes; `is_tls` where users come by TLS. What goes on in another protocol ends at the stop.
    ///
    /// At most a quarter of the files that this process may have open are connections to programs: half of them is for
    /// the connections of users.
    #[must_use]
    pub(crate) fn new(routes: Routes, is_tls: bool, stop: CancellationToken) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_keepalive(Some(KEEPALIVE));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT_IDLE)
            .build(connector);
        let files = open_files::limit().unwrap_or(usize::MAX);
        Self {
            routes,
            client,
            places: Arc::new(Semaphore::new((files / 4).clamp(1, MOST_REQUESTS))),
            is_tls,
            stop,
        }
    }

    /// Whether a path belongs to an instance, whatever became of the instance.
    pub(crate) fn owns(path: &str) -> bool {
        head::Asked::of(path).is_some()
    }
}

impl Service<Request> for Router {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answering {
        let router = self.clone();
        Box::pin(async move { Ok(router.answer(request).await) })
    }
}
