//! Atoms that a worker runs in place of a process of their own. What does not go well there runs again as any other atom,
//! and only that counts.

use super::command::{Commanded, environment};
use super::printed::{remove_what_is_left, text_of};
use super::running::{ByWorker, Running};
use super::{RunError, SubjobExecutor};
use crate::data_directory::remove_all;
use crate::isolation::Enclosure;
use crate::run::console_file::add_to;
use crate::run::pump::Pump;
use crate::run::workers::{Beginning, WorkerRun, changed_since};
use crate::work::workers::errand::{AtomPlace, Errand, OF_ONE_ATOM};
use crate::work::workers::protocol::LONGEST_REQUEST;
use crate::work::workers::{Again, Broken, Cold, HELLO_LIMIT, counts, limit, not_again};
use crate::work::{AtomEnd, RunOrder};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::warm::bash;
use clusterrunner_common::process::command::{
    CommandError, Ended, MARK_VARIABLE, ShellCommand, end_marked_blocking, inherited_variable,
    inherited_variables, runs_bash,
};
use clusterrunner_common::process::variables::{AllowedVariables, BuildVariables};
use clusterrunner_common::work::{InWorker, IsolationLevel, Worker, WorkerProgram};
use std::fs::{File, Metadata};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longer commands do not go to workers: with what is around them they would not fit into a pipe.
const LONGEST: usize = LONGEST_REQUEST / 3;

/// How much is read of what an atom printed that runs again.
const MOST_READ: u64 = 16 << 10;

/// Who runs an atom.
enum Who {
    Worker(Box<ByWorker>),
    /// A process of its own; the text stands before its output.
    Process(String),
    Nobody,
}

/// What became of an atom in a worker.
enum Tried {
    /// Its result counts.
    Counts(Box<AtomEnd>),
    /// It runs once more, in a process of its own.
    Again(Again),
    /// It was stopped.
    Stopped,
}

impl SubjobExecutor {
    /// Runs an atom by the worker of its build, where it has one and the worker can do it, and else in a process of its
    /// own; `None` when it was stopped.
    pub(super) fn run_atom(
        &mut self,
        order: &RunOrder,
        what: Commanded<'_>,
        mark: &str,
        stop: &CancellationToken,
    ) -> Result<Option<AtomEnd>, RunError> {
        let Some(worker) = order.worker.clone() else {
            return self.run_command(order, what, mark, stop);
        };
        let build = order.hand_out.build;
        let (mut head, again) = match self.who(order, &worker.program, &what, stop)? {
            Who::Nobody => return Ok(None),
            Who::Process(head) => (head, None),
            Who::Worker(by) => {
                let again = match self.try_worker((order, &worker), &what, *by, mark, stop)? {
                    Tried::Stopped => return Ok(None),
                    Tried::Counts(end) => return Ok(Some(*end)),
                    Tried::Again(again) => again,
                };
                let is_last = !self.workers.trust(build).is_there();
                (again.head(worker.program.name(), is_last), Some(again))
            }
        };
        head.push_str(what.head.unwrap_or_default());
        let head = Some(head.as_str()).filter(|head| !head.is_empty());
        let mut ended = self.run_command(order, Commanded { head, ..what }, mark, stop)?;
        if let Some(end) = &mut ended {
            let trust = self.workers.trust(build);
            if matches!(again, Some(Again::Failed { .. })) {
                trust.disproved(end.exit_code == 0);
            }
            if end.exit_code == 0 {
                trust.passed_alone();
            }
            let has_failed = again.is_some_and(|again| again.is_failure(order.timeout));
            end.usage.worker = has_failed.then_some(InWorker::Failed);
        }
        Ok(ended)
    }

    /// Runs an atom by a worker. Nothing is left of a run that does not count.
    fn try_worker(
        &mut self,
        (order, worker): (&RunOrder, &Worker),
        what: &Commanded<'_>,
        by: ByWorker,
        mark: &str,
        stop: &CancellationToken,
    ) -> Result<Tried, RunError> {
        let build = order.hand_out.build;
        let in_worker = Commanded {
            atom: what.atom,
            command: what.command.clone(),
            variables: Vec::new(),
            head: what.head,
            others: Vec::new(),
            limit: Some(limit(order.timeout)),
            by: Some(by),
        };
        let began = Timestamp::now();
        let again = match self.run_command(order, in_worker, mark, stop) {
            Ok(None) => return Ok(Tried::Stopped),
            Ok(Some(mut end)) => {
                let is_timeout = end.timed_out.is_some();
                if is_timeout {
                    self.workers.trust(build).hung();
                }
                end.usage.worker = Some(InWorker::Ran);
                if counts(end.exit_code, is_timeout, worker.confirm_failures) {
                    return Ok(Tried::Counts(Box::new(end)));
                }
                let again = Again::of(&end, text_of(&end.console, MOST_READ).text);
                if again.is_failure(order.timeout)
                    && let Some(path) = changed_since(&order.project_directory, began)
                {
                    let path = path.strip_prefix(&order.project_directory);
                    let path = path.unwrap_or(&order.project_directory);
                    let line = not_again(path, worker.program.name());
                    add_to(&mut end.console, &line);
                    return Ok(Tried::Counts(Box::new(end)));
                }
                remove_what_is_left(&end);
                again
            }
            Err(RunError::Worker(how, said)) => {
                self.workers.trust(build).broke(&how);
                Again::Broke { how, said }
            }
            Err(error) => return Err(error),
        };
        self.forget_run(build, &format!("{mark}{}:", what.atom));
        Ok(match self.is_to_stop(stop) {
            true => Tried::Stopped,
            false => Tried::Again(again),
        })
    }

