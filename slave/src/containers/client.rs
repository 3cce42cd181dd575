//! Running the runtime's program to its end. It may hang, as one does whose daemon hangs; so each call has a limit.

use super::ContainerError;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a short call may take. Removing a container waits for its end.
pub(super) const SHORT: Duration = Duration::from_secs(60);

/// How long moving an image may take.
pub(super) const LONG: Duration = Duration::from_secs(3600);

/// How much of what a call prints is read.
const MOST_OUTPUT: u64 = 1 << 20;

/// How much of it goes into an error.
const MOST_TOLD: usize = 2_000;

/// The longest pause between two looks at whether a call has ended.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What a call printed to standard output. A status other than 0 is an error with what it printed to standard error.
pub(super) fn output(command: &mut Command, limit: Duration) -> Result<String, ContainerError> {
    let (printed, kept) = scratch()?;
    command.stdin(Stdio::null()).stdout(printed);
    let mut call = Call::start(command)?;
    call.finish(limit)?;
    text(kept)
}

/// A call that runs.
#[derive(Debug)]
pub(super) struct Call {
    what: String,
    child: Child,
    errors: File,
    has_ended: bool,
}

impl Call {
    /// Starts it, in a process group of its own: what ends the slave's group by hand ends it by the slave.
    pub(super) fn start(command: &mut Command) -> Result<Self, ContainerError> {
        let (errors, kept) = scratch()?;
        let child = command.stderr(errors).process_group(0).spawn();
        let program = command.get_program();
        let child = child.map_err(|source| ContainerError::Start {
            program: program.into(),
            source,
        })?;
        Ok(Self {
            what: what(command),
            child,
            errors: kept,
            has_ended: false,
        })
    }

    /// Its standard input and output, where they are pipes.
    pub(super) fn pipes(
        &mut self,
    ) -> (
        Option<std::process::ChildStdin>,
        Option<std::process::ChildStdout>,
    ) {
        (self.child.stdin.take(), self.child.stdout.take())
    }

    /// Whether it has ended. Not to be finished afterwards if so.
    pub(super) fn is_over(&mut self) -> bool {
        self.has_ended |= !matches!(self.child.try_wait(), Ok(None));
        self.has_ended
    }

    /// Waits for its end.
    pub(super) fn finish(&mut self, limit: Duration) -> Result<(), ContainerError> {
        self.finish_unless(limit, &|| false)
    }

    /// Waits for its end, or until `stop` says so.
    pub(super) fn finish_unless(
        &mut self,
        limit: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), ContainerError> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let ended = self.child.try_wait();
            let ended = ended.map_err(ContainerError::io("wait for the container runtime"))?;
            if let Some(status) = ended {
                self.has_ended = true;
                return self.judge(status);
            }
            if stop() {
                return Err(ContainerError::Canceled);
            }
            if started.elapsed() > limit {
                return Err(ContainerError::TimedOut {
                    what: self.what.clone(),
                    limit,
                });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn judge(&mut self, status: ExitStatus) -> Result<(), ContainerError> {
        if status.success() {
            return Ok(());
        }
        let errors = self.errors.try_clone().map_err(ContainerError::io(
            "read what the container runtime printed",
        ))?;
        let printed = text(errors)?;
        let printed = printed.trim();
        let skipped = printed.chars().count().saturating_sub(MOST_TOLD);
        let told: String = printed.chars().skip(skipped).collect();
        let how = match status.code() {
            Some(code) => format!("exited with {code}"),
            None => "was killed".to_owned(),
        };
        let output = if told.is_empty() {
            told
        } else {
            format!(": {told}")
        };
        Err(ContainerError::Failed {
            what: self.what.clone(),
            how,
            output,
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.has_ended {
            // Nobody is there to be told.
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// The program and its subcommand, for messages.
fn what(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    let mut words = command
        .get_args()
        .map(|argument| argument.to_string_lossy());
    let subcommand = words.find(|word| !word.starts_with('-'));
    [name, subcommand.unwrap_or_default().into_owned()].join(" ")
}

/// A file in memory to write to, and the same to read from.
pub(super) fn scratch() -> Result<(File, File), ContainerError> {
    let made = memfd_create("clusterrunner-containers", MemfdFlags::CLOEXEC);
    let file = made.map(File::from).map_err(std::io::Error::from);
    let both = file.and_then(|file| Ok((file.try_clone()?, file)));
    both.map_err(ContainerError::io("make a file in memory"))
}

fn text(mut file: File) -> Result<String, ContainerError> {
    let mut bytes = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(MOST_OUTPUT).read_to_end(&mut bytes));
    read.map_err(ContainerError::io(
        "read what the container runtime printed",
    ))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
