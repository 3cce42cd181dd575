//! The process of a worker: its start, its pipes, and its end.

use super::said::Said;
use super::script::script_of;
use crate::data_directory::{make_private, remove_all};
use crate::isolation::Enclosure;
use crate::run::pump::Pump;
use crate::work::workers::Broken;
use crate::work::workers::errand::{AtomPlace, Errand, Request, Start, shell_worker};
use crate::work::workers::protocol::{self, Answer, LONGEST_ANSWER, Lines};
use crate::work::workers::python::command_line;
use clusterrunner_common::process::command::{
    CommandError, Ended, Heard, Piped, RunningCommand, ShellCommand, Usage, ask_marked,
    end_marked_blocking, groups_of_marked, is_group_there, kill_group,
};
use clusterrunner_common::work::LimitHit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a worker may take to read what is written to it where the pipe is too small for that.
const TAKING: Duration = Duration::from_secs(1);

/// How often a worker that begins is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The files of a worker. They go with this.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) said: PathBuf,
    pub(super) request: PathBuf,
}

impl Drop for Paths {
    fn drop(&mut self) {
        for path in [&self.said, &self.request] {
            // At the next start of the slave they would go in any case.
            std::fs::remove_file(path).ok();
        }
    }
}

/// A worker. When this is dropped, its process group is killed; what else it left goes with its build.
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    pub(super) start: Start,
    command: RunningCommand,
    input: File,
    output: File,
    lines: Lines,
    mark: String,
    said: Said,
    /// Where it finds texts, if it gets any.
    request: Option<File>,
    _paths: Paths,
    /// What keeps it apart from its machine: it ends before that does.
    pub(super) enclosure: Option<Enclosure>,
    /// Device and inode of the directory that it was started in.
    directory: (u64, u64),
    last_id: u64,
}

impl WorkerProcess {
    pub(super) fn start(
        start: &Start,
        mut command: ShellCommand,
        paths: Paths,
        mark: String,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let files = |error: io::Error| format!("a file for it could not be made: {error}");
        if let Some(directory) = paths.said.parent() {
            make_private(directory).map_err(files)?;
        }
        let make = |path: &Path| {
            remove_all(path)?;
            let mut options = File::options();
            options.read(true).append(true).create_new(true).mode(0o600);
            options.open(path)
        };
        let said = match start {
            Start::Python { .. } => Said::in_pipe(),
            Start::Bash | Start::Command(_) => make(&paths.said).and_then(Said::in_file),
        };
        let (said, errors) = said.map_err(files)?;
        let mut request = None;
        command.command_line = match start {
            Start::Bash => {
                // It is written from its beginning again and again.
                make(&paths.request).map_err(files)?;
                let opened = File::options().write(true).open(&paths.request);
                request = Some(opened.map_err(files)?);
                let path = paths.request.to_str().ok_or("its files have odd names")?;
                shell_worker(path)
            }
            Start::Python {
                module,
                python,
                variables,
                blocked,
            } => {
                let of = |name: &str| variables.get(name).cloned().or_else(|| environment(name));
                let script = match &python.options {
                    Some(_) => None,
                    None => Some(script_of(
                        &command,
                        &python.program,
                        python.directory.as_deref(),
                        &of,
                    )?),
                };
                let variables = variables.iter();
                let variables = variables.map(|(name, value)| (name.clone(), value.into()));
                command.environment.extend(variables);
                command_line(python, (module, blocked), script.as_ref())
            }
            Start::Command(line) => line.clone(),
        };
        command.mark.clone_from(&mark);
        let directory = identity(&start.place(&command.working_directory));
        let directory = directory.map_err(|error| error.to_string())?;
        let piped = command
            .start_piped(errors)
            .map_err(|error| error.to_string())?;
        let Piped {
            command,
            input,
            output,
        } = piped;
        Ok(Self {
            start: start.clone(),
            command,
            input,
            output,
            lines: Lines::default(),
            mark,
            said,
            request,
            _paths: paths,
            enclosure: None,
            directory,
            last_id: 0,
        })
    }

