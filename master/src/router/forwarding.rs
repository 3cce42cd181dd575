//! A request on its way to a program, and the answer on its way back.

use super::head::{self, Asked, Side};
use super::program::{Program, Unanswered};
use super::routes::{Route, Target};
use super::{Router, pages, splice};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, request};
use axum::response::Response;
use clusterrunner_common::http::peer::Peer;
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;

impl Router {
    /// Has the program answer that owns the path, or says why none does.
    pub(super) async fn answer(self, request: Request) -> Response {
        let Some(asked) = Asked::of(request.uri().path()) else {
            let text = "Only instances are here, each at /user/ and its id.";
            return pages::nothing(StatusCode::NOT_FOUND, "Nothing is here", text);
        };
        let Some(route) = self.0.routes.find(asked.key) else {
            let text = "No instance has this id. It may have ended long ago.";
            return pages::nothing(StatusCode::NOT_FOUND, "No such instance", text);
        };
        route.seen.now();
        match &route.target {
            Target::Up {
                program,
                keeps_prefix,
            } => {
                let cut = (!keeps_prefix).then(|| asked.prefix.to_owned());
                self.forward(request, &route, program, cut.as_deref()).await
            }
            Target::Starting { text } => pages::wait("The instance is starting", text),
            Target::Failed { text } => {
                pages::nothing(StatusCode::BAD_GATEWAY, "The instance has failed", text)
            }
            Target::Over => {
                let text = "It was stopped, or nobody had used it for a while. Launch another one.";
                pages::nothing(StatusCode::NOT_FOUND, "The instance has ended", text)
            }
        }
    }

    async fn forward(
        &self,
        request: Request,
        route: &Route,
        program: &Arc<Program>,
        cut: Option<&str>,
    ) -> Response {
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
            let text = "The master passes on as many requests as it can. This page tries again.";
            return pages::wait("Too many requests", text);
        };
        let (mut parts, body) = request.into_parts();
        let on_upgrade = parts.extensions.remove::<OnUpgrade>();
        let Some(parts) = self.outgoing(parts, &program.address, cut.is_none()) else {
            let text = "The path can not be passed on to the instance.";
            return pages::nothing(StatusCode::BAD_REQUEST, "Bad request", text);
        };
        let mut answered = match program.ask(Request::from_parts(parts, body)).await {
            Ok(answered) => answered,
            Err(error) => return unanswered(&error, &program.address),
        };
        let is_upgrade = answered.is_upgrade();
        head::incoming(answered.answer.headers_mut(), is_upgrade, cut);
        if !is_upgrade {
            return answered.passed_on(program, place);
        }
        let Some(on_upgrade) = on_upgrade else {
            let text = "It changed the protocol although nobody had asked for that.";
            return pages::nothing(StatusCode::BAD_GATEWAY, "The instance failed", text);
        };
        let program = answered.upgrade();
        let (seen, stop) = (route.seen.clone(), self.0.stop.clone());
        tokio::spawn(async move {
            splice::join(on_upgrade, program, seen, stop).await;
            drop(place);
        });
        answered.answer.map(|_| Body::empty())
    }

    fn outgoing(
        &self,
        parts: request::Parts,
        address: &str,
        keeps_prefix: bool,
    ) -> Option<request::Parts> {
        let peer = parts.extensions.get::<Peer>().copied();
        let side = Side {
            peer: peer.and_then(|peer| peer.0),
            is_tls: self.0.is_tls,
        };
        let mut parts = head::outgoing(parts, address, keeps_prefix, side)?;
        // What the server has noted about a request is nothing for its way on.
        parts.extensions.clear();
        Some(parts)
    }
}

fn unanswered(error: &Unanswered, address: &str) -> Response {
    match error {
        Unanswered::Unreached(error) => {
            tracing::debug!(%error, address, "an instance takes no connection");
            let text = "It takes no connections now. This page tries again.";
            pages::wait("The instance does not answer", text)
        }
        Unanswered::BrokenOff(error) => {
            tracing::debug!(%error, address, "an instance broke a request off");
            let text = "It broke the request off before it had answered.";
            pages::nothing(StatusCode::BAD_GATEWAY, "The instance failed", text)
        }
    }
}
