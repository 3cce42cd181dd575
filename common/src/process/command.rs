//! Running one shell command in a process group of its own, and ending all of what it started.

mod marked;
mod running;
mod shell;
mod usage;

pub use marked::{ask_marked, end_marked, end_marked_blocking, groups_of_marked};
pub(crate) use marked::{mark_in, marked};
pub use running::{Heard, RunningCommand};
pub use usage::Usage;

use crate::process::confinement::Confinement;
use crate::process::console::keep_capped;
use crate::process::open_files;
use crate::process::terminal;
use crate::process::variables::BuildVariables;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// The variable of this process's own environment that commands have where a build does not bring its own.
#[must_use]
pub fn inherited_variable(name: &str) -> Option<OsString> {
    shell::inherited_variable(name)
}

/// All such variables.
pub fn inherited_variables() -> impl Iterator<Item = &'static (OsString, OsString)> {
    shell::inherited_variables()
}

/// Whether commands are run by bash.
#[must_use]
pub fn runs_bash() -> bool {
    shell::program().ends_with("bash")
}

/// Kills a process group. To be asked only of a group that is known to be a command's.
pub fn kill_group(group: u32) {
    let group = Pid::from_raw(group.cast_signed());
    signal_group(group.filter(|group| *group != Pid::INIT), Signal::KILL);
}

/// Whether there is any process in a process group.
#[must_use]
pub fn is_group_there(group: u32) -> bool {
    let group = Pid::from_raw(group.cast_signed());
    group.is_none_or(|group| test_kill_process_group(group) != Err(Errno::SRCH))
}

/// Carries a process's mark in its environment, inherited by whatever it starts: so they are all
/// found again, even those that left its group and session.
pub const MARK_VARIABLE: &str = "CLUSTERRUNNER_PROCESS_MARK";

/// A shell command and its surroundings.
#[derive(Clone, Debug)]
pub struct ShellCommand {
    /// What the shell is given.
    pub command_line: String,
    /// The directory in which the command runs.
    pub working_directory: PathBuf,
    /// What the build brings along, in place of this process's own environment or on top of it.
    pub variables: Arc<BuildVariables>,
    /// What is set on top of that.
    pub environment: Vec<(String, OsString)>,
    /// The value of [`MARK_VARIABLE`]. Marks are compared by prefix, so `a:1:` covers `a:1:2`.
    pub mark: String,
    /// How many bytes of its output are to be kept on the disk while it runs: beginning and end of
    /// it, see [`crate::process::console::Capped`]. `None` for all.
    pub max_output: Option<u64>,
    /// How it is kept apart from this machine; `None` for not at all.
    pub confinement: Option<Arc<Confinement>>,
}

/// Where a command writes to.
#[derive(Debug)]
pub struct Streams {
    /// Its standard output.
    pub output: File,
    /// Its standard error; the same as the output where there is none.
    pub errors: Option<File>,
}

/// Standard output and standard error go to one file.
impl From<File> for Streams {
    fn from(output: File) -> Self {
        Self {
            output,
            errors: None,
        }
    }
}

/// A command that runs, with pipes to it and from it.
#[derive(Debug)]
pub struct Piped {
    /// It.
    pub command: RunningCommand,
    /// What is written here is its input.
    pub input: File,
    /// Its output can be read here.
    pub output: File,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Exited(i32),
    /// By this signal, from somewhere else.
    Signaled(i32),
    /// By us, since it ran longer than its limit.
    TimedOut,
    /// By us, since it was asked to stop.
    Canceled,
}

