//! The web sockets of a build: its log and its statuses while they come, and the resources that it takes.

use super::Api;
use super::error::PolyaxonError;
use super::granted::{Asking, Granted, GrantedBuild, Reading};
use super::shapes::statuses::word;
use super::uuids;
use crate::consoles::{ConsoleFailure, Follower, Step, happens};
use crate::read::builds::ReadError;
use crate::read::feed::Reader;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::http::web_socket::{Over, WebSocket, upgrade};
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::status::Status;
use serde_json::{Value, json};
use std::sync::Arc;

/// What a socket is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Log,
    Resources,
}

/// The log of a build, from its first line until the build is over.
pub(super) async fn logs(State(api): State<Arc<Api>>, request: Request) -> Response {
    opened(api, request, Wanted::Log).await
}

/// What the build takes of its slave. Slaves do not report that, which the socket says.
pub(super) async fn resources(State(api): State<Arc<Api>>, request: Request) -> Response {
    opened(api, request, Wanted::Resources).await
}

/// Takes the connection over. What is wrong with project or build is said through the socket: the clients show that.
async fn opened(api: Arc<Api>, request: Request, wanted: Wanted) -> Response {
    match open(api, request, wanted).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn open(api: Arc<Api>, request: Request, wanted: Wanted) -> Result<Response, PolyaxonError> {
    let (mut parts, body) = request.into_parts();
    let Asking(caller) = Asking::from_request_parts(&mut parts, &api).await?;
    let of_project = Granted::<Reading>::from_request_parts(&mut parts, &api).await;
    let build = match of_project {
        Ok(_) => GrantedBuild::<Reading>::from_request_parts(&mut parts, &api)
            .await
            .map(|granted| granted.build)
            .map_err(|error| problem(error, "Build was not found")),
        Err(error) => Err(problem(error, "Project was not found")),
    };
    let subject = match build {
        Ok(build) => Ok(build),
        Err(Ok(sentence)) => Err(sentence),
        Err(Err(error)) => return Err(error),
    };
    let sockets = &api.streams.sockets;
    let place = sockets.place(caller.id).ok_or(PolyaxonError::ManySockets)?;
    let mut request = Request::from_parts(parts, body);
    let (response, opening) = upgrade(&mut request)?;
    let stop = sockets.stop.clone();
    tokio::spawn(async move {
        let _place = place;
        let Ok(mut socket) = opening.opened(stop).await else {
            return;
        };
        let talked = match (subject, wanted) {
            (Err(sentence), _) => socket.send(problem_frame(sentence)).await,
            (Ok(_), Wanted::Resources) => {
                let frame = problem_frame("resources are not collected");
                socket.send(frame).await
            }
            (Ok(build), Wanted::Log) => Talk::new(&api, build).until_end(&mut socket).await,
        };
        match talked {
            Ok(()) => socket.close().await,
            Err(over) => socket.give_up(over).await,
        }
    });
    Ok(response)
}

/// What the peer is told of a refusal through the socket, if it is one of those.
fn problem(error: PolyaxonError, not_found: &'static str) -> Result<&'static str, PolyaxonError> {
    match error {
        PolyaxonError::NotFound => Ok(not_found),
        PolyaxonError::Forbidden => Ok("You don't have access to this project"),
        other => Err(other),
    }
}

fn problem_frame(sentence: &str) -> String {
    json!({"status": "error", "log_lines": [sentence]}).to_string()
}

fn status_frame(status: Status) -> String {
    json!({"status": word(status), "log_lines": Value::Null}).to_string()
}

/// What is said through one socket.
struct Talk<'a> {
    api: &'a Api,
    build: BuildId,
    follower: Follower,
    feed: Reader,
    told: Told,
}

/// Which statuses the peer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    None,
    /// So many of the list.
    UpTo(usize),
    /// All that it is told before the log has ended.
    Enough,
}

/// Why a talk ends before the log does.
enum Ended {
    Over(Over),
    Unreadable(ConsoleFailure),
}

impl From<Over> for Ended {
    fn from(over: Over) -> Self {
        Self::Over(over)
    }
}

impl From<ConsoleFailure> for Ended {
    fn from(failure: ConsoleFailure) -> Self {
        Self::Unreadable(failure)
    }
}

impl From<ReadError> for Ended {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error.into())
    }
}

