//! Runs the atoms of subjobs one after the other, on the thread of an executor: for a short atom hardly
//! more is done than starting its shell and waiting for it.

use crate::containers::{BuildContainer, BuildContainers, ContainerError, ContainerPlace};
use crate::data_directory::{DataDirectory, remove_all};
use crate::run::artifact_directory::ArtifactDirectories;
use crate::run::console_file::{AtomEnding, ConsoleFiles};
use crate::run::consoles::Consoles;
use crate::run::event_log::SubjobEvents;
use crate::run::file_error::{AtomFileError, files};
use crate::work::{AtomEnd, HandOut, RunOrder, RunOutcome};
use clusterrunner_common::api::TIMED_OUT_EXIT_CODE;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::space::{DiskSpace, ShortOfSpace};
use clusterrunner_common::ids::{AtomId, BuildId, ExecutorIndex};
use clusterrunner_common::process::command::{
    CommandError, Ended, RunningCommand, ShellCommand, end_marked_blocking,
};
use clusterrunner_common::process::console::ConsoleCap;
use clusterrunner_common::work::{AtomUsage, ProcessUsage};
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often an atom that runs is looked at: whether it is to stop, what it takes of the disk, and
/// what is left of that. One that is over sooner is never looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The same for a hunt, whose end work waits for.
const HUNT_LOOK: Duration = Duration::from_millis(10);

/// How long work waits at least for the end of a hunt that is killed, where what is asked to end gets no time.
const LEAST_GRACE: Duration = Duration::from_secs(1);

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
    #[error("its container ended while it ran")]
    ContainerEnded,
    /// The command of the atom is kept: it may be run when the project is there again.
    #[error("the project's directory is gone")]
    NoProject(String),
}

/// What is run in one process.
struct Commanded<'a> {
    atom: AtomId,
    command: String,
    /// What it finds in its environment beside what every atom finds.
    variables: Vec<(String, OsString)>,
    /// What stands before its output.
    head: Option<&'a str>,
    /// The other hand-outs that run in this process.
    others: Vec<HandOut>,
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
}

/// Runs atoms, and keeps ready what the next one needs.
#[derive(Debug)]
pub(crate) struct SubjobExecutor {
    executor: ExecutorIndex,
    means: Means,
    directories: ArtifactDirectories,
    console_files: ConsoleFiles,
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

    /// Ends a hunt, which is not asked: work may wait for it, but for no longer than for what is asked. What can not be killed
    /// in that time, since the system holds it in a call (as on a network disk that does not answer), dies some day, and
    /// a thread awaits that; it says nothing of its atom, and leaves what is not removed before the build is cleared away.
    fn kill_hunt(&self, mut running: RunningCommand, mark: String) -> Option<RunningCommand> {
        let hunt = mark.clone();
        let grace = self.means.limits.kill_grace.max(LEAST_GRACE);
        let killed = within(grace, "hunt-killer", move || {
            running.kill(&mark).map(|()| running)
        });
        match killed {
            Some(Ok(killed)) => Some(killed),
            Some(Err(error)) => {
                tracing::warn!(%hunt, %error, "the end of a hunt is not known");
                None
            }
            None => {
                tracing::warn!(%hunt, "a hunt can not be killed yet; its executor does not wait for it");
                None
            }
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
            };
            let ended = self.run_command(&order, what, &mark, stop);
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

    /// Runs the command of one atom, or of a batch; `None` when it was stopped.
    fn run_command(
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
        } = what;
        let Means {
            data,
            space,
            limits,
            ..
        } = self.means.clone();
        let hand_out = order.hand_out;
        if order.image.is_some() && !order.project_directory.is_dir() {
            return Err(RunError::NoProject(command));
        }
        let container = match self.container(order, stop) {
            Err(ContainerError::Canceled) => return Ok(None),
            container => container?,
        };
        let (console, output) = self.console(head)?;
        let directory = self.directories.take(&data)?;
        let mut environment = environment(order, atom, directory);
        environment.extend(variables);
        let shell_command = ShellCommand {
            command_line: command,
            working_directory: order.project_directory.clone(),
            variables: Arc::clone(&order.variables),
            environment,
            // Of its own: that it runs too long is no matter of the atoms before it.
            mark: format!("{mark}{atom}:"),
            max_output: limits.max_console_size,
        };
        let started_at = Timestamp::now();
        self.shown(|consoles| {
            consoles.started(self.executor, (hand_out, atom, others), console, started_at);
        });
        let started = Instant::now();
        let mut running = start(&shell_command, container.as_deref(), output)?;
        let (ended, was_used_up) = self.watch(&mut running, started, order.timeout, stop)?;
        let runs_on = matches!(ended, Ended::TimedOut | Ended::Canceled);
        if self.is_hunt && runs_on {
            running = match self.kill_hunt(running, shell_command.mark.clone()) {
                Some(killed) => killed,
                None => return Ok(None),
            };
        }
        let timed_out = match ended {
            Ended::TimedOut => order.timeout,
            Ended::Exited(_) | Ended::Signaled(_) | Ended::Canceled => None,
        };
        let mark = &shell_command.mark;
        let has_left_some =
            self.end_rest(&mut running, (ended, mark), container.as_deref(), hand_out)?;
        let took = started.elapsed();
        if ended == Ended::Canceled {
            return Ok(None);
        }
        // Of what is in a container only the client of the runtime was measured.
        let used = running.used().filter(|_| container.is_none());
        let exit_code = ended.exit_code().unwrap_or(TIMED_OUT_EXIT_CODE);
        let has_ended = |container: Arc<BuildContainer>| container.has_ended();
        if exit_code != 0 && timed_out.is_none() && container.is_some_and(has_ended) {
            return Err(RunError::ContainerEnded);
        }
        if was_used_up || space.is_used_up() {
            return Err(RunError::DiskUsedUp);
        }
        if exit_code != 0 {
            space.check(0)?;
        }
        let (console, output_bytes) = self.console_files.take(&AtomEnding {
            timed_out,
            kept_at: &data.kept_console(hand_out, atom),
        })?;
        self.shown(|consoles| consoles.ended(self.executor, &console));
        // Only now: until then it may be looked at.
        let nobody_is_left = self.console_files.recycle(!has_left_some) && !has_left_some;
        Ok(Some(AtomEnd {
            command: shell_command.command_line,
            exit_code,
            started_at,
            took,
            ended_at: Timestamp::now().0 / 1000,
            timed_out,
            usage: AtomUsage {
                output_bytes,
                processes: used.and_then(ProcessUsage::of),
                in_vain_ms: 0,
            },
            console,
            artifacts: self
                .directories
                .left(&data, hand_out.build, nobody_is_left)?,
            junit: Arc::clone(&order.junit),
            tests: None,
        }))
    }