/// Why a command could not be run.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The shell could not be started.
    #[error("could not start {shell} in {}: {source}", .directory.display())]
    Start {
        /// The shell.
        shell: &'static str,
        /// The directory.
        directory: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is too long for an argument, and its script could not be written.
    #[error("could not write the script of a long command: {0}")]
    Script(#[source] std::io::Error),
    /// Its end could not be awaited.
    #[error("could not wait for a command: {0}")]
    Wait(#[source] std::io::Error),
}

impl ShellCommand {
    /// Runs it to its end. Standard input is empty.
    ///
    /// The end of the *shell* is the end of the command: children that it left in the background
    /// go on, as with the original, until [`end_marked`] takes them. When `stop` is canceled or
    /// `limit` is over, the whole group and every process with this mark is asked to end (TERM),
    /// and killed after `grace`.
    ///
    /// # Errors
    /// When the shell can not be started or awaited.
    pub async fn run(
        &self,
        streams: impl Into<Streams>,
        stop: &CancellationToken,
        limit: Option<Duration>,
        grace: Duration,
    ) -> Result<Ended, CommandError> {
        let streams = streams.into();
        let watched = self.max_output.map(|max| (streams.output.try_clone(), max));
        let capped = async move {
            match watched {
                Some((Ok(file), max)) => keep_capped(file, max).await,
                Some((Err(_), _)) | None => std::future::pending().await,
            }
        };
        let mut child = self.start_on_runtime(streams)?;
        let timed_out = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let run = async {
            let ended = tokio::select! {
                biased;
                status = child.wait() => return status.map(ended).map_err(CommandError::Wait),
                () = stop.cancelled() => Ended::Canceled,
                () = timed_out => Ended::TimedOut,
            };
            self.end(&mut child, grace).await?;
            Ok(ended)
        };
        tokio::select! {
            biased;
            ended = run => ended,
            never = capped => match never {},
        }
    }

    /// Starts it, for a thread that waits for it itself. Standard output and error go to `output`. Of `max_output`
    /// nothing is seen to.
    ///
    /// # Errors
    /// When the shell can not be started.
    pub fn start(&self, output: File) -> Result<RunningCommand, CommandError> {
        let started = shell::command(self, output.into())?.spawn();
        let started = started.map_err(|source| self.not_started(source))?;
        open_files::lower_limit_of(started.id());
        RunningCommand::new(started)
    }

    /// Starts another program in the place of the shell, such as the client of a container runtime, which sees to
    /// all that stands in `self`. Its standard input stays as it is.
    ///
    /// # Errors
    /// When it can not be started.
    pub fn start_program(
        &self,
        mut program: std::process::Command,
        output: File,
    ) -> Result<RunningCommand, CommandError> {
        let errors = output.try_clone();
        let errors = errors.map_err(|source| self.not_started(source))?;
        program.stdout(output).stderr(errors);
        terminal::in_own_group(&mut program);
        let started = program.spawn();
        RunningCommand::new(started.map_err(|source| self.not_started(source))?)
    }

    /// Starts it with a pipe to its input and one from its output, neither of which ever blocks who holds it. Its standard
    /// error goes to `errors`. Of `max_output` nothing is seen to.
    ///
    /// # Errors
    /// When the shell can not be started.
    pub fn start_piped(&self, errors: File) -> Result<Piped, CommandError> {
        let not_started = |source| self.not_started(source);
        let output = errors.try_clone().map_err(not_started)?;
        let streams = Streams {
            output,
            errors: Some(errors),
        };
        if self.command_line.len() > shell::LONGEST_ARGUMENT / 2 {
            // What is longer comes by the input.
            return Err(not_started(ErrorKind::ArgumentListTooLong.into()));
        }
        let mut command = shell::command(self, streams)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(not_started)?;
        open_files::lower_limit_of(child.id());
        let pipes = child.stdin.take().zip(child.stdout.take());
        let command = RunningCommand::new(child)?;
        let (input, output) = pipes.ok_or_else(|| not_started(ErrorKind::BrokenPipe.into()))?;
        let (input, output) = (OwnedFd::from(input), OwnedFd::from(output));
        for pipe in [&input, &output] {
            let nonblocking =
                fcntl_getfl(pipe).and_then(|flags| fcntl_setfl(pipe, flags | OFlags::NONBLOCK));
            nonblocking.map_err(|error| not_started(error.into()))?;
        }
        Ok(Piped {
            command,
            input: input.into(),
            output: output.into(),
        })
    }

    fn start_on_runtime(&self, streams: Streams) -> Result<Child, CommandError> {
        let mut command = Command::from(shell::command(self, streams)?);
        let started = command.kill_on_drop(true).spawn();
        let started = started.map_err(|source| self.not_started(source))?;
        if let Some(id) = started.id() {
            open_files::lower_limit_of(id);
        }
        Ok(started)
    }

    fn not_started(&self, source: std::io::Error) -> CommandError {
        CommandError::Start {
            shell: shell::program(),
            directory: self.working_directory.clone(),
            source,
        }
    }

    async fn end(&self, child: &mut Child, grace: Duration) -> Result<(), CommandError> {
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        signal_group(group, Signal::TERM);
        // The shell carries the mark too, so this ends it with all the others.
        end_marked(&self.mark, grace).await;
        // What is left in the group threw its environment away.
        signal_group(group, Signal::KILL);
        child.wait().await.map(|_| ()).map_err(CommandError::Wait)
    }
}

fn signal_group(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // The only failure is that the group is gone, which is what is wanted.
        kill_process_group(group, signal).ok();
    }
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, Some(signal)) => Ended::Signaled(signal),
        (None, None) => Ended::Exited(-1),
    }
}

