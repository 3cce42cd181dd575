//! A slave that can not be called asks its master for calls: it keeps polls open there, lets its own router answer what they
//! bring, as if it had come to its port, and sends the answers back.
//!
//! Nothing else is different for such a slave. A call that gets lost on the way is one that a connection has lost.

mod answering;

use crate::master::api::MasterApi;
use crate::master::registration::Registration;
use crate::master::retrying::{Backoff, Failures};
use answering::Answering;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::HeaderName;
use clusterrunner_common::api::{CallHead, LONGEST_HEAD, LONGEST_PIECE, PollRequest, end_of_head};
use clusterrunner_common::caller::{CallError, Caller};
use clusterrunner_common::http::around::Inside;
use clusterrunner_common::http::peer::Peer;
use futures_util::{StreamExt as _, stream};
use reqwest::{Method, Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How many polls are open while nothing is to do: one takes a call, and the other is there for the next one meanwhile.
const POLLS: usize = 2;

/// How many calls are answered at a time. While there are so many, the slave does not poll.
const CALLS: usize = 64;

/// The polls of a slave.
pub(crate) struct Polling<R> {
    pub(crate) api: MasterApi,
    /// Its calls may take as long as a poll is open, and longer.
    pub(crate) caller: Caller,
    pub(crate) registration: Registration,
    /// What answers calls to the slave's port, too.
    pub(crate) router: R,
    /// How long a poll is kept open.
    pub(crate) length: Duration,
}

/// Keeps the polls of a slave that has any open until `stop`; answers that are on their way then have `drain` to get there.
pub(crate) async fn until<R: Inside>(
    polling: Option<Polling<R>>,
    stop: &CancellationToken,
    drain: Duration,
) {
    let Some(polling) = polling else {
        return;
    };
    let ended = async {
        stop.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        () = polling.keep(stop) => {}
        () = ended => {}
    }
}

/// A call as a poll has brought it.
struct Call {
    number: u64,
    request: Request,
}

/// Why a poll brought neither a call nor word that there is none.
#[derive(Debug, thiserror::Error)]
enum PollError {
    #[error(transparent)]
    Call(#[from] CallError),
    /// It broke off, or what came is no call.
    #[error("a poll brought no call that can be read")]
    Unreadable,
}

impl<R: Inside> Polling<R> {
    /// Polls until `stop`, and then brings the answers that are on their way.
    async fn keep(self, stop: &CancellationToken) {
        let (polling, calls) = (Arc::new(self), Arc::new(Semaphore::new(CALLS)));
        let mut polls = JoinSet::new();
        for _ in 0..POLLS {
            let (polling, calls) = (Arc::clone(&polling), Arc::clone(&calls));
            let stop = stop.clone();
            polls.spawn(async move { polling.poll_on(&calls, &stop).await });
        }
        while polls.join_next().await.is_some() {}
    }

    /// One poll after the other.
    async fn poll_on(self: Arc<Self>, calls: &Arc<Semaphore>, stop: &CancellationToken) {
        let mut answers = JoinSet::new();
        let polling = async {
            let (mut failures, mut backoff) = (Failures::default(), Backoff::quick());
            loop {
                while answers.try_join_next().is_some() {}
                // It is never closed.
                let Ok(place) = Arc::clone(calls).acquire_owned().await else {
                    return;
                };
                match self.poll().await {
                    Ok(call) => {
                        if failures.are_over() {
                            tracing::info!("polls the master for calls again");
                        }
                        backoff = Backoff::quick();
                        if let Some(call) = call {
                            answers.spawn(Arc::clone(&self).answer(call, place));
                        }
                    }
                    Err(error) => {
                        tell(&mut failures, &error);
                        backoff.pause().await;
                    }
                }
            }
        };
        tokio::select! {
            () = polling => {}
            () = stop.cancelled() => {}
        }
        while answers.join_next().await.is_some() {}
    }

    /// Asks once. None where there is no call in all that time.
    async fn poll(&self) -> Result<Option<Call>, PollError> {
        let id = self.registration.some_id().await;
        let request = PollRequest {
            session_id: self.api.session.clone(),
            wait_ms: self.length.as_millis().try_into().unwrap_or(u64::MAX),
        };
        let url = format!("{}/v1/slave/{id}/calls", self.api.master);
        let session = self.api.lineage.session();
        let asked = self
            .caller
            .send_for_stream(Method::POST, &url, &request, session.as_ref());
        let answer = asked.await.inspect_err(|error| {
            // A master that was started again, or that has given this slave up, is asked at once.
            if error.status().is_some_and(|_| !error.is_passing()) {
                self.registration.doubt();
            }
        })?;
        match answer.status() {
            StatusCode::NO_CONTENT => Ok(None),
            _ => Ok(Some(call(answer).await.ok_or(PollError::Unreadable)?)),
        }
    }

    async fn answer(self: Arc<Self>, call: Call, place: OwnedSemaphorePermit) {
        let answering = Answering {
            api: &self.api,
            caller: &self.caller,
            registration: &self.registration,
            call: call.number,
        };
        let Ok(answer) = self.router.clone().call(call.request).await;
        if let Err(error) = answering.send(answer).await {
            // Whoever called finds that no answer comes, and calls again.
            tracing::info!(%error, "an answer to a call of the master did not get there");
        }
        drop(place);
    }
}

fn tell(failures: &mut Failures, error: &PollError) {
    match error {
        PollError::Call(error) if failures.is_new(error) && !error.is_for_another_life() => {
            tracing::warn!(%error, "can not poll the master for calls; retrying");
        }
        error => tracing::debug!(%error, "a poll failed; retrying"),
    }
}

/// The call in the answer to a poll; its body streams on. None where it is none.
async fn call(answer: Response) -> Option<Call> {
    let mut body = answer.bytes_stream();
    let mut read = Vec::new();
    let end = loop {
        read.extend_from_slice(&body.next().await?.ok()?);
        match end_of_head(&read) {
            Some(end) => break end,
            None if read.len() > LONGEST_HEAD + LONGEST_PIECE => return None,
            None => {}
        }
    };
    let rest = Bytes::from(read.split_off(end));
    let head: CallHead = serde_json::from_slice(&read).ok()?;
    let rest = stream::once(async move { Ok::<_, reqwest::Error>(rest) });
    let mut request = Request::builder()
        .method(head.method.as_str())
        .uri(head.path)
        .body(Body::from_stream(rest.chain(body)))
        .ok()?;
    for (name, value) in head.headers {
        let name = HeaderName::try_from(name).ok()?;
        request.headers_mut().append(name, value.try_into().ok()?);
    }
    // Whoever brought it, it is from nobody's address.
    request.extensions_mut().insert(Peer(None));
    Some(Call {
        number: head.call,
        request,
    })
}