    pub(super) fn hear_hello(
        &mut self,
        limit: Duration,
        is_to_stop: &dyn Fn() -> bool,
    ) -> Result<bool, Broken> {
        let began = Instant::now();
        loop {
            let left = limit.saturating_sub(began.elapsed());
            let heard = self
                .hear(left.min(LOOK), None)
                .map_err(|broken| match broken {
                    Broken::Ended => Broken::EndedAtOnce,
                    other => other,
                })?;
            if let Some(line) = heard {
                protocol::hello(&line)?;
                return match self.lines.is_empty() {
                    true => Ok(true),
                    false => Err(Broken::Twice),
                };
            }
            if is_to_stop() {
                return Ok(false);
            }
            if left.is_zero() {
                return Err(Broken::NoHello(limit));
            }
        }
    }

    /// A line, if it comes before anything is printed, and soon. What is printed is copied.
    fn hear(
        &mut self,
        at_most: Duration,
        mut pump: Option<&mut Pump>,
    ) -> Result<Option<Vec<u8>>, Broken> {
        let heard = self.wait(at_most, pump.as_deref_mut());
        self.said.trim();
        let (Heard { output, ended }, is_printed) = heard.map_err(|_| Broken::Ended)?;
        if is_printed && let Some(pump) = pump {
            pump.copy();
        }
        let mut is_closed = ended;
        if output {
            let mut bytes = [0; 4096];
            // No more than can be an answer: it may never end.
            for _ in 0..=LONGEST_ANSWER / bytes.len() {
                match (&self.output).read(&mut bytes) {
                    Ok(0) => is_closed = true,
                    Ok(read) => {
                        self.lines.add(&bytes[..read]);
                        continue;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => is_closed = true,
                }
                break;
            }
        }
        match self.lines.next()? {
            None if is_closed => Err(Broken::Ended),
            line => Ok(line),
        }
    }

    /// What is heard of it before long, and whether its atom has printed.
    fn wait(
        &self,
        at_most: Duration,
        pump: Option<&mut Pump>,
    ) -> Result<(Heard, bool), CommandError> {
        let Some(printed) = pump.as_ref().and_then(|pump| pump.source()) else {
            let heard = self.command.wait_for_output(&self.output, at_most)?;
            return Ok((heard, false));
        };
        let outputs = [self.output.as_fd(), printed];
        let ([output, is_printed], ended) = self.command.wait_for_outputs(outputs, at_most)?;
        Ok((Heard { output, ended }, is_printed))
    }

    /// Whether it waits for an atom, in the directory that it would start in now. `directory` is the project's.
    pub(super) fn is_ready(&self, directory: &Path) -> bool {
        let quiet = Heard {
            output: false,
            ended: false,
        };
        let heard = self.command.wait_for_output(&self.output, Duration::ZERO);
        heard.is_ok_and(|heard| heard == quiet)
            && self.lines.is_empty()
            && identity(&self.start.place(directory)).is_ok_and(|found| found == self.directory)
    }

    /// The number of the next atom.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id + 1
    }

    /// Gives it an atom.
    fn give(&mut self, errand: &Errand, place: AtomPlace<'_>) -> Result<(), Broken> {
        self.last_id = place.id;
        let line = match errand.request(place) {
            None => return Err(Broken::Deaf),
            Some(Request::Line(line)) => line,
            Some(Request::Text(text, line)) => {
                let Some(file) = &self.request else {
                    return Err(Broken::Deaf);
                };
                // What a longer text has left behind the zero byte of this one is never read.
                file.write_all_at(&text, 0).map_err(|_| Broken::Deaf)?;
                line
            }
        };
        self.write(&line).map_err(|_| Broken::Deaf)
    }

