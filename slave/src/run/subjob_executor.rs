//! Runs the atoms of subjobs one after the other, on the thread of an executor: for a short atom hardly
//! more is done than starting its shell and waiting for it.

use crate::containers::{BuildContainers, ContainerError};
use crate::data_directory::{DataDirectory, remove_all};
use crate::isolation::{IsolationError, Isolator};
use crate::run::artifact_directory::ArtifactDirectories;
use crate::run::console_file::ConsoleFiles;
use crate::run::consoles::Consoles;
use crate::run::event_log::SubjobEvents;
use crate::run::file_error::AtomFileError;
use crate::run::workers::Workers;
use crate::work::workers::Broken;
use crate::work::{AtomEnd, RunOrder, RunOutcome};
use clusterrunner_common::disk::space::{DiskSpace, ShortOfSpace};
use clusterrunner_common::ids::{AtomId, BuildId, ExecutorIndex};
use clusterrunner_common::process::command::{CommandError, end_marked_blocking};
use command::Commanded;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Why this slave could not run an atom. Nothing is said about the atom itself.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Files(#[from] AtomFileError),
    #[error(transparent)]
    Command(#[from] CommandError),
    /// What an atom does without space says nothing about it.
    #[error("the disk was full while it ran: {0}")]
    NoSpace(#[from] ShortOfSpace),
    #[error("nothing more could be written to the disk while it ran")]
    DiskUsedUp,
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    #[error("its container ended while it ran")]
    ContainerEnded,
    /// It is said to the user. What the worker printed last goes with it.
    #[error("its worker {0}")]
    Worker(Broken, String),
    /// The command of the atom is kept: it may be run when the project is there again.
    #[error("the project's directory is gone")]
    NoProject(String),
}

/// What holds for every command that is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Time between asking a process to end and killing it.
    pub(crate) kill_grace: Duration,
    /// How many bytes of a console are kept; `None` for all.
    pub(crate) max_console_size: Option<u64>,
}

/// What running an atom needs. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub(crate) data: Arc<DataDirectory>,
    pub(crate) space: DiskSpace,
    pub(crate) limits: Limits,
    /// Told what runs, so that it can be shown.
    pub(crate) consoles: Arc<Consoles>,
    /// What atoms run in whose job names an image.
    pub(crate) containers: Arc<BuildContainers>,
    /// What keeps them apart from this machine.
    pub(crate) isolator: Arc<Isolator>,
}

/// Runs atoms, and keeps ready what the next one needs.
#[derive(Debug)]
pub(crate) struct SubjobExecutor {
    executor: ExecutorIndex,
    means: Means,
    directories: ArtifactDirectories,
    console_files: ConsoleFiles,
    workers: Workers,
    /// Set when the process ends and does not wait for what runs any more.
    closing: Arc<AtomicBool>,
    /// Whether what runs is a hunt. Work waits for the end of one that is to stop.
    is_hunt: bool,
}

impl SubjobExecutor {
    pub(crate) fn new(executor: ExecutorIndex, means: Means, closing: Arc<AtomicBool>) -> Self {
        Self {
            executor,
            directories: ArtifactDirectories::new(executor),
            console_files: ConsoleFiles::new(executor, means.limits.max_console_size),
            workers: Workers::new(executor, Arc::clone(&means.data)),
            means,
            closing,
            is_hunt: false,
        }
    }

    fn is_to_stop(&self, stop: &CancellationToken) -> bool {
        stop.is_cancelled() || self.closing.load(Ordering::Relaxed)
    }

    /// Runs a subjob to its end, or until `stop`. Blocks.
    pub(crate) fn run(
        &mut self,
        order: RunOrder,
        stop: &CancellationToken,
        events: &SubjobEvents,
    ) -> RunOutcome {
        self.is_hunt = order.hunt.is_some();
        if order.batch.is_some() {
            return self.run_batch(order, stop, events);
        }
        events.subjob_started();
        let outcome = self.run_atoms(order, stop, events);
        events.subjob_finished();
        outcome
    }

