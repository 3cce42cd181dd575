//! The workers of an executor: processes that are started once for a build and take one atom after the other over a pipe.
//! `docs/workers.md` describes what goes through the pipes; what is decided about workers is in [`crate::work::workers`].

use crate::data_directory::{DataDirectory, make_private, remove_all};
use crate::work::workers::errand::{Errand, Place, Request, Start, shell_worker};
use crate::work::workers::protocol::{self, Answer, LONGEST_ANSWER, Lines};
use crate::work::workers::python::{command_line, python_of_script};
use crate::work::workers::{Broken, Trust};
use clusterrunner_common::ids::{BuildId, ExecutorIndex};
use clusterrunner_common::process::command::{
    CommandError, Ended, Heard, Piped, RunningCommand, ShellCommand, Usage, end_marked_blocking,
    is_group_there,
};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many builds an executor has workers of at a time: builds that share it take turns.
const MOST_BUILDS: usize = 4;

/// How much a worker may print beside its answers before that is thrown away.
const MOST_SAID: u64 = 1 << 20;

/// How much of that is read where the worker broke.
const MOST_READ: u64 = 16 << 10;

/// How often a worker that begins is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How much of a script is read that names its Python.
const FIRST_LINE: u64 = 512;

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
        if self.builds.len() >= MOST_BUILDS {
            self.builds.remove(0);
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
        if !idle.is_ready(directory) {
            idle.end_all();
            return Ok(None);
        }
        if idle.start != *start {
            self.of(build).idle = Some(idle);
            return Err(OtherStart);
        }
        Ok(Some(idle))
    }

    /// Takes back a worker that has answered.
    pub(crate) fn put_back(&mut self, build: BuildId, process: WorkerProcess) {
        let of_build = self.of(build);
        of_build.trust.answered();
        of_build.idle = Some(process);
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

#[derive(Debug)]
struct Paths {
    said: PathBuf,
    request: PathBuf,
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
    start: Start,
    command: RunningCommand,
    input: File,
    output: File,
    lines: Lines,
    mark: String,
    /// What it prints beside its answers.
    said: File,
    /// Where it finds texts, if it gets any.
    request: Option<File>,
    _paths: Paths,
    /// Device and inode of the directory that it was started in.
    directory: (u64, u64),
    last_id: u64,
}

impl WorkerProcess {
    fn start(
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
        let said = make(&paths.said).map_err(files)?;
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
                command_line(python, module, script.as_ref())
            }
            Start::Command(line) => line.clone(),
        };
        command.mark.clone_from(&mark);
        let directory = identity(&command.working_directory).map_err(|error| error.to_string())?;
        let errors = said.try_clone().map_err(files)?;
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
            directory,
            last_id: 0,
        })
    }

    fn hear_hello(
        &mut self,
        limit: Duration,
        is_to_stop: &dyn Fn() -> bool,
    ) -> Result<bool, Broken> {
        let began = Instant::now();
        loop {
            let left = limit.saturating_sub(began.elapsed());
            let heard = self.hear(left.min(LOOK)).map_err(|broken| match broken {
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

    /// A line, if it comes soon.
    fn hear(&mut self, at_most: Duration) -> Result<Option<Vec<u8>>, Broken> {
        let heard = self.command.wait_for_output(&self.output, at_most);
        let Heard { output, ended } = heard.map_err(|_| Broken::Ended)?;
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

    /// Whether it waits for an atom, in the directory that is there.
    fn is_ready(&self, directory: &Path) -> bool {
        let quiet = Heard {
            output: false,
            ended: false,
        };
        let heard = self.command.wait_for_output(&self.output, Duration::ZERO);
        heard.is_ok_and(|heard| heard == quiet)
            && self.lines.is_empty()
            && identity(directory).is_ok_and(|found| found == self.directory)
    }

    /// The number of the next atom.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id + 1
    }

    /// Gives it an atom.
    fn give(&mut self, errand: &Errand, place: Place<'_>) -> Result<(), Broken> {
        if self
            .said
            .metadata()
            .is_ok_and(|found| found.len() > MOST_SAID)
        {
            self.said.set_len(0).ok();
        }
        self.last_id = place.id;
        let line = match errand.request(place) {
            None => return Err(Broken::Deaf),
            Some(Request::Line(line)) => line,
            Some(Request::Text(text, line)) => {
                let Some(file) = &self.request else {
                    return Err(Broken::Deaf);
                };
                let written = file.set_len(0).and_then(|()| file.write_all_at(&text, 0));
                written.map_err(|_| Broken::Deaf)?;
                line
            }
        };
        // It never blocks: what does not fit is not taken.
        self.input.write_all(&line).map_err(|_| Broken::Deaf)
    }

    /// What it printed last beside its answers.
    fn said(&self) -> String {
        let length = self.said.metadata().map_or(0, |found| found.len());
        let from = length.saturating_sub(MOST_READ);
        let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(0)];
        match self.said.read_exact_at(&mut bytes, from) {
            Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => String::new(),
        }
    }

    /// Kills it with all that it started and that has not become another program.
    fn end_all(mut self) {
        if let Err(error) = self.command.kill(&self.mark) {
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
}

impl WorkerRun {
    /// Gives an atom to a worker.
    pub(crate) fn begin(
        mut process: WorkerProcess,
        errand: &Errand,
        place: Place<'_>,
    ) -> Result<Self, (Broken, String)> {
        match process.give(errand, place) {
            Ok(()) => Ok(Self {
                process,
                id: place.id,
                answer: None,
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
        let Some(line) = self.process.hear(at_most)? else {
            return Ok(None);
        };
        let answer = self.answer.insert(protocol::answer(&line, self.id)?);
        if !self.process.lines.is_empty() {
            return Err(Broken::Twice);
        }
        Ok(Some(Ended::Exited(answer.exit_code.into())))
    }

    /// Ends the worker with its atom: asks first, and kills after `grace`. `mark` is the atom's. Blocks.
    pub(crate) fn end(&mut self, mark: &str, grace: Duration) -> Result<(), CommandError> {
        let ended = self.process.command.end(&self.process.mark, grace);
        end_marked_blocking(mark, grace);
        ended
    }

    /// What the worker printed last beside its answers.
    pub(crate) fn said(&self) -> String {
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

/// The path of a script as a shell finds it, and the Python in its first line.
fn script_of(
    command: &ShellCommand,
    program: &str,
    directory: Option<&str>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, String), String> {
    let directory = command.working_directory.join(directory.unwrap_or(""));
    let found = if program.contains('/') {
        Some(directory.join(program))
    } else {
        let path = environment("PATH").unwrap_or_default();
        let mut places = path
            .split(':')
            .map(|place| directory.join(place).join(program));
        places.find(|place| place.is_file())
    };
    let script = found.ok_or_else(|| format!("there is no {program}"))?;
    let mut first = String::new();
    let opened = File::open(&script);
    let read = opened.and_then(|file| BufReader::new(file.take(FIRST_LINE)).read_line(&mut first));
    read.map_err(|error| format!("{}: {error}", script.display()))?;
    let python = python_of_script(first.trim_end())
        .ok_or_else(|| format!("the first line of {} names no Python", script.display()))?;
    let script = script.to_str().ok_or("its script has an odd name")?;
    Ok((script.to_owned(), python.to_owned()))
}