    /// Says what is to be shown of what runs; nothing of a hunt.
    fn shown(&self, tell: impl FnOnce(&Consoles)) {
        if !self.is_hunt {
            tell(&self.means.consoles);
        }
    }

    /// Ends what takes too long or is to stop, with all that it started. Says whether some of what it started may run on.
    fn end_rest(
        &self,
        running: &mut RunningCommand,
        (ended, mark): (Ended, &str),
        container: Option<&BuildContainer>,
        hand_out: HandOut,
    ) -> Result<bool, CommandError> {
        match ended {
            // What is left in a container is not known.
            Ended::Exited(_) | Ended::Signaled(_) => {
                Ok(container.is_some() || running.has_left_some())
            }
            // It was killed.
            Ended::TimedOut | Ended::Canceled if self.is_hunt => Ok(true),
            Ended::TimedOut | Ended::Canceled => {
                running.end(mark, self.grace())?;
                if container.is_some_and(|container| !container.shows_processes()) {
                    let containers = &self.means.containers;
                    containers.give_up(hand_out.build, self.executor);
                }
                Ok(true)
            }
        }
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
            mark: &data.container_mark(build),
        };
        let containers = &self.means.containers;
        let started =
            containers.of_executor(build, self.executor, &place, &|| self.is_to_stop(stop));
        started.map(Some)
    }

    /// How a command comes to its end, and whether the disk was seen without any space meanwhile.
    /// One that takes too long or is to stop is still to be ended.
    fn watch(
        &self,
        running: &mut RunningCommand,
        started: Instant,
        limit: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<(Ended, bool), CommandError> {
        let mut was_used_up = false;
        let mut cap = self.means.limits.max_console_size.map(ConsoleCap::new);
        loop {
            let left = limit.map(|limit| limit.saturating_sub(started.elapsed()));
            let look = if self.is_hunt { HUNT_LOOK } else { LOOK };
            let pause = left.map_or(look, |left| left.min(look));
            if let Some(ended) = running.wait(pause)? {
                return Ok((ended, was_used_up));
            }
            if self.is_to_stop(stop) {
                return Ok((Ended::Canceled, was_used_up));
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Ok((Ended::TimedOut, was_used_up));
            }
            was_used_up |= self.means.space.is_used_up();
            if let Some(cap) = &mut cap {
                self.console_files.cap(cap);
            }
        }
    }
}

/// What some work comes to, if that takes no longer than this; else it goes on in a thread of this name. Where there can be
/// no other thread, this one waits.
fn within<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
    at_most: Duration,
    name: &str,
    work: W,
) -> Option<T> {
    let (given, taken) = mpsc::channel::<W>();
    let (sender, done) = mpsc::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(move || {
        if let Ok(work) = taken.recv() {
            // Perhaps nobody waits any more.
            sender.send(work()).ok();
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread could be started");
        return Some(work());
    }
    match given.send(work) {
        Ok(()) => done.recv_timeout(at_most).ok(),
        // It is gone though nothing has ended it.
        Err(mpsc::SendError(work)) => Some(work()),
    }
}

fn environment(order: &RunOrder, atom: AtomId, artifacts: &Path) -> Vec<(String, OsString)> {
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

mod batch;
/// Starts a command, in a container where the build has one.
fn start(
    command: &ShellCommand,
    container: Option<&BuildContainer>,
    output: File,
) -> Result<RunningCommand, RunError> {
    let running = match container {
        None => command.start(output),
        Some(container) => command.start_program(container.command(command)?, output),
    };
    match running {
        Err(_) if !command.working_directory.is_dir() => {
            Err(RunError::NoProject(command.command_line.clone()))
        }
        started => Ok(started?),
    }
}

#[cfg(test)]
mod tests;
