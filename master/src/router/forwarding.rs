//! A request on its way to a program, and the answer on its way back.

use super::apps::Absence;
use super::head::{self, Asked, Side};
use super::program::{Program, Unanswered};
use super::route::Target;
use super::routes::Found;
use super::uses::{Taken, Use};
use super::{Claim, Router, pages, splice};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, request};
use axum::response::Response;
use clusterrunner_common::http::peer::Peer;
use clusterrunner_common::ids::ProjectId;
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// A request that is ready to be sent to a program.
struct Outgoing {
    request: Request,
    on_upgrade: Option<OnUpgrade>,
    place: OwnedSemaphorePermit,
    /// The prefix that the program does not see.
    cut: Option<String>,
}

impl Router {
    /// Has the program answer that a request is for, or says why none does.
    pub(super) async fn answer(self, claim: Claim, request: Request) -> Response {
        match claim {
            Claim::Host(Found::App(project)) => self.answer_of_app(project, request).await,
            Claim::Host(Found::NoApp) => {
                let text = "No app has this name.";
                pages::nothing(StatusCode::NOT_FOUND, "No such app", text)
            }
            Claim::Path => self.answer_of_instance(request).await,
            Claim::Nothing => {
                let text = "Only apps and instances are here, instances each at /user/ and its id.";
                pages::nothing(StatusCode::NOT_FOUND, "Nothing is here", text)
            }
        }
    }

    async fn answer_of_instance(&self, request: Request) -> Response {
        let asked = Asked::of(request.uri().path());
        let found = asked.and_then(|asked| Some((asked, self.0.routes.find(asked.key)?)));
        let Some((asked, (route, using))) = found else {
            let text = "No instance has this id. It may have ended long ago.";
            return pages::nothing(StatusCode::NOT_FOUND, "No such instance", text);
        };
        let (program, keeps_prefix) = match &route.target {
            Target::Up {
                program,
                keeps_prefix,
            } => (program, *keeps_prefix),
            Target::Starting { text } => return pages::wait("The instance is starting", text),
            Target::Failed { text } => {
                let title = "The instance has failed";
                return pages::nothing(StatusCode::BAD_GATEWAY, title, text);
            }
            Target::Over => {
                let text = "It was stopped, or nobody had used it for a while. Launch another one.";
                return pages::nothing(StatusCode::NOT_FOUND, "The instance has ended", text);
            }
        };
        let cut = (!keeps_prefix).then(|| asked.prefix.to_owned());
        let outgoing = match self.outgoing(request, program, cut) {
            Ok(outgoing) => outgoing,
            Err(refused) => return *refused,
        };
        let answer = self.forward(outgoing, program, using).await;
        answer.unwrap_or_else(|_| unreached())
    }

    /// Asks the instances of an app in turn until one of them takes the request.
    async fn answer_of_app(&self, project: ProjectId, request: Request) -> Response {
        let mut tried = Vec::new();
        let mut waiting = Err(request);
        loop {
            let (route, using) = match self.0.routes.next(project, &tried) {
                Ok(next) => next,
                Err(_) if !tried.is_empty() => return unreached(),
                Err(absence) => return absent(absence),
            };
            tried.push(route.instance);
            // Those that get requests are up.
            let Target::Up { program, .. } = &route.target else {
                continue;
            };
            let outgoing = match waiting {
                Ok(outgoing) => outgoing,
                Err(request) => match self.outgoing(request, program, None) {
                    Ok(outgoing) => outgoing,
                    Err(refused) => return *refused,
                },
            };
            match self.forward(outgoing, program, using).await {
                Ok(answer) => return answer,
                Err(unsent) => waiting = Ok(*unsent),
            }
        }
    }

    /// A request as a program gets it, with a place among those that are with programs.
    fn outgoing(
        &self,
        request: Request,
        program: &Program,
        cut: Option<String>,
    ) -> Result<Outgoing, Box<Response>> {
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else {
            let text = "The master passes on as many requests as it can. This page tries again.";
            return Err(Box::new(pages::wait("Too many requests", text)));
        };
        let (mut parts, body) = request.into_parts();
        let on_upgrade = parts.extensions.remove::<OnUpgrade>();
        let Some(parts) = self.outgoing_head(parts, &program.address, cut.as_deref()) else {
            let text = "The path can not be passed on to the instance.";
            let page = pages::nothing(StatusCode::BAD_REQUEST, "Bad request", text);
            return Err(Box::new(page));
        };
        Ok(Outgoing {
            request: Request::from_parts(parts, body),
            on_upgrade,
            place,
            cut,
        })
    }

    fn outgoing_head(
        &self,
        parts: request::Parts,
        address: &str,
        cut: Option<&str>,
    ) -> Option<request::Parts> {
        let peer = parts.extensions.get::<Peer>().copied();
        let side = Side {
            peer: peer.and_then(|peer| peer.0),
            is_tls: self.0.is_tls,
        };
        let mut parts = head::outgoing(parts, address, cut, side)?;
        // What the server has noted about a request is nothing for its way on.
        parts.extensions.clear();
        Some(parts)
    }

    /// Has a program answer. The error is the request, where the program takes no connection.
    async fn forward(
        &self,
        outgoing: Outgoing,
        program: &Arc<Program>,
        using: Use,
    ) -> Result<Response, Box<Outgoing>> {
        let Outgoing {
            request,
            on_upgrade,
            place,
            cut,
        } = outgoing;
        let address = &program.address;
        let mut answered = match program.ask(request).await {
            Ok(answered) => answered,
            Err(Unanswered::Unreached { error, request }) => {
                tracing::debug!(%error, address, "an instance takes no connection");
                return Err(Box::new(Outgoing {
                    request: *request,
                    on_upgrade,
                    place,
                    cut,
                }));
            }
            Err(Unanswered::BrokenOff(error)) => {
                tracing::debug!(%error, address, "an instance broke a request off");
                let text = "It broke the request off before it had answered.";
                return Ok(failed(text));
            }
        };
        let is_upgrade = answered.is_upgrade();
        head::incoming(answered.answer.headers_mut(), is_upgrade, cut.as_deref());
        let taken = Taken::new(place, using);
        if !is_upgrade {
            return Ok(answered.passed_on(program, taken));
        }
        let Some(on_upgrade) = on_upgrade else {
            return Ok(failed(
                "It changed the protocol although nobody had asked for that.",
            ));
        };
        let (program, stop) = (answered.upgrade(), self.0.stop.clone());
        tokio::spawn(splice::join(on_upgrade, program, taken, stop));
        Ok(answered.answer.map(|_| Body::empty()))
    }
}

fn failed(text: &str) -> Response {
    pages::nothing(StatusCode::BAD_GATEWAY, "The instance failed", text)
}

fn unreached() -> Response {
    let text = "It takes no connections now. This page tries again.";
    pages::wait("The instance does not answer", text)
}

fn absent(absence: Absence) -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    match absence {
        Absence::Starting => {
            let text = "None of its processes answers yet. This page tries again.";
            pages::wait("The app is starting", text)
        }
        Absence::Failed => {
            let text = "None of its processes can be started. The log of the app says why.";
            pages::nothing(status, "The app has failed", text)
        }
        Absence::Nothing => {
            let text = "It has no process that takes requests: no build, or it is scaled to none.";
            pages::nothing(status, "The app does not run", text)
        }
    }
}
