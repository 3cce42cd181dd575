//! Single commands: each runs in a container of its own, and is answered when it is over, or as it goes on.

use super::Api;
use super::body::Fields;
use super::error::DeisError;
use super::gate::VERSION_HEADER;
use super::granted::{Granted, Using};
use crate::coordinator::{ClusterHandle, Gone, asked_from, asking_address};
use crate::read::awaiting;
use crate::read::runs::{EndedRun, RunEnd, RunPart};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::api::apps::RunLine;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::ids::InstanceId;
use clusterrunner_core::Cluster;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::apps::command::{AppCommand, AppRefusal};
use clusterrunner_core::command::Command;
use clusterrunner_core::event::Fact;
use clusterrunner_core::instances::instance::InstanceState;
use futures_util::stream::{self, Stream, StreamExt as _};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// The most characters that are looked at; the core knows how many a command may have.
const LONGEST: usize = 1 << 20;

/// What is told of a command that was stopped.
const STOPPED: &str = "The command was stopped before its end.";

/// The form of an answer that comes when the command is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A list of exit code and output, as plain text: what the command line unpacks.
    List,
    /// An object of both.
    Object,
}

impl Form {
    /// The command line says its version.
    fn of(headers: &HeaderMap) -> Self {
        match headers.contains_key(VERSION_HEADER) {
            true => Self::List,
            false => Self::Object,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::List => "text/plain",
            Self::Object => "application/json",
        }
    }

    /// What stands before the text of the output, and behind it.
    fn around(self, code: i32) -> (String, &'static str) {
        match self {
            Self::List => (format!("[{code}, \""), "\"]"),
            Self::Object => (format!("{{\"rc\": {code}, \"output\": \""), "\"}"),
        }
    }
}

