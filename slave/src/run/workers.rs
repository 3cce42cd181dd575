//! The workers of an executor: processes that are started once for a build and take one atom after the other over a pipe.
//! `docs/workers.md` describes what goes through the pipes; what is decided about workers is in [`crate::work::workers`].

mod changes;
mod process;
mod said;
mod script;

pub(crate) use changes::changed_since;
pub(crate) use process::{WorkerProcess, WorkerRun};

use crate::data_directory::DataDirectory;
use crate::isolation::Enclosure;
use crate::work::workers::errand::Start;
use crate::work::workers::{Broken, Trust};
use clusterrunner_common::ids::{BuildId, ExecutorIndex};
use clusterrunner_common::process::command::ShellCommand;
use process::Paths;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How many builds an executor has workers of at a time: builds that share it take turns.
const MOST_BUILDS: usize = 4;

/// The workers of one executor.
#[derive(Debug)]
pub(crate) struct Workers {
    executor: ExecutorIndex,
    data: Arc<DataDirectory>,
    /// How many were started; each has a number of its own.
    made: u64,
    /// The build that ran last is the last one.
    builds: Vec<OfBuild>,
}

#[derive(Debug)]
struct OfBuild {
    build: BuildId,
    trust: Trust,
    /// None while it has an atom.
    idle: Option<WorkerProcess>,
}

/// What a worker finds when it starts, and how long it may take.
pub(crate) struct Beginning<'a> {
    /// All but the command line and the mark are as those of an atom.
    pub(crate) command: ShellCommand,
    pub(crate) limit: Duration,
    /// What keeps it apart from its machine.
    pub(crate) enclosure: Option<Enclosure>,
    /// A variable of its environment.
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Workers {
    pub(crate) fn new(executor: ExecutorIndex, data: Arc<DataDirectory>) -> Self {
        Self {
            executor,
            data,
            made: 0,
            builds: Vec::new(),
        }
    }

    /// What is thought of the workers of a build.
    pub(crate) fn trust(&mut self, build: BuildId) -> &mut Trust {
        &mut self.of(build).trust
    }

    fn of(&mut self, build: BuildId) -> &mut OfBuild {
        let known = self.builds.iter().position(|one| one.build == build);
        let one = match known {
            Some(place) => self.builds.remove(place),
            None => OfBuild {
                build,
                trust: Trust::default(),
                idle: None,
            },
        };
        let has_idle = |one: &&mut OfBuild| one.idle.is_some();
        if self.builds.iter_mut().filter(has_idle).count() >= MOST_BUILDS
            && let Some(oldest) = self.builds.iter_mut().find(has_idle)
        {
            // What is thought of its workers stays until its end.
            oldest.idle = None;
        }
        self.builds.push(one);
        let last = self.builds.len() - 1;
        &mut self.builds[last]
    }

    /// Ends the worker of a build that is over.
    pub(crate) fn forget(&mut self, build: BuildId) {
        self.builds.retain(|one| one.build != build);
    }

    /// The worker of a build, if one is ready; it is not here then until it is put back. An error where it can not do
    /// this errand since it was started for others.
    pub(crate) fn take(
        &mut self,
        build: BuildId,
        start: &Start,
        directory: &Path,
    ) -> Result<Option<WorkerProcess>, OtherStart> {
        let Some(idle) = self.of(build).idle.take() else {
            return Ok(None);
        };
        if idle.start != *start {
            self.of(build).idle = Some(idle);
            return Err(OtherStart);
        }
        if !idle.is_ready(directory) {
            idle.end_all();
            return Ok(None);
        }
        Ok(Some(idle))
    }

    /// Takes back a worker that has answered.
    pub(crate) fn put_back(&mut self, build: BuildId, process: WorkerProcess) {
        self.of(build).idle = Some(process);
    }

    /// Starts a worker and waits until it says that it is there; `None` when `is_to_stop` says so before. Blocks.
    pub(crate) fn start(
        &mut self,
        build: BuildId,
        start: &Start,
        beginning: Beginning<'_>,
        is_to_stop: &dyn Fn() -> bool,
    ) -> Result<Option<WorkerProcess>, (Broken, String)> {
        self.made += 1;
        let (executor, number) = (self.executor, self.made);
        let paths = Paths {
            said: self.data.worker_output(executor, number),
            request: self.data.worker_request(executor, number),
        };
        let mark = self.data.worker_mark(build, executor, number);
        let process =
            WorkerProcess::start(start, beginning.command, paths, mark, beginning.environment);
        let mut process = process.map_err(|why| (Broken::NotStarted(why), String::new()))?;
        process.enclosure = beginning.enclosure;
        match process.hear_hello(beginning.limit, is_to_stop) {
            Ok(true) => Ok(Some(process)),
            Ok(false) => {
                process.end_all();
                Ok(None)
            }
            Err(broken) => {
                let said = process.said();
                process.end_all();
                Err((broken, said))
            }
        }
    }
}

/// A worker was started in another way than an atom asks for.
#[derive(Debug)]
pub(crate) struct OtherStart;