    /// Nothing of an atom's run in a worker is left.
    fn forget_run(&mut self, build: BuildId, mark: &str) {
        end_marked_blocking(mark, Duration::ZERO);
        self.shown(|consoles| consoles.dropped(self.executor));
        self.console_files.discard();
        let left = self.directories.give_up(&self.means.data, build);
        if let Some(path) = left
            && let Err(error) = remove_all(&path)
        {
            tracing::debug!(path = %path.display(), %error, "could not remove what an atom left in a worker");
        }
    }

    fn who(
        &mut self,
        order: &RunOrder,
        program: &WorkerProgram,
        what: &Commanded<'_>,
        stop: &CancellationToken,
    ) -> Result<Who, RunError> {
        let build = order.hand_out.build;
        // Behind walls each atom has processes and a /tmp of its own.
        let is_odd = order.isolation.level > IsolationLevel::Limits
            || order.image.is_some()
            || what.command.len() > LONGEST
            || !is_usual_environment(&order.variables, self.allowed(order));
        if is_odd || !self.workers.trust(build).is_wanted() || !order.project_directory.is_dir() {
            return Ok(Who::Process(String::new()));
        }
        let artifacts = self.directories.take(&self.means.data)?.to_owned();
        let own = environment(order, what.atom, &artifacts);
        let allowed = self.allowed(order).cloned();
        let environment = |name: &str| {
            let own = own.iter().find(|(own, _)| own == name);
            let own = own.and_then(|(_, value)| value.to_str().map(str::to_owned));
            own.or_else(|| variable(&order.variables, allowed.as_ref(), name))
        };
        let texts = own.iter().filter_map(|(name, value)| {
            let value = value.to_str()?.to_owned();
            Some((name.clone(), value))
        });
        let texts: Vec<(String, String)> = texts.collect();
        let errand = match Errand::of(program, &what.command, &environment) {
            // A path that is no text does not fit into a line.
            Ok(errand) if texts.len() < own.len() || !errand.fits(&texts) => {
                return Ok(Who::Process(String::new()));
            }
            Ok(errand) => errand,
            Err(cold) => return Ok(Who::Process(cold.to_string())),
        };
        let directory = &order.project_directory;
        let process = match self.workers.take(build, &errand.start, directory) {
            Ok(Some(process)) => process,
            // Another one beside it would take more memory than it saves time.
            Err(_) => return Ok(Who::Process(Cold::Quietly.to_string())),
            Ok(None) => {
                let enclosure = self.enclose(order, &artifacts, "")?;
                let beginning = Beginning {
                    command: ShellCommand {
                        command_line: String::new(),
                        working_directory: directory.clone(),
                        variables: Arc::clone(&order.variables),
                        environment: of_all_atoms(&own),
                        mark: String::new(),
                        max_output: None,
                        confinement: enclosure.as_ref().map(Enclosure::confinement),
                    },
                    enclosure,
                    limit: order.timeout.unwrap_or(HELLO_LIMIT).min(HELLO_LIMIT),
                    environment: &environment,
                };
                let closing = Arc::clone(&self.closing);
                let is_to_stop =
                    || stop.is_cancelled() || closing.load(std::sync::atomic::Ordering::Relaxed);
                match self
                    .workers
                    .start(build, &errand.start, beginning, &is_to_stop)
                {
                    Ok(Some(process)) => process,
                    Ok(None) => return Ok(Who::Nobody),
                    Err((how, said)) => {
                        let trust = self.workers.trust(build);
                        trust.broke(&how);
                        let is_last = !trust.is_there();
                        let again = Again::Broke { how, said };
                        return Ok(Who::Process(again.head(program.name(), is_last)));
                    }
                }
            }
        };
        Ok(Who::Worker(Box::new(ByWorker { process, errand })))
    }

    /// Which variables of the slave's own commands of an order have, if not all.
    fn allowed(&self, order: &RunOrder) -> Option<&AllowedVariables> {
        let is_kept_apart = order.isolation.level != IsolationLevel::None;
        is_kept_apart.then(|| self.means.isolator.allowed())
    }

