//! Single runs of apps: how they end, and all that they print.

use crate::coordinator::{ClusterHandle, Gone};
use crate::read::awaiting;
use crate::read::feed::Feed;
use crate::store::instance_logs::InstanceLogs;
use clusterrunner_common::ids::InstanceId;
use clusterrunner_core::Cluster;
use clusterrunner_core::event::Fact;
use clusterrunner_core::instances::instance::InstanceState;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};
use std::io;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How much of the output is read at a time.
const PART: usize = 1 << 20;

/// How long nothing of the output may come, after the end of a run, until it is taken that the rest never will: the slave
/// may be gone.
const QUIET: Duration = Duration::from_secs(15);

/// What a run needs to be followed.
#[derive(Clone, Debug)]
pub(crate) struct Runs {
    cluster: ClusterHandle,
    feed: Feed,
    logs: InstanceLogs,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// Its command came to its end, with this exit code: 128 + n by signal n.
    Exited(i32),
    /// It was stopped before.
    Stopped,
    /// It could not be run, or its slave was lost: why, for the user.
    Failed(String),
}

/// A run that is over. Its output is kept whole as long as this is.
#[derive(Debug)]
pub(crate) struct EndedRun {
    /// How it ended.
    pub end: RunEnd,
    output: RunOutput,
}

/// What comes of a run, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RunPart {
    /// The next of what it prints.
    Output(String),
    /// How it ended, last of all.
    End(RunEnd),
}

/// A run that is followed.
struct Following {
    instance: InstanceId,
    logs: InstanceLogs,
    /// How far its output was read.
    offset: u64,
    /// Tells that there is more.
    length: watch::Receiver<u64>,
    /// Its end, with all of the output there.
    end: BoxFuture<'static, Result<Option<EndedRun>, Gone>>,
    ended: Option<EndedRun>,
    is_told: bool,
}

#[derive(Debug)]
struct RunOutput {
    instance: InstanceId,
    logs: InstanceLogs,
}

impl Runs {
    /// Runs of this farm.
    #[must_use]
    pub(crate) fn new(cluster: ClusterHandle, feed: Feed, logs: InstanceLogs) -> Self {
        Self {
            cluster,
            feed,
            logs,
        }
    }

    /// Waits for the end of the run with this public id, and for all of its output; none if no such run is known.
    ///
    /// # Errors
    /// The master ends.
    pub(crate) async fn ended(&self, key: &str) -> Result<Option<EndedRun>, Gone> {
        let key = key.to_owned();
        let id = move |cluster: &Cluster| cluster.instance_of_key(&key).map(|instance| instance.id);
        let Some(instance) = self.cluster.read(id).await? else {
            return Ok(None);
        };
        // Guards the disk from here on.
        let output = RunOutput {
            instance,
            logs: self.logs.clone(),
        };
        let concerns = move |fact: &Fact| matches!(fact, Fact::Instance(id, _) if *id == instance);
        let look = move |cluster: &Cluster| match cluster.instance(instance) {
            Some(known) => known.is_over().then(|| Some(end_of(known))),
            None => Some(None),
        };
        let ended = awaiting::seen(&self.cluster, &self.feed, concerns, look).await?;
        let Some(end) = ended else {
            return Ok(None);
        };
        if matches!(end, RunEnd::Exited(_)) {
            output.has_come().await;
        }
        Ok(Some(EndedRun { end, output }))
    }

    /// Follows a run: what it prints as it comes, and how it ends. `key` is its public id. Where the master ends, the last
    /// is an error.
    pub(crate) fn followed(
        &self,
        instance: InstanceId,
        key: String,
    ) -> impl Stream<Item = io::Result<RunPart>> + Send + use<> {
        let runs = self.clone();
        let following = Following {
            instance,
            logs: self.logs.clone(),
            offset: 0,
            length: self.logs.length(instance),
            end: Box::pin(async move { runs.ended(&key).await }),
            ended: None,
            is_told: false,
        };
        stream::try_unfold(following, Following::next)
    }
}

impl Following {
    async fn next(mut self) -> io::Result<Option<(RunPart, Self)>> {
        if self.is_told {
            return Ok(None);
        }
        loop {
            // Before the log is read, so that nothing is missed.
            self.length.mark_unchanged();
            let (logs, instance, offset) = (self.logs.clone(), self.instance, self.offset);
            let read = spawn_blocking(move || logs.read(instance, offset, PART)).await;
            let part = read.unwrap_or_else(|error| Err(io::Error::other(error)))?;
            self.offset = part.next;
            if !part.text.is_empty() {
                return Ok(Some((RunPart::Output(part.text), self)));
            }
            if let Some(ended) = &self.ended {
                self.is_told = true;
                return Ok(Some((RunPart::End(ended.end.clone()), self)));
            }
            tokio::select! {
                ended = &mut self.end => match ended.map_err(io::Error::other)? {
                    Some(ended) => self.ended = Some(ended),
                    None => {
                        self.is_told = true;
                        return Ok(Some((RunPart::End(RunEnd::Stopped), self)));
                    }
                },
                // It lives as long as the log is known.
                _ = self.length.changed() => {}
            }
        }
    }
}

fn end_of(run: &clusterrunner_core::instances::instance::Instance) -> RunEnd {
    match (run.exit, run.state) {
        (Some(code), _) => RunEnd::Exited(code),
        (None, InstanceState::Destroyed | InstanceState::Down) => RunEnd::Stopped,
        (None, _) => RunEnd::Failed(run.reason.clone().unwrap_or_default()),
    }
}

impl RunOutput {
    /// Waits for the last byte, as long as something comes.
    async fn has_come(&self) {
        let whole = self.logs.is_whole(self.instance);
        tokio::pin!(whole);
        let mut length = self.logs.length(self.instance);
        loop {
            length.mark_unchanged();
            tokio::select! {
                done = &mut whole => {
                    if let Err(error) = done {
                        tracing::warn!(instance.id = self.instance.0, %error, "could not read what a run printed");
                    }
                    return;
                }
                changed = timeout(QUIET, length.changed()) => if changed.is_err() {
                    tracing::warn!(instance.id = self.instance.0, "the last of what a run printed did not come");
                    return;
                },
            }
        }
    }
}

impl Drop for RunOutput {
    fn drop(&mut self) {
        let (logs, instance) = (self.logs.clone(), self.instance);
        let shrink = move || {
            if let Err(error) = logs.shrink(instance) {
                tracing::warn!(instance.id = instance.0, %error, "could not shorten the log of a run");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(shrink)),
            Err(_) => shrink(),
        }
    }
}

impl EndedRun {
    /// All that it printed, in parts of about a megabyte.
    pub(crate) fn into_output(self) -> impl Stream<Item = io::Result<String>> + Send {
        let begin = (self.output, 0);
        stream::try_unfold(begin, |(output, offset)| async move {
            let (logs, instance) = (output.logs.clone(), output.instance);
            let read = spawn_blocking(move || logs.read(instance, offset, PART)).await;
            let part = read.unwrap_or_else(|error| Err(io::Error::other(error)))?;
            let is_over = part.text.is_empty() && part.next <= offset;
            Ok((!is_over).then_some((part.text, (output, part.next))))
        })
    }
}
