//! What runs for an atom: a process of its own, or a worker that has the atom.

use super::RunError;
use crate::run::workers::{WorkerProcess, WorkerRun};
use crate::work::workers::errand::Errand;
use clusterrunner_common::process::command::{Ended, RunningCommand, Usage};
use std::time::Duration;

/// What runs, and is waited for.
#[derive(Debug)]
pub(super) enum Running {
    /// A process of its own.
    Process(RunningCommand),
    /// A worker that has an atom.
    Worker(Box<WorkerRun>),
}

/// A worker, and what it is to do.
#[derive(Debug)]
pub(super) struct ByWorker {
    pub(super) process: WorkerProcess,
    pub(super) errand: Errand,
}

impl Running {
    pub(super) fn wait(&mut self, at_most: Duration) -> Result<Option<Ended>, RunError> {
        match self {
            Self::Process(running) => Ok(running.wait(at_most)?),
            Self::Worker(running) => running
                .wait(at_most)
                .map_err(|broken| RunError::Worker(broken, String::new())),
        }
    }

    pub(super) fn has_left_some(&self) -> bool {
        match self {
            Self::Process(running) => running.has_left_some(),
            Self::Worker(running) => running.has_left_some(),
        }
    }

    pub(super) fn used(&self) -> Option<Usage> {
        match self {
            Self::Process(running) => running.used(),
            Self::Worker(running) => running.used(),
        }
    }
}