impl<'a> Talk<'a> {
    /// A talk about what was before and what happens from now on.
    fn new(api: &'a Api, build: BuildId) -> Self {
        let feed = &api.streams.feed;
        Self {
            api,
            build,
            feed: feed.reader_after(feed.latest()),
            follower: Follower::new(api.streams.consoles.clone(), build),
            told: Told::None,
        }
    }

    /// Tells all there is to tell. A build that is deleted meanwhile is told like one that was never there.
    async fn until_end(mut self, socket: &mut WebSocket) -> Result<(), Over> {
        match self.tell(socket).await {
            Ok(()) => Ok(()),
            Err(Ended::Over(over)) => Err(over),
            Err(Ended::Unreadable(error)) => {
                tracing::debug!(%error, "a log is followed no more");
                socket.send(problem_frame("Build was not found")).await
            }
        }
    }

    async fn tell(&mut self, socket: &mut WebSocket) -> Result<(), Ended> {
        let uuid = self.uuid().await?;
        loop {
            self.tell_news(socket).await?;
            loop {
                match socket.during(self.follower.next()).await?? {
                    Step::Lines(lines) => {
                        // The build may have begun to run since.
                        self.tell_news(socket).await?;
                        let frame = json!({"job_uuid": uuid, "log_lines": lines});
                        socket.send(frame.to_string()).await?;
                    }
                    Step::Later(pause) => {
                        let happens = happens(&mut self.feed, self.build, pause);
                        if socket.during(happens).await? {
                            self.follower.look_again();
                            break;
                        }
                    }
                    Step::End => {
                        if let Some(last) = self.statuses().await?.last() {
                            socket.send(status_frame(*last)).await?;
                        }
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Tells the statuses that came since it was last asked.
    async fn tell_news(&mut self, socket: &mut WebSocket) -> Result<(), Ended> {
        if self.told == Told::Enough {
            return Ok(());
        }
        let statuses = self.statuses().await?;
        for status in self.told.news(&statuses) {
            socket.send(status_frame(status)).await?;
        }
        Ok(())
    }

    async fn uuid(&self) -> Result<String, ReadError> {
        let accepted = |build: &Build| {
            let first = build.statuses().first().map(|first| first.at);
            first.unwrap_or(Timestamp(0))
        };
        let seen = self.api.builds.seen(
            self.build,
            move |_, build| accepted(build),
            |archived| accepted(&archived.build),
        );
        Ok(uuids::of_build(self.build, seen.await?))
    }

    async fn statuses(&self) -> Result<Vec<Status>, ReadError> {
        let all = |build: &Build| Vec::from_iter(build.statuses().iter().map(|one| one.status));
        let seen = self.api.builds.seen(
            self.build,
            move |_, build| all(build),
            |archived| all(&archived.build),
        );
        seen.await
    }
}

impl Told {
    /// What of the list is to be told now: the present status, and each change until the build runs. How it has ended
    /// is told behind its log.
    fn news(&mut self, all: &[Status]) -> Vec<Status> {
        let first = match self {
            Self::None => all.len().saturating_sub(1),
            Self::UpTo(known) => *known,
            Self::Enough => return Vec::new(),
        };
        *self = Self::UpTo(all.len());
        let mut news = Vec::new();
        for status in all.iter().skip(first) {
            if !status.is_final() {
                news.push(*status);
            }
            if status.is_final() || *status == Status::Running {
                *self = Self::Enough;
                break;
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Building, Created, Failed, Running, Scheduled, Stopped, Unknown};

    #[test]
    fn statuses_are_told_from_the_present_one_until_the_build_runs() {
        let mut told = Told::None;
        let mut all = vec![Created, Scheduled];
        assert_eq!(told.news(&all), [Scheduled]);
        assert_eq!(told.news(&all), []);
        all.extend([Building, Running, Unknown]);
        assert_eq!(told.news(&all), [Building, Running]);
        all.push(Failed);
        assert_eq!(told.news(&all), []);
    }

    #[test]
    fn an_end_is_told_behind_the_log() {
        let mut told = Told::None;
        assert_eq!(told.news(&[Created, Stopped]), []);
        assert_eq!(told.news(&[Created, Stopped]), []);
        let mut told = Told::None;
        assert_eq!(told.news(&[Created]), [Created]);
        assert_eq!(told.news(&[Created, Scheduled, Stopped]), [Scheduled]);
        let mut told = Told::None;
        assert_eq!(told.news(&[Created, Running, Unknown]), [Unknown]);
        assert_eq!(told.news(&[Created, Running, Unknown, Running]), [Running]);
    }
}
