//! What runs for an atom: a process of its own, or a worker that has the atom.

use super::RunError;
use crate::run::pump::Pump;
use crate::run::workers::{WorkerProcess, WorkerRun};
use crate::work::workers::errand::Errand;
use clusterrunner_common::process::command::CommandError;
use clusterrunner_common::process::command::{Ended, RunningCommand, Usage};
use clusterrunner_common::work::LimitHit;
use std::time::{Duration, Instant};

/// What runs, and is waited for.
#[derive(Debug)]
pub(super) enum Running {
    /// A process of its own, with the way to its console.
    Process(RunningCommand, Pump),
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
            Self::Process(running, pump) => Ok(wait(running, pump, at_most)?),
            Self::Worker(running) => running
                .wait(at_most)
                .map_err(|broken| RunError::Worker(broken, String::new())),
        }
    }

    pub(super) fn has_left_some(&self) -> bool {
        match self {
            Self::Process(running, _) => running.has_left_some(),
            Self::Worker(running) => running.has_left_some(),
        }
    }

    /// Copies to the console what is still to come of what has ended. Whether the console took all that was printed.
    pub(super) fn finish_console(
        &mut self,
        has_left_some: bool,
        is_to_stop: &dyn Fn() -> bool,
    ) -> bool {
        match self {
            Self::Process(running, pump) => {
                pump.finish(has_left_some.then(|| running.group()), is_to_stop)
            }
            Self::Worker(running) => running.finish_console(has_left_some, is_to_stop),
        }
    }

    /// The limit that a worker with its atom has hit, since the last time this was asked.
    pub(super) fn hit(&mut self) -> Option<LimitHit> {
        match self {
            Self::Process(..) => None,
            Self::Worker(running) => running.hit(),
        }
    }

    pub(super) fn used(&self) -> Option<Usage> {
        match self {
            Self::Process(running, _) => running.used(),
            Self::Worker(running) => running.used(),
        }
    }
}

/// Waits for the end of a command, but not for long, and copies what it prints meanwhile.
fn wait(
    running: &mut RunningCommand,
    pump: &mut Pump,
    at_most: Duration,
) -> Result<Option<Ended>, CommandError> {
    let began = Instant::now();
    loop {
        let left = at_most.saturating_sub(began.elapsed());
        let Some(source) = pump.source() else {
            return running.wait(left);
        };
        let heard = running.wait_for_output(&source, left)?;
        if heard.ended {
            return running.wait(Duration::ZERO);
        }
        if heard.output {
            pump.copy();
        }
        if left.is_zero() {
            return Ok(None);
        }
    }
}
