//! git's smart HTTP: fetches and pushes of the code of apps at `/<app>.git`, by a user's token. What git says is passed
//! on as it is.

mod body;
mod callers;
mod error;

use crate::coordinator::ClusterHandle;
use crate::push::{Part, Protocol, Pushes, Service as GitService, app_in};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::auth::strangers::proof_holds;
use clusterrunner_common::http::around::Answering;
use error::GitHttpError;
use std::convert::Infallible;
use std::task::{Context, Poll};
use tower::Service;

/// Which version of git's protocol a client would like.
const GIT_PROTOCOL: HeaderName = HeaderName::from_static("git-protocol");

/// The service that answers git. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct GitHttp {
    cluster: ClusterHandle,
    pushes: Pushes,
}

/// What a request wants.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
    /// What is there, for this service.
    Offer(&'a str, GitService),
    /// The answer of a service.
    Answer(&'a str, GitService),
    /// A file, as clients ask that know no service.
    File,
}

impl GitHttp {
    /// Serves the code of apps.
    #[must_use]
    pub(crate) fn new(cluster: ClusterHandle, pushes: Pushes) -> Self {
        Self { cluster, pushes }
    }

    async fn answer(&self, request: Request) -> Result<Response, GitHttpError> {
        let (parts, body) = request.into_parts();
        let wanted = wanted(&parts.method, parts.uri.path(), parts.uri.query())?;
        let caller = callers::caller(&self.cluster, &parts.headers).await?;
        proof_holds(&parts.extensions);
        let (app, service, part) = match wanted {
            Wanted::Offer(app, service) => (app, service, Part::Offer),
            Wanted::Answer(app, service) => (app, service, Part::Answer),
            Wanted::File => return Err(GitHttpError::OldClient),
        };
        if part == Part::Answer {
            let expected = format!("application/x-{}-request", service.name());
            let given = parts.headers.get(header::CONTENT_TYPE);
            if given.is_none_or(|given| given.as_bytes() != expected.as_bytes()) {
                return Err(GitHttpError::ContentType(expected));
            }
        }
        let opened = self.pushes.repository(caller, app, service).await?;
        let protocol = protocol(&parts.headers);
        let talk = self.pushes.start(opened, part, protocol.as_ref())?;
        let (kind, stream) = match part {
            Part::Offer => ("advertisement", body::offer(talk, service, protocol)),
            Part::Whole | Part::Answer => {
                let body = body::unpacked(&parts.headers, body).await?;
                ("result", body::answer(talk, body))
            }
        };
        let kind = format!("application/x-{}-{kind}", service.name());
        let headers = [
            (header::CONTENT_TYPE, kind),
            (
                header::CACHE_CONTROL,
                "no-cache, max-age=0, must-revalidate".to_owned(),
            ),
        ];
        Ok((headers, Body::from_stream(stream)).into_response())
    }
}

impl Service<Request> for GitHttp {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Answering {
        let this = self.clone();
        Box::pin(async move {
            let answer = this.answer(request).await;
            Ok(answer.unwrap_or_else(|error| error.into_response()))
        })
    }
}

fn protocol(headers: &HeaderMap) -> Option<Protocol> {
    Protocol::of(headers.get(&GIT_PROTOCOL)?.to_str().ok()?)
}

fn wanted<'a>(
    method: &Method,
    path: &'a str,
    query: Option<&str>,
) -> Result<Wanted<'a>, GitHttpError> {
    let path = path.trim_start_matches('/');
    let (repository, below) = path.split_once('/').unwrap_or((path, ""));
    let app = app_in(repository).ok_or(GitHttpError::NoRoute)?;
    let named = |name: &str| GitService::named(name);
    match (method, below) {
        (&Method::GET, "info/refs") => {
            let mut pairs = query.unwrap_or_default().split('&');
            let service = pairs.find_map(|pair| pair.strip_prefix("service="));
            match service {
                Some(service) => {
                    let service = named(service).ok_or(GitHttpError::UnknownService)?;
                    Ok(Wanted::Offer(app, service))
                }
                None => Ok(Wanted::File),
            }
        }
        (&Method::GET, "HEAD") => Ok(Wanted::File),
        (&Method::GET, below) if below.starts_with("objects/") => Ok(Wanted::File),
        (&Method::POST, below) => {
            let service = named(below).ok_or(GitHttpError::NoRoute)?;
            Ok(Wanted::Answer(app, service))
        }
        (_, "info/refs") => Err(GitHttpError::Method("GET")),
        (_, below) if named(below).is_some() => Err(GitHttpError::Method("POST")),
        _ => Err(GitHttpError::NoRoute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, uri: &str, expected: &str) {
        let uri: axum::http::Uri = uri.parse().unwrap();
        let found = match wanted(&method, uri.path(), uri.query()) {
            Ok(wanted) => format!("{wanted:?}"),
            Err(error) => error.into_response().status().as_str().to_owned(),
        };
        assert_eq!(found, expected, "{method} {uri}");
    }

    #[test]
    fn a_path_says_what_is_wanted() {
        let get = |uri, expected| check(Method::GET, uri, expected);
        get(
            "/hill.git/info/refs?service=git-upload-pack",
            "Offer(\"hill\", Upload)",
        );
        get(
            "/hill.git/info/refs?a=b&service=git-receive-pack",
            "Offer(\"hill\", Receive)",
        );
        get("/hill.git/info/refs", "File");
        get("/hill.git/HEAD", "File");
        get("/hill.git/info/refs?service=git-shell", "403");
        get("/hill.git/config", "404");
        get("/hill.git", "404");
        get("/../hill.git/info/refs", "404");
        get("/hill.git/git-upload-pack", "405");
        let post = |uri, expected| check(Method::POST, uri, expected);
        post("/hill.git/git-upload-pack", "Answer(\"hill\", Upload)");
        post("/hill.git/git-receive-pack", "Answer(\"hill\", Receive)");
        post("/hill.git/git-upload-archive", "404");
        post("/hi.ll.git/git-upload-pack", "404");
        check(Method::PUT, "/hill.git/info/refs", "405");
    }
}
