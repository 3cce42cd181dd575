//! Listens, and gives each request to the API that owns it.

use super::binder;
use super::claims::{Family, owner};
use super::clusterrunner;
use super::deis;
use super::door::{Door, door};
use super::git::GitHttp;
use super::own_port;
use super::page::Page;
use super::polyaxon;
use crate::router::{Claim, Router};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use clusterrunner_common::auth::strangers::Strangers;
use clusterrunner_common::http::around::{Answering, Inside};
use clusterrunner_common::http::limits::ServingLimits;
use clusterrunner_common::http::serve_secured;
use clusterrunner_common::http::tls::TlsDoor;
use futures_util::future::Either;
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// How long requests in flight may take after the stop.
const DRAIN: Duration = Duration::from_secs(2);

/// The longest body that is read to find out which API it is for.
const MOST_UNPROVED: usize = 16 << 10;

/// How long such a body may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// All APIs of the farm behind one port. What one of them gets is the request as it was sent. Clones share them, as each
/// request takes one.
#[derive(Clone)]
pub(crate) struct Families {
    router: Router,
    /// The port that instances have for themselves, if there is one.
    router_port: Option<u16>,
    /// All but what instances are asked: that is the business of their programs.
    apis: Door<Owners>,
}

/// The APIs, each of which owns a part of the paths.
#[derive(Clone)]
struct Owners(Arc<Apis>);

/// The APIs, each with its part of the paths.
pub(crate) struct Apis {
    /// Owns most paths.
    pub clusterrunner: clusterrunner::Router,
    /// Owns `/api/v1` and `/ws/v1`.
    pub polyaxon: polyaxon::Router,
    /// Owns all of the hosts of apps, and `/user/<key>`, whatever API launched the instance.
    pub router: Router,
    /// Owns `/templates`, `/applications` and others, and shares `/builds`.
    pub binder: binder::Router,
    /// Owns `/v1/apps`, `/v1/auth` and others.
    pub deis: deis::Router,
    /// Owns `/<app>.git`.
    pub git: GitHttp,
    /// Owns `/ui`, and `/` for browsers.
    pub page: Page,
}

/// Serves the APIs, or one of them, within limits until `stop`; over TLS only, where that is given.
pub(crate) async fn serve(
    listener: TcpListener,
    families: impl Inside,
    door: (Option<TlsDoor>, ServingLimits),
    stop: CancellationToken,
) {
    serve_secured(listener, families, door, stop, DRAIN).await;
}

impl Service<Request> for Families {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answering {
        if let Some(claim) = self.router.claim(&request) {
            let is_path = matches!(claim, Claim::Path);
            if let Some(port) = self.router_port.filter(|_| is_path)
                && let Some(elsewhere) = own_port::sent_to(port, &request)
            {
                return Box::pin(ready(Ok(elsewhere)));
            }
            return self.router.give(claim, request);
        }
        match self.apis.call(request) {
            Either::Left(Either::Left(answering) | Either::Right(answering))
            | Either::Right(answering) => answering,
        }
    }
}

impl Families {
    /// The APIs, of which each address may ask so much without proof.
    pub(crate) fn new(apis: Apis, router_port: Option<u16>, strangers: &Strangers) -> Self {
        let router = apis.router.clone();
        let apis = door(strangers, Owners(Arc::new(apis)));
        Self {
            router,
            router_port,
            apis,
        }
    }
}

impl Service<Request> for Owners {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answering {
        if let Some(family) = owner_of(&request, None) {
            return self.give(family, request);
        }
        let owners = self.clone();
        Box::pin(async move {
            let (request, body) = with_body(request).await;
            let family = owner_of(&request, Some(&body)).unwrap_or(Family::ClusterRunner);
            owners.give(family, request).await
        })
    }
}

impl Owners {
    fn give(&self, family: Family, request: Request) -> Answering {
        match family {
            Family::ClusterRunner => self.0.clusterrunner.clone().call(request),
            Family::Polyaxon => self.0.polyaxon.clone().call(request),
            Family::Binder => self.0.binder.clone().call(request),
            Family::Deis => self.0.deis.clone().call(request),
            Family::Git => self.0.git.clone().call(request),
            Family::Page => Box::pin(self.0.page.clone().call(request)),
        }
    }
}

fn owner_of(request: &Request, body: Option<&[u8]>) -> Option<Family> {
    owner(
        request.method(),
        request.uri().path(),
        request.headers(),
        body,
    )
}

/// Reads the body of a request that brings no proof. One that is long or slow is not read, and not needed: whatever API
/// gets the request refuses it.
async fn with_body(request: Request) -> (Request, Bytes) {
    let (parts, body) = request.into_parts();
    let read = axum::body::to_bytes(body, MOST_UNPROVED);
    let read = tokio::time::timeout(PATIENCE, read).await;
    let body = read.ok().and_then(Result::ok).unwrap_or_default();
    (Request::from_parts(parts, Body::from(body.clone())), body)
}