    /// Gives an atom to a worker. The atom prints to the file.
    pub(super) fn begin(
        by: ByWorker,
        command: &ShellCommand,
        (pump, console): (Pump, File),
    ) -> Result<WorkerRun, RunError> {
        let ByWorker { process, errand } = by;
        let mark = (MARK_VARIABLE.to_owned(), command.mark.as_str().into());
        let variables = command.environment.iter().chain([&mark]);
        let variables =
            variables.map(|(name, value)| Some((name.clone(), value.to_str()?.to_owned())));
        let environment: Option<Vec<(String, String)>> = variables.collect();
        let artifacts = environment.iter().flatten();
        let artifacts = artifacts.clone().find(|(name, _)| name == "ARTIFACT_DIR");
        let printed = path_of(&console);
        let begun = (|| {
            Some(AtomPlace {
                id: process.next_id(),
                environment: environment.as_deref()?,
                directory: command.working_directory.to_str()?,
                console: printed.as_deref()?,
                artifact_directory: artifacts?.1.as_str(),
            })
        })();
        // Names that are no text do not fit into its lines.
        let place = begun.ok_or_else(|| RunError::Worker(Broken::Deaf, String::new()))?;
        let begun = WorkerRun::begin(process, &errand, place, (pump, console));
        begun.map_err(|(how, said)| RunError::Worker(how, said))
    }

    /// What is said of a worker that broke while it had an atom. Both are ended, with all they started.
    pub(super) fn broke(&self, running: Running, mark: &str, error: RunError) -> RunError {
        match (running, error) {
            (Running::Worker(mut run), RunError::Worker(how, _)) => {
                let said = run.said();
                end(&mut run, mark);
                RunError::Worker(how, said)
            }
            (_, error) => error,
        }
    }

    /// Keeps a worker for the next atom, unless it was ended with its atom, or one that failed has left something there.
    pub(super) fn put_back(
        &mut self,
        running: Running,
        build: BuildId,
        (ended, mark): (Ended, &str),
    ) {
        let Running::Worker(mut run) = running else {
            return;
        };
        match ended {
            Ended::Exited(0) => {
                self.workers.trust(build).passed();
                self.workers.put_back(build, run.into_process());
            }
            // What is left of an atom that runs again is not to disturb it.
            Ended::Exited(_) | Ended::Signaled(_) if run.has_left_group() => end(&mut run, mark),
            Ended::Exited(_) | Ended::Signaled(_) => {
                self.workers.put_back(build, run.into_process());
            }
            Ended::TimedOut | Ended::Canceled => {}
        }
    }

    /// Ends the worker of a build that is over.
    pub(crate) fn end_worker(&mut self, build: BuildId) {
        self.workers.forget(build);
    }
}

/// By which name another process finds what is open here; `None` where there is no such name, as without `/proc`.
fn path_of(open: &File) -> Option<String> {
    let path = format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd());
    let [named, itself] = [std::fs::metadata(&path), open.metadata()];
    let is_it = |named: &Metadata, itself: &Metadata| {
        (named.dev(), named.ino()) == (itself.dev(), itself.ino())
    };
    (is_it(&named.ok()?, &itself.ok()?)).then_some(path)
}

fn end(run: &mut WorkerRun, mark: &str) {
    let ended: Result<(), CommandError> = run.end(mark, Duration::ZERO);
    if let Err(error) = ended {
        tracing::debug!(mark, %error, "could not wait for a worker");
    }
}

/// A variable as a command of the build finds it.
fn variable(
    variables: &BuildVariables,
    allowed: Option<&AllowedVariables>,
    name: &str,
) -> Option<String> {
    let set = variables.get_added(name).map(str::to_owned);
    let is_left_out = allowed.is_some_and(|allowed| !allowed.has(name));
    set.or_else(|| match &variables.inherited {
        _ if is_left_out => None,
        Some(inherited) => inherited.get(name).map(str::to_owned),
        None => inherited_variable(name)?.into_string().ok(),
    })
}

/// Whether a shell of the build is one that a worker can stand for, and all that it finds is text.
fn is_usual_environment(variables: &BuildVariables, allowed: Option<&AllowedVariables>) -> bool {
    let is_usual = |name: &str| bash::is_usual_variable(name);
    let is_left_out = |name: &str| allowed.is_some_and(|allowed| !allowed.has(name));
    let mut set = variables.added();
    runs_bash()
        && set.all(|(name, _)| is_usual(name))
        && match &variables.inherited {
            Some(inherited) => {
                let mut inherited = inherited.iter();
                inherited.all(|(name, _)| is_left_out(name) || is_usual(name))
            }
            None => inherited_variables().all(|(name, value)| {
                let is_fine =
                    |name: &str| is_left_out(name) || is_usual(name) && value.to_str().is_some();
                name.to_str().is_some_and(is_fine)
            }),
        }
}

/// The variables that are the same for all atoms of a build that an executor runs.
fn of_all_atoms(of_one: &[(String, std::ffi::OsString)]) -> Vec<(String, std::ffi::OsString)> {
    let of_all = of_one.iter();
    let of_all = of_all.filter(|(name, _)| !OF_ONE_ATOM.contains(&name.as_str()));
    of_all.cloned().collect()
}
