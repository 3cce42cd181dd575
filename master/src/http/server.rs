//! Listens, and gives each request to the API that owns it.

use super::claims::{self, Family};
use super::clusterrunner;
use super::polyaxon;
use crate::router::Router;
use axum::extract::Request;
use axum::response::Response;
use clusterrunner_common::http::around::{Answering, Inside};
use clusterrunner_common::http::serve_secured;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// How long requests in flight may take after the stop.
const DRAIN: Duration = Duration::from_secs(2);

/// All APIs of the farm behind one port. What one of them gets is the request as it was sent.
#[derive(Clone)]
pub struct Families {
    /// Owns most paths.
    pub clusterrunner: clusterrunner::Router,
    /// Owns `/api/v1` and `/ws/v1`.
    pub polyaxon: polyaxon::Router,
    /// Owns `/user/<key>`, whatever API launched the instance.
    pub router: Router,
}

/// Serves the APIs, or one of them, until `stop`; over TLS only, where `tls` is given.
pub async fn serve(
    listener: TcpListener,
    families: impl Inside,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) {
    serve_secured(listener, families, tls, stop, DRAIN).await;
}

impl Service<Request> for Families {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answering {
        if Router::owns(request.uri().path()) {
            return self.router.call(request);
        }
        match claims::owner(request.uri().path()) {
            Family::ClusterRunner => self.clusterrunner.call(request),
            Family::Polyaxon => self.polyaxon.call(request),
        }
    }
}
