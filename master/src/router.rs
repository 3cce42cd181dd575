//! The router: requests of users go through the master to the programs that run on slaves.
//!
//! The hosts of an app lead to its instances that are up, in turn; on other hosts `/user/<key>` and all below it belongs to
//! the instance with that key. Where instances run is read from a table that follows the journal, so a request waits for
//! nothing but the program.

mod apps;
mod connection;
mod culling;
mod draining;
mod forwarding;
mod head;
mod hosts;
mod pages;
mod passing;
mod program;
mod route;
mod routes;
mod splice;
#[cfg(test)]
mod tests;
mod uses;

pub(crate) use culling::cull;
pub(crate) use draining::drain;
pub(crate) use hosts::Hosts;
pub(crate) use routes::Routes;

use axum::extract::Request;
use axum::response::Response;
use clusterrunner_common::http::around::Answering;
use clusterrunner_common::process::open_files;
use routes::Found;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// The most requests that are with programs at a time, however many files the master may have open.
const MOST_REQUESTS: usize = 4096;

/// The service that gives requests to programs. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Router(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    routes: Routes,
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
        let files = open_files::limit().unwrap_or(usize::MAX);
        Self(Arc::new(Shared {
            routes,
            places: Arc::new(Semaphore::new((files / 4).clamp(1, MOST_REQUESTS))),
            is_tls,
            stop,
        }))
    }

    /// What a request is for; none where it is for the APIs.
    pub(crate) fn claim(&self, request: &Request) -> Option<Claim> {
        let by_host = self.0.routes.by_host(request.uri(), request.headers());
        let is_path = || head::Asked::of(request.uri().path()).is_some();
        by_host
            .map(Claim::Host)
            .or_else(|| is_path().then_some(Claim::Path))
    }

    /// Has the program answer that a request is for, or says why none does.
    pub(crate) fn give(&self, claim: Claim, request: Request) -> Answering {
        let router = self.clone();
        Box::pin(async move { Ok(router.answer(claim, request).await) })
    }
}

/// What a request is for that is not for the APIs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Claim {
    /// What its host leads to.
    Host(Found),
    /// The instance whose key is in its path.
    Path,
    /// Nothing that is here.
    Nothing,
}

impl Service<Request> for Router {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answering {
        self.give(self.claim(&request).unwrap_or(Claim::Nothing), request)
    }
}
