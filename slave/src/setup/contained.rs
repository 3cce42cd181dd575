//! Commands of a build that run once on a slave, `setup_build` and `teardown_build`, in a container of the job's image.

use super::cached::say;
use super::enclosing::End;
use crate::containers::{BuildContainer, BuildContainers, ContainerError, ContainerPlace};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::process::command::{Ended, ShellCommand};
use clusterrunner_common::process::console::ConsoleCap;
use clusterrunner_common::work::Isolation;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{JoinError, spawn_blocking};
use tokio_util::sync::CancellationToken;

/// How often a command that runs is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A command, and the container that is started for it.
#[derive(Debug)]
pub(super) struct Contained {
    pub(super) containers: Arc<BuildContainers>,
    pub(super) build: BuildId,
    pub(super) command: ShellCommand,
    pub(super) image: Arc<str>,
    /// Where `$ARTIFACT_DIR` is.
    pub(super) artifacts: PathBuf,
    /// The mark of the container's first process.
    pub(super) mark: String,
    /// What it may use.
    pub(super) isolation: Isolation,
    /// Time between asking a process to end and killing it.
    pub(super) grace: Duration,
    /// Whether what it changes in its container is kept as an image.
    pub(super) keeps_changes: bool,
}

/// What has run in a container.
#[derive(Debug)]
pub(super) struct ContainedEnd {
    pub(super) end: End,
    /// The image that its changes are.
    pub(super) changed: Option<String>,
}

impl Contained {
    /// Runs it to its end, as [`ShellCommand::run`] does, and says behind its output which limit it failed at.
    ///
    /// # Errors
    /// When there is no container, or the command can not be run in it.
    pub(super) async fn run(
        self,
        output: File,
        stop: &CancellationToken,
        limit: Option<Duration>,
    ) -> Result<ContainedEnd, ContainerError> {
        let runtime = self.containers.runtime().await?;
        let stop = stop.clone();
        let run = move || {
            let place = ContainerPlace {
                image: &self.image,
                directory: &self.command.working_directory,
                artifacts: &self.artifacts,
                secrets: self.command.variables.secret_files.as_deref(),
                mark: &self.mark,
                isolation: &self.isolation,
            };
            let container = BuildContainer::start(runtime, &place, &|| stop.is_cancelled())?;
            let said = output.try_clone();
            let ended = self.run_in(&container, output, &stop, limit)?;
            let hit = container.hit().filter(|_| ended != Ended::Exited(0));
            if let (Some(hit), Ok(said)) = (hit, &said) {
                say(said, format!("clusterrunner: {hit}"));
            }
            let changed = match ended {
                Ended::Exited(0) if self.keeps_changes => self
                    .containers
                    .keep_changes(self.build, &container, &place)?,
                _ => None,
            };
            Ok(ContainedEnd {
                end: End { ended, hit },
                changed,
            })
        };
        spawn_blocking(run).await.map_err(broken_off)?
    }

    fn run_in(
        &self,
        container: &BuildContainer,
        output: File,
        stop: &CancellationToken,
        limit: Option<Duration>,
    ) -> Result<Ended, ContainerError> {
        let watched = output.try_clone();
        let watched = watched.map_err(|source| ContainerError::Io {
            step: "watch the output of a command",
            source,
        })?;
        let program = container.command(&self.command)?;
        let started = Instant::now();
        let mut running = self.command.start_program(program, output)?;
        let mut cap = self.command.max_output.map(ConsoleCap::new);
        let ended = loop {
            if let Some(ended) = running.wait(LOOK)? {
                return Ok(ended);
            }
            if stop.is_cancelled() {
                break Ended::Canceled;
            }
            if limit.is_some_and(|limit| started.elapsed() >= limit) {
                break Ended::TimedOut;
            }
            if let Some(cap) = &mut cap {
                cap.look(&watched, || watched.try_clone());
            }
        };
        // What of it is not seen from here ends with its container.
        running.end(&self.command.mark, self.grace)?;
        Ok(ended)
    }
}

/// A part that panicked.
pub(super) fn broken_off(error: JoinError) -> ContainerError {
    ContainerError::Io {
        step: "go on with a container",
        source: io::Error::other(error),
    }
}