    /// Nothing that was ready is used again: it may have been changed. It goes with the build
    /// that had it.
    pub(crate) fn start_afresh(&mut self, build: BuildId) {
        self.means.consoles.dropped(self.executor);
        self.console_files.discard();
        drop(self.directories.give_up(&self.means.data, build));
    }

    /// The same after a hunt, of which nothing is to be left. Work may wait for this executor, so that it does not take
    /// the time to remove what may be much.
    fn drop_hunted(&mut self, build: BuildId) {
        self.console_files.discard();
        let Some(path) = self.directories.give_up(&self.means.data, build) else {
            return;
        };
        let removal = move || {
            if let Err(error) = remove_all(&path) {
                tracing::debug!(path = %path.display(), %error, "what a hunt left stays until its build ends");
            }
        };
        let thread = std::thread::Builder::new().name("after-hunt".to_owned());
        if let Err(error) = thread.spawn(removal) {
            tracing::debug!(%error, "what a hunt left stays until its build ends");
        }
    }

    fn grace(&self) -> Duration {
        match self.closing.load(Ordering::Relaxed) {
            true => Duration::ZERO,
            false => self.means.limits.kill_grace,
        }
    }

    fn run_atoms(
        &mut self,
        mut order: RunOrder,
        stop: &CancellationToken,
        events: &SubjobEvents,
    ) -> RunOutcome {
        let commands = std::mem::take(&mut order.atomic_commands);
        let mark = self.means.data.hand_out_mark(order.hand_out);
        let mut atoms = Vec::with_capacity(commands.len());
        let mut commands = (0..).map(AtomId).zip(commands);
        while let Some((atom, command)) = commands.next() {
            if self.is_to_stop(stop) {
                return RunOutcome::Canceled;
            }
            events.atom_started(atom);
            let what = Commanded {
                atom,
                command,
                variables: Vec::new(),
                head: order.head.as_deref().filter(|_| atom == AtomId(0)),
                others: Vec::new(),
                limit: order.timeout,
                by: None,
            };
            let ended = self.run_atom(&order, what, &mark, stop);
            let end = ended.as_ref().ok().and_then(Option::as_ref);
            events.atom_finished(atom, end.map(|end| end.exit_code));
            if end.is_none() {
                match self.is_hunt {
                    true => self.drop_hunted(order.hand_out.build),
                    false => self.start_afresh(order.hand_out.build),
                }
            }
            match ended {
                Ok(Some(end)) => atoms.push(end),
                Ok(None) => {
                    // Also what earlier atoms of it left in the background. A hunt has none.
                    if !self.is_hunt {
                        end_marked_blocking(&mark, self.grace());
                    }
                    return RunOutcome::Canceled;
                }
                Err(RunError::NoProject(command)) => {
                    let ended = atoms.into_iter().map(|atom: AtomEnd| atom.command);
                    let left = commands.map(|(_, command)| command);
                    return RunOutcome::NoProject {
                        atomic_commands: ended.chain([command]).chain(left).collect(),
                        timeout: order.timeout,
                    };
                }
                Err(error) => {
                    // It may be the directories that are missing. What could not be mended is told there.
                    self.means.data.mend().ok();
                    return RunOutcome::Trouble(format!(
                        "atom {atom} of subjob {} could not be run: {error}",
                        order.hand_out.subjob
                    ));
                }
            }
        }
        RunOutcome::Completed(atoms)
    }

    /// Says what is to be shown of what runs; nothing of a hunt.
    fn shown(&self, tell: impl FnOnce(&Consoles)) {
        if !self.is_hunt {
            tell(&self.means.consoles);
        }
    }
}

mod batch;
mod by_worker;
mod command;
mod enclosing;
mod printed;
mod running;
#[cfg(test)]
mod tests;
mod watching;