impl Ended {
    /// The number that the original writes as exit code: the code itself, or `-N` for signal N.
    /// A command that we ended ourselves has none.
    #[must_use]
    pub fn exit_code(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Signaled(signal) => Some(-signal),
            Self::TimedOut | Self::Canceled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::command::marked::signal_marked;
    use crate::process::command::shell::LONGEST_ARGUMENT;

    fn command(line: &str, mark: &str) -> ShellCommand {
        ShellCommand {
            command_line: line.to_owned(),
            working_directory: std::env::temp_dir(),
            variables: Arc::default(),
            environment: vec![("GREETING".to_owned(), "hello".into())],
            mark: format!("{mark}:{}:", std::process::id()),
            max_output: None,
            confinement: None,
        }
    }

    async fn run(command: &ShellCommand, limit: Option<Duration>) -> (Ended, String) {
        let output = tempfile::NamedTempFile::new().unwrap();
        let file = output.reopen().unwrap();
        let stop = CancellationToken::new();
        let grace = Duration::from_millis(200);
        let ended = command.run(file, &stop, limit, grace).await.unwrap();
        (ended, std::fs::read_to_string(output.path()).unwrap())
    }

    #[tokio::test]
    async fn output_exit_code_and_signal_are_told_apart() {
        let (ended, output) =
            run(&command("echo $GREETING; echo oops >&2; exit 3", "a"), None).await;
        assert_eq!(
            (ended, output.as_str()),
            (Ended::Exited(3), "hello\noops\n")
        );
        let (ended, _) = run(&command("kill -9 $$", "a"), None).await;
        assert_eq!(ended, Ended::Signaled(9));
        assert_eq!(ended.exit_code(), Some(-9));
        let (ended, _) = run(&command("false | true", "a"), None).await;
        assert_eq!(
            ended,
            Ended::Exited(1),
            "a pipe fails with any of its parts"
        );
    }

    #[tokio::test]
    async fn a_command_may_be_longer_than_an_argument() {
        let long = "x".repeat(2 * LONGEST_ARGUMENT);
        let line = format!(
            "text='{long}'; echo ${{#text}} $0 $#; cat; ls /dev/fd | wc -w; false | true; echo $?; exit 3"
        );
        let (long_ended, long_output) = run(&command(&line, "l"), None).await;
        let (ended, output) = run(&command(&line.replace(&long, ""), "l"), None).await;
        assert_eq!(long_ended, Ended::Exited(3));
        assert_eq!(ended, long_ended);
        let number = format!("{}", long.len());
        assert_eq!(long_output, output.replacen('0', &number, 1));
    }

    #[tokio::test]
    async fn a_missing_directory_is_an_error_with_its_name() {
        let mut command = command("true", "b");
        command.working_directory = "/nowhere/at/all".into();
        let output = tempfile::tempfile().unwrap();
        let error = command
            .run(output, &CancellationToken::new(), None, Duration::ZERO)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }

    #[tokio::test]
    async fn the_end_reaches_children_that_ignore_it_or_left_the_session() {
        // By itself it would never end.
        let line = "trap '' TERM; setsid bash -c 'trap \"\" TERM; sleep infinity' & \
                    (sleep infinity &) ; sleep infinity & wait; sleep infinity";
        let command = command(line, "c");
        let (ended, _) = run(&command, Some(Duration::from_millis(300))).await;
        assert_eq!(ended, Ended::TimedOut);
        assert_eq!(signal_marked(&command.mark, None), 0);
    }

    #[tokio::test]
    async fn a_background_child_outlives_its_shell_until_it_is_swept() {
        let command = command(
            "sleep 60 & until grep -q sleep /proc/$!/comm; do :; done",
            "d",
        );
        let (ended, _) = run(&command, None).await;
        assert_eq!(ended, Ended::Exited(0));
        assert_eq!(signal_marked(&command.mark, None), 1);
        end_marked(&command.mark, Duration::from_millis(200)).await;
        assert_eq!(signal_marked(&command.mark, None), 0);
    }
}