    /// Writes to its input. What it does not take in some time is refused.
    fn write(&mut self, mut line: &[u8]) -> io::Result<()> {
        let began = Instant::now();
        while !line.is_empty() {
            match self.input.write(line) {
                Ok(written) => line = line.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = TAKING.saturating_sub(began.elapsed());
                    let limit = Timespec::try_from(left).ok();
                    let mut input = [PollFd::new(&self.input, PollFlags::OUT)];
                    if left.is_zero() || poll(&mut input, limit.as_ref()) == Ok(0) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What it printed last beside its answers.
    pub(super) fn said(&mut self) -> String {
        self.said.text()
    }

    /// The process groups of what it forked. Those of a worker that has died are found by its mark.
    fn groups(&self) -> Vec<u32> {
        let mut groups = self.command.groups_of_children();
        groups.extend(groups_of_marked(&self.mark));
        groups
    }

    /// Kills it with every process that it forked, and their groups.
    pub(super) fn end_all(mut self) {
        let groups = self.groups();
        let ended = self.command.kill(&self.mark);
        groups.into_iter().for_each(kill_group);
        if let Err(error) = ended {
            tracing::debug!(mark = self.mark, %error, "could not wait for a worker");
        }
    }
}

/// A worker that has an atom.
#[derive(Debug)]
pub(crate) struct WorkerRun {
    process: WorkerProcess,
    id: u64,
    answer: Option<Answer>,
    pump: Pump,
    /// Where the atom prints. The worker opens it anew, and so it is kept open until the atom has ended.
    console: Option<File>,
}

impl WorkerRun {
    /// Gives an atom to a worker.
    pub(crate) fn begin(
        mut process: WorkerProcess,
        errand: &Errand,
        place: AtomPlace<'_>,
        (pump, console): (Pump, File),
    ) -> Result<Self, (Broken, String)> {
        match process.give(errand, place) {
            Ok(()) => Ok(Self {
                process,
                id: place.id,
                answer: None,
                pump,
                console: Some(console),
            }),
            Err(broken) => {
                let said = process.said();
                process.end_all();
                Err((broken, said))
            }
        }
    }

    /// Waits for the end of the atom, but not for long.
    pub(crate) fn wait(&mut self, at_most: Duration) -> Result<Option<Ended>, Broken> {
        let began = Instant::now();
        let line = loop {
            let left = at_most.saturating_sub(began.elapsed());
            match self.process.hear(left, Some(&mut self.pump))? {
                Some(line) => break line,
                None if left.is_zero() => return Ok(None),
                None => {}
            }
        };
        let answer = self.answer.insert(protocol::answer(&line, self.id)?);
        if !self.process.lines.is_empty() {
            return Err(Broken::Twice);
        }
        Ok(Some(Ended::Exited(answer.exit_code.into())))
    }

    /// Ends the worker with its atom: asks both first, and kills after `grace`. `mark` is the atom's. Blocks.
    pub(crate) fn end(&mut self, mark: &str, grace: Duration) -> Result<(), CommandError> {
        let Self { process, pump, .. } = self;
        let groups = process.groups();
        // What is asked to end may print a lot.
        let ended = pump.copy_during(|| {
            ask_marked(mark);
            let began = Instant::now();
            let ended = process.command.end(&process.mark, grace);
            end_marked_blocking(mark, grace.saturating_sub(began.elapsed()));
            ended
        });
        // What is left there threw its environment away.
        groups.into_iter().for_each(kill_group);
        let answered = self.answer.as_ref();
        if let Some(group) = answered.and_then(|answer| answer.process_group)
            && self.process.start.is_ours()
        {
            kill_group(group);
        }
        ended
    }

    /// Copies to the console what is still to come of an atom that has ended. Whether the console took all that was printed.
    pub(crate) fn finish_console(
        &mut self,
        has_left_some: bool,
        is_to_stop: &dyn Fn() -> bool,
    ) -> bool {
        self.console = None;
        let group = self.answer.as_ref().and_then(|answer| answer.process_group);
        self.pump
            .finish(group.filter(|_| has_left_some), is_to_stop)
    }

    /// What the worker printed last beside its answers.
    pub(crate) fn said(&mut self) -> String {
        self.process.said()
    }

    /// Whether some of what the atom started may run on.
    pub(crate) fn has_left_some(&self) -> bool {
        let group = self.answer.as_ref().and_then(|answer| answer.process_group);
        group.is_none_or(is_group_there)
    }

    /// Whether something is left in the process group that the worker says the atom had.
    pub(crate) fn has_left_group(&self) -> bool {
        let group = self.answer.as_ref().and_then(|answer| answer.process_group);
        group.is_some_and(is_group_there)
    }

    /// The limit that it has hit with its atom, since the last time this was asked.
    pub(crate) fn hit(&mut self) -> Option<LimitHit> {
        self.process.enclosure.as_mut()?.hit()
    }

    /// What the atom used, if the worker says so.
    pub(crate) fn used(&self) -> Option<Usage> {
        let (max_memory_kib, cpu) = self.answer.as_ref()?.used()?;
        Some(Usage {
            max_memory_kib,
            cpu,
        })
    }

    /// The worker, once the atom has ended.
    pub(crate) fn into_process(self) -> WorkerProcess {
        self.process
    }
}

fn identity(directory: &Path) -> io::Result<(u64, u64)> {
    let found = directory.metadata()?;
    Ok((found.dev(), found.ino()))
}
