//! Runs one command, from its console and its environment to what is told of its end.

use super::enclosing::over;
use super::running::{ByWorker, Running};
use super::{RunError, SubjobExecutor};
use crate::containers::{BuildContainer, ContainerError, ContainerPlace};
use crate::isolation::Enclosure;
use crate::run::console_file::{AtomEnding, add_to};
use crate::run::file_error::{AtomFileError, files};
use crate::run::pump::Pump;
use crate::work::{AtomConsole, AtomEnd, HandOut, RunOrder};
use clusterrunner_common::api::TIMED_OUT_EXIT_CODE;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::AtomId;
use clusterrunner_common::process::command::{Ended, ShellCommand, Usage};
use clusterrunner_common::work::{AtomUsage, LimitHit, ProcessUsage};
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What is run in one process.
pub(super) struct Commanded<'a> {
    pub(super) atom: AtomId,
    pub(super) command: String,
    /// What it finds in its environment beside what every atom finds.
    pub(super) variables: Vec<(String, OsString)>,
    /// What stands before its output.
    pub(super) head: Option<&'a str>,
    /// The other hand-outs that run in this process.
    pub(super) others: Vec<HandOut>,
    /// How long it may run.
    pub(super) limit: Option<Duration>,
    /// What runs it, if that is not a process of its own.
    pub(super) by: Option<ByWorker>,
}

/// What has run.
struct Ran {
    atom: AtomId,
    command: String,
    started_at: Timestamp,
    took: Duration,
    exit_code: i32,
    /// Its limit, if it ended by that.
    timed_out: Option<Duration>,
    /// The limit that it failed at.
    hit: Option<LimitHit>,
    used: Option<Usage>,
    /// Whether some of what it started may run on.
    has_left_some: bool,
}

impl SubjobExecutor {
    /// Runs the command of one atom, or of a batch; `None` when it was stopped.
    pub(super) fn run_command(
        &mut self,
        order: &RunOrder,
        what: Commanded<'_>,
        mark: &str,
        stop: &CancellationToken,
    ) -> Result<Option<AtomEnd>, RunError> {
        let Commanded {
            atom,
            command,
            variables,
            head,
            others,
            limit,
            by,
        } = what;
        let hand_out = order.hand_out;
        if order.image.is_some() && !order.project_directory.is_dir() {
            return Err(RunError::NoProject(command));
        }
        let container = match self.container(order, stop) {
            Err(ContainerError::Canceled) => return Ok(None),
            container => container?,
        };
        let head = head.map(|head| order.variables.mask.mask_text(head.to_owned()));
        let (console, output) = self.console(head.as_deref())?;
        let has_worker = by.is_some();
        let prepared = self.prepared(order, (atom, command, variables), mark, has_worker)?;
        let (shell_command, mut enclosure) = prepared;
        let started_at = Timestamp::now();
        self.shown(|consoles| {
            consoles.started(self.executor, (hand_out, atom, others), console, started_at);
        });
        let started = Instant::now();
        let running = match self.start((&shell_command, by), container.as_deref(), output) {
            Err(RunError::Command(_)) if !order.project_directory.is_dir() => {
                return Err(RunError::NoProject(shell_command.command_line));
            }
            started => started?,
        };
        let mark = &shell_command.mark;
        let watched = self.watched(running, (started, limit, mark), stop)?;
        let Some((mut running, ended, mut was_used_up)) = watched else {
            return Ok(None);
        };
        let has_left_some =
            self.end_rest(&mut running, (ended, mark), container.as_deref(), hand_out)?;
        // Of what is in a container only the client of the runtime was measured.
        let used = running.used().filter(|_| container.is_none());
        let took = started.elapsed();
        // What was ended by us is not waited for.
        let has_ended = matches!(ended, Ended::Exited(_) | Ended::Signaled(_));
        let is_to_stop = || !has_ended || self.is_to_stop(stop);
        was_used_up |= !running.finish_console(has_left_some, &is_to_stop);
        let hit = over((&mut enclosure, container.as_deref()), &mut running, ended)?;
        self.put_back(running, hand_out.build, (ended, mark));
        let is_enclosed = enclosure.is_some();
        // All that it has left running goes now.
        drop(enclosure);
        let ran = Ran {
            atom,
            command: shell_command.command_line,
            started_at,
            took,
            exit_code: ended.exit_code().unwrap_or(TIMED_OUT_EXIT_CODE),
            timed_out: limit.filter(|_| ended == Ended::TimedOut),
            hit: hit.filter(|_| ended != Ended::Exited(0)),
            used,
            // What is kept apart ends with it.
            has_left_some: has_left_some && !is_enclosed,
        };
        if ended == Ended::Canceled {
            return Ok(None);
        }
        self.check_end(&ran, container.as_deref(), was_used_up)?;
        self.end_of(order, ran).map(Some)
    }

    /// A command with its surroundings, and what keeps it apart from its machine. A worker that runs it has its own.
    fn prepared(
        &mut self,
        order: &RunOrder,
        (atom, command, variables): (AtomId, String, Vec<(String, OsString)>),
        mark: &str,
        has_worker: bool,
    ) -> Result<(ShellCommand, Option<Enclosure>), RunError> {
        let directory = self.directories.take(&self.means.data)?.to_owned();
        // Of its own: that it runs too long is no matter of the atoms before it.
        let mark = format!("{mark}{atom}:");
        let enclosure = match has_worker {
            true => None,
            false => self.enclose(order, &directory, &mark)?,
        };
        let mut environment = environment(order, atom, &directory);
        environment.extend(variables);
        environment.extend(enclosure.iter().flat_map(Enclosure::variables));
        let shell_command = ShellCommand {
            command_line: command,
            working_directory: order.project_directory.clone(),
            variables: Arc::clone(&order.variables),
            environment,
            mark: match &enclosure {
                Some(enclosure) => enclosure.mark().to_owned(),
                None => mark,
            },
            max_output: self.means.limits.max_console_size,
            confinement: enclosure.as_ref().map(Enclosure::confinement),
        };
        Ok((shell_command, enclosure))
    }