/// Runs a command and answers its exit code and its output; with `stream`, lines about it as they come. It is stopped where
/// the caller hangs up before its end: nobody would learn what came of it.
pub(super) async fn run(
    State(api): State<Arc<Api>>,
    granted: Granted<Using>,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, DeisError> {
    let form = Form::of(&headers);
    let is_streamed = fields.truth("stream")?;
    let command = fields.required("command", LONGEST)?;
    let key = hex::encode(random_bytes::<16>());
    // A caller that hangs up now ends this request, but not the task: what is begun has somebody who stops it.
    let begun = begin(Arc::clone(&api), granted, key.clone(), command);
    let begun = asked_from(asking_address(), begun);
    let unheard = tokio::spawn(begun).await.map_err(|_| Gone)??;
    let instance = unheard.instance;
    has_a_slave(&api, instance).await?;
    if is_streamed {
        return Ok(lines(api.runs.followed(instance, key), unheard));
    }
    let ended = api.runs.ended(&key).await?;
    unheard.disarm();
    match ended {
        Some(EndedRun {
            end: RunEnd::Exited(code),
            ..
        }) => Ok(answer(form, code, ended)),
        Some(EndedRun {
            end: RunEnd::Failed(why),
            ..
        }) => Err(DeisError::Unavailable(why)),
        Some(EndedRun {
            end: RunEnd::Stopped,
            ..
        })
        | None => Err(DeisError::Unavailable(STOPPED.to_owned())),
    }
}

/// Begins a run.
async fn begin(
    api: Arc<Api>,
    granted: Granted<Using>,
    key: String,
    command: String,
) -> Result<StopUnheard, DeisError> {
    let order = AppCommand::Run {
        project: granted.project,
        key,
        command,
    };
    let facts = granted.order(&api, order).await;
    let facts = facts.map_err(|error| match error {
        DeisError::App(AppRefusal::NoBuild) => DeisError::Operation(
            "No build associated with this release to run this command".to_owned(),
        ),
        error => error,
    })?;
    let instance = facts.iter().find_map(|fact| match fact {
        Fact::Instance(instance, _) => Some(*instance),
        _ => None,
    });
    Ok(StopUnheard {
        cluster: api.cluster.clone(),
        instance: instance.ok_or(DeisError::NotFound)?,
        by: granted.asking.actor(),
        from: asking_address(),
        is_over: false,
    })
}

/// The answer as it comes: each line is JSON.
fn lines(
    parts: impl Stream<Item = io::Result<RunPart>> + Send + 'static,
    unheard: StopUnheard,
) -> Response {
    let mut unheard = Some(unheard);
    let lines = parts.map(move |part| {
        let line = match part? {
            RunPart::Output(text) => RunLine::Output(text),
            RunPart::End(end) => {
                if let Some(unheard) = unheard.take() {
                    unheard.disarm();
                }
                match end {
                    RunEnd::Exited(code) => RunLine::Rc(code),
                    RunEnd::Failed(why) => RunLine::Error(why),
                    RunEnd::Stopped => RunLine::Error(STOPPED.to_owned()),
                }
            }
        };
        let mut line = serde_json::to_vec(&line)?;
        line.push(b'\n');
        Ok::<_, io::Error>(Bytes::from(line))
    });
    let head = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (head, Body::from_stream(lines)).into_response()
}

/// Waits until a slave has the run, as long as requests wait.
async fn has_a_slave(api: &Api, instance: InstanceId) -> Result<(), DeisError> {
    let concerns = move |fact: &Fact| matches!(fact, Fact::Instance(id, _) if *id == instance);
    let look = move |cluster: &Cluster| {
        let run = cluster.instance(instance);
        let waits = run.is_some_and(|run| run.state == InstanceState::Initialized);
        (!waits).then_some(())
    };
    let placed = awaiting::seen(&api.cluster, &api.feed, concerns, look);
    if let Ok(placed) = tokio::time::timeout(api.apps.deploy_wait, placed).await {
        return Ok(placed?);
    }
    let look = move |cluster: &Cluster| cluster.waits_for(cluster.instance(instance)?);
    let wait = api.cluster.read(look).await?;
    let wait = wait.map_or(String::new(), |wait| format!(": it {wait}"));
    let sentence = format!("No slave could run the command{wait}.");
    Err(DeisError::Unavailable(sentence))
}

/// Stops a run when it is dropped before the run is over.
struct StopUnheard {
    cluster: ClusterHandle,
    instance: InstanceId,
    by: Actor,
    /// The address of who waits.
    from: Option<IpAddr>,
    is_over: bool,
}

impl StopUnheard {
    fn disarm(mut self) {
        self.is_over = true;
    }
}

impl Drop for StopUnheard {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let stop = Command::StopInstance {
            by: self.by,
            instance: self.instance,
        };
        let cluster = self.cluster.clone();
        let stopping = async move {
            if let Err(error) = cluster.command(stop).await {
                tracing::warn!(%error, "could not stop a command that nobody waits for");
            }
        };
        tokio::spawn(asked_from(self.from, stopping));
    }
}

/// The answer, with an output of any length.
fn answer(form: Form, code: i32, ended: Option<EndedRun>) -> Response {
    let (before, behind) = form.around(code);
    let output = stream::iter(ended).flat_map(|ended| ended.into_output().boxed());
    let output = output.map(|part| part.map(|part| Bytes::from(escaped(&part))));
    let whole = stream::iter([Ok(Bytes::from(before))])
        .chain(output)
        .chain(stream::iter([Ok(Bytes::from(behind))]));
    let head = [(header::CONTENT_TYPE, form.content_type())];
    (head, Body::from_stream(whole)).into_response()
}

/// A text as it stands in a JSON string.
pub(super) fn escaped(text: &str) -> String {
    let mut quoted = serde_json::Value::from(text).to_string();
    quoted.pop();
    quoted.drain(..1);
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_is_of_the_form_that_the_caller_knows() {
        let mut headers = HeaderMap::new();
        assert_eq!(Form::of(&headers), Form::Object);
        assert_eq!(
            Form::Object.around(7),
            ("{\"rc\": 7, \"output\": \"".into(), "\"}")
        );
        headers.insert(VERSION_HEADER, "1.0".parse().unwrap());
        assert_eq!(Form::of(&headers), Form::List);
        assert_eq!(Form::List.around(-1), ("[-1, \"".into(), "\"]"));
    }

    proptest! {
        #[test]
        fn parts_of_a_string_are_a_string(one in ".*", other in ".*") {
            let json = format!("\"{}{}\"", escaped(&one), escaped(&other));
            let read: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read, one + &other);
        }
    }
}
