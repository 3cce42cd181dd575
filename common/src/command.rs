//! Running one shell command in a process group of its own, and ending all of what it started.

use crate::console::keep_capped;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// Carries a process's mark in its environment, inherited by whatever it starts: so they are all
/// found again, even those that left its group and session.
pub const MARK_VARIABLE: &str = "CLUSTERRUNNER_PROCESS_MARK";

/// How often ended processes are looked for while the grace time runs.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// How long it surely takes a process to replace its program.
const SECOND_LOOK: Duration = Duration::from_millis(5);

/// The longest single argument that Linux gives to a program, less the byte that ends it.
const LONGEST_ARGUMENT: usize = 32 * 4096 - 1;

/// Runs a script that stands in standard input, and gives the script an empty one. It is read
/// anew from its file, so no command finds any of it there.
const SCRIPT_FROM_INPUT: &str = "exec 3<&0 </dev/null; . /dev/fd/3";

/// How often marked processes are looked for and killed; each round gets all there are, so more
/// than a few rounds are needed only by something that forks faster than it can be killed.
const SWEEP_ROUNDS: usize = 50;

/// A shell command and its surroundings.
#[derive(Clone, Debug)]
pub struct ShellCommand {
    /// What the shell is given.
    pub command_line: String,
    /// Where it runs.
    pub working_directory: PathBuf,
    /// What is set on top of this process's own environment.
    pub environment: Vec<(String, OsString)>,
    /// The value of [`MARK_VARIABLE`]. Marks are compared by prefix, so `a:1:` covers `a:1:2`.
    pub mark: String,
    /// How many bytes of its output are to be kept on the disk while it runs: beginning and end of
    /// it, see [`crate::console::Capped`]. `None` for all.
    pub max_output: Option<u64>,
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
        /// Which.
        shell: &'static str,
        /// Where.
        directory: PathBuf,
        /// Why.
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
    /// Runs it to its end. Standard output and error go to `output`, standard input is empty.
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
        output: File,
        stop: &CancellationToken,
        limit: Option<Duration>,
        grace: Duration,
    ) -> Result<Ended, CommandError> {
        let watched = self.max_output.map(|max| (output.try_clone(), max));
        let capped = async move {
            match watched {
                Some((Ok(file), max)) => keep_capped(file, max).await,
                Some((Err(_), _)) | None => std::future::pending().await,
            }
        };
        let mut child = self.start(output)?;
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

    fn start(&self, output: File) -> Result<Child, CommandError> {
        let (shell, line) = if Path::new("/bin/bash").exists() {
            (
                "/bin/bash",
                format!("set -o pipefail; {}", self.command_line),
            )
        } else {
            ("/bin/sh", self.command_line.clone())
        };
        let (line, input) = if line.len() > LONGEST_ARGUMENT {
            let script = script(&line).map_err(CommandError::Script)?;
            (SCRIPT_FROM_INPUT.to_owned(), Stdio::from(script))
        } else {
            (line, Stdio::null())
        };
        let failed = |source| CommandError::Start {
            shell,
            directory: self.working_directory.clone(),
            source,
        };
        let errors = output.try_clone().map_err(failed)?;
        let mut command = Command::new(shell);
        command
            .arg("-c")
            .arg(line)
            .current_dir(&self.working_directory)
            .stdin(input)
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            // Our own settings, the secret among them, are not the commands' business.
            if name.to_string_lossy().starts_with("CLUSTERRUNNER_") {
                command.env_remove(name);
            }
        }
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(MARK_VARIABLE, &self.mark);
        command.spawn().map_err(failed)
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

/// A nameless file that closes its own descriptor first, so that no command inherits it.
fn script(line: &str) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(b"exec 3<&-\n")?;
    file.write_all(line.as_bytes())?;
    file.write_all(b"\n")?;
    Ok(file)
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

/// Ends every process whose mark begins with `prefix`: asks (TERM), waits for at most `grace`, then
/// kills. Returns when none is left.
pub async fn end_marked(prefix: &str, grace: Duration) {
    if signal_all(prefix, Some(Signal::TERM)).await == 0 {
        return;
    }
    let gone = async {
        while signal_all(prefix, None).await > 0 {
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    };
    if tokio::time::timeout(grace, gone).await.is_ok() {
        return;
    }
    for _ in 0..SWEEP_ROUNDS {
        if signal_all(prefix, Some(Signal::KILL)).await == 0 {
            return;
        }
        tokio::time::sleep(SWEEP_INTERVAL).await;
    }
    tracing::warn!(mark = prefix, "some processes could not be killed");
}

/// Signals all marked processes; says how many there were. None found is believed the second time
/// only: a process shows no environment in the moment in which it replaces its program.
async fn signal_all(prefix: &str, signal: Option<Signal>) -> usize {
    for pause in [SECOND_LOOK, Duration::ZERO] {
        let prefix = prefix.to_owned();
        let swept = tokio::task::spawn_blocking(move || signal_marked(&prefix, signal)).await;
        match swept {
            Ok(0) => tokio::time::sleep(pause).await,
            Ok(found) => return found,
            Err(_) => return 0,
        }
    }
    0
}

/// Signals every process whose mark begins with `prefix`; says how many there are.
fn signal_marked(prefix: &str, signal: Option<Signal>) -> usize {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let wanted = format!("{MARK_VARIABLE}={prefix}");
    let own = std::process::id();
    let mut found = 0;
    for process in processes.flatten() {
        let id = process.file_name().to_string_lossy().parse::<u32>().ok();
        let Some(id) = id.filter(|id| *id != own) else {
            continue;
        };
        if !carries(&process.path(), &wanted) {
            continue;
        }
        // The handle pins the process; the second look makes sure that it is still the same one.
        let Some(pid) = Pid::from_raw(id.cast_signed()) else {
            continue;
        };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        if !carries(&process.path(), &wanted) {
            continue;
        }
        found += 1;
        if let Some(signal) = signal {
            pidfd_send_signal(&handle, signal).ok();
        }
    }
    found
}

/// For each of these beginnings of marks: whether a process carries one. None found is to be
/// believed the second time only. Blocks.
pub(crate) fn marked(prefixes: &[String]) -> Vec<bool> {
    let mut found = vec![false; prefixes.len()];
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return found;
    };
    let variable = format!("{MARK_VARIABLE}=");
    let mut environment = Vec::new();
    for process in processes.flatten() {
        let name = process.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        environment.clear();
        // One that has ended meanwhile carries nothing.
        let read = File::open(process.path().join("environ"))
            .and_then(|mut file| file.read_to_end(&mut environment));
        if read.is_err() {
            continue;
        }
        for entry in environment.split(|byte| *byte == 0) {
            let Some(mark) = entry.strip_prefix(variable.as_bytes()) else {
                continue;
            };
            for (found, prefix) in found.iter_mut().zip(prefixes) {
                *found |= mark.starts_with(prefix.as_bytes());
            }
        }
    }
    found
}

/// Whether the environment of a process holds the mark. A zombie's is empty, so it does not count.
fn carries(process: &Path, wanted: &str) -> bool {
    std::fs::read(process.join("environ")).is_ok_and(|environment| {
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry.starts_with(wanted.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn command(line: &str, mark: &str) -> ShellCommand {
        ShellCommand {
            command_line: line.to_owned(),
            working_directory: std::env::temp_dir(),
            environment: vec![("GREETING".to_owned(), "hello".into())],
            mark: format!("{mark}:{}:", std::process::id()),
            max_output: None,
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
        let started = Instant::now();
        let line = "trap '' TERM; setsid bash -c 'trap \"\" TERM; sleep 60' & \
                    (sleep 60 &) ; sleep 60 & wait; sleep 60";
        let command = command(line, "c");
        let (ended, _) = run(&command, Some(Duration::from_millis(300))).await;
        assert_eq!(ended, Ended::TimedOut);
        assert_eq!(signal_marked(&command.mark, None), 0);
        assert!(started.elapsed() < Duration::from_secs(20));
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