    /// Whether the end of a command says something of the command, and not of what it ran in.
    fn check_end(
        &self,
        ran: &Ran,
        container: Option<&BuildContainer>,
        was_used_up: bool,
    ) -> Result<(), RunError> {
        let has_failed = ran.exit_code != 0;
        let has_ended = container.is_some_and(BuildContainer::has_ended);
        if has_failed && ran.timed_out.is_none() && has_ended {
            return Err(RunError::ContainerEnded);
        }
        if was_used_up || self.means.space.is_used_up() {
            return Err(RunError::DiskUsedUp);
        }
        if has_failed {
            self.means.space.check(0)?;
        }
        Ok(())
    }

    /// What is told of a command that has run.
    fn end_of(&mut self, order: &RunOrder, ran: Ran) -> Result<AtomEnd, RunError> {
        let data = Arc::clone(&self.means.data);
        let hand_out = order.hand_out;
        let (mut console, output_bytes) = self.console_files.take(&AtomEnding {
            timed_out: ran.timed_out,
            hit: ran.hit,
            kept_at: &data.kept_console(hand_out, ran.atom),
        })?;
        let printed = match &console {
            AtomConsole::Memory(text) if ran.exit_code != 0 => text.as_slice(),
            AtomConsole::Memory(_) | AtomConsole::File(_) => &[],
        };
        let project = &order.project_directory;
        let isolator = &self.means.isolator;
        if let Some(why) = isolator.why_denied(&order.isolation, project, printed) {
            add_to(&mut console, &format!("clusterrunner: {why}\n"));
        }
        self.shown(|consoles| consoles.ended(self.executor, &console));
        // Only now: until then it may be looked at.
        let nobody_is_left = self.console_files.recycle(!ran.has_left_some) && !ran.has_left_some;
        Ok(AtomEnd {
            command: ran.command,
            exit_code: ran.exit_code,
            started_at: ran.started_at,
            took: ran.took,
            ended_at: Timestamp::now().0 / 1000,
            timed_out: ran.timed_out,
            hit: ran.hit,
            usage: AtomUsage {
                output_bytes,
                processes: ran.used.and_then(ProcessUsage::of),
                in_vain_ms: 0,
                last_in_vain: None,
                worker: None,
            },
            console,
            artifacts: self
                .directories
                .left(&data, hand_out.build, nobody_is_left)?,
            junit: Arc::clone(&order.junit),
            mask: Arc::clone(&order.variables.mask),
            tests: None,
        })
    }

    /// Starts a command, or gives it to a worker.
    fn start(
        &self,
        (command, by): (&ShellCommand, Option<ByWorker>),
        container: Option<&BuildContainer>,
        output: File,
    ) -> Result<Running, RunError> {
        let (pump, output) = Pump::to(output, &command.variables.mask)
            .map_err(files("make", Path::new("a pipe")))?;
        if let Some(by) = by {
            let begun = Self::begin(by, command, (pump, output))?;
            return Ok(Running::Worker(Box::new(begun)));
        }
        let started = match container {
            None => command.start(output)?,
            Some(container) => command.start_program(container.command(command)?, output)?,
        };
        Ok(Running::Process(started, pump))
    }

    /// An empty console, but for what stands before the output.
    fn console(&mut self, head: Option<&str>) -> Result<(Arc<File>, File), AtomFileError> {
        let (console, mut output) = self.console_files.open(&self.means.data)?;
        if let Some(head) = head {
            let written = output.write_all(head.as_bytes());
            written.map_err(files("write", &self.means.data.all_consoles()))?;
        }
        Ok((console, output))
    }

    /// What the atoms of an order run in.
    fn container(
        &self,
        order: &RunOrder,
        stop: &CancellationToken,
    ) -> Result<Option<Arc<BuildContainer>>, ContainerError> {
        let Some(image) = &order.image else {
            return Ok(None);
        };
        let (data, build) = (&self.means.data, order.hand_out.build);
        let place = ContainerPlace {
            image,
            directory: &order.project_directory,
            artifacts: &data.all_artifacts(),
            secrets: order.variables.secret_files.as_deref(),
            mark: &data.container_mark(build),
            isolation: &order.isolation,
        };
        let containers = &self.means.containers;
        let started =
            containers.of_executor(build, self.executor, &place, &|| self.is_to_stop(stop));
        started.map(Some)
    }
}

pub(super) fn environment(
    order: &RunOrder,
    atom: AtomId,
    artifacts: &Path,
) -> Vec<(String, OsString)> {
    let text = |number: u32| OsString::from(number.to_string());
    [
        (
            "PROJECT_DIR",
            order.project_directory.clone().into_os_string(),
        ),
        ("ARTIFACT_DIR", artifacts.to_owned().into_os_string()),
        ("ATOM_ID", text(atom.0)),
        // The old name of the one below.
        ("EXECUTOR_INDEX", text(order.executor.0)),
        ("MACHINE_EXECUTOR_INDEX", text(order.executor.0)),
        ("BUILD_EXECUTOR_INDEX", text(order.build_executor_index)),
        (
            "CLUSTERRUNNER_ATTEMPT",
            text(order.hunt.unwrap_or(order.hand_out.attempt).0),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
