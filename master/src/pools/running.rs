//! Runs one command of a provider to its end: something on its standard input, its output bounded, its time limited.
//!
//! It has the master's own environment, in which tools of clouds find their credentials, but for the master's own settings. What it leaves in the background goes on, since that may be a slave.

use clusterrunner_common::process::command::kill_group;
use clusterrunner_common::text::printable::plain_lines;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// The most that is read of what a command prints: a list of many thousand slaves.
const MOST_OUTPUT: u64 = 8 << 20;

/// How much of its complaint is told: the end of one that is longer.
pub(super) const TOLD: usize = 500;

/// How long its output is waited for once it has ended: a slave that it left in the background may hold it open.
const LATE_OUTPUT: Duration = Duration::from_millis(500);

/// Why a command did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// It could not be started.
    #[error("could not start {program}: {source}")]
    Start {
        /// Its name in messages.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It did not end in time.
    #[error("{program} did not end within {} s", .limit.as_secs())]
    TimedOut {
        /// Which one.
        program: String,
        /// The time that it had.
        limit: Duration,
    },
    /// It ended badly.
    #[error("{program} ended with {status}{}", said(.complaint))]
    Failed {
        /// Which one.
        program: String,
        /// The exit status or the signal that it ended with.
        status: ExitStatus,
        /// The end of what it printed on its standard error.
        complaint: String,
    },
    /// It printed more than any list has.
    #[error("{program} printed more than {MOST_OUTPUT} bytes")]
    TooMuch {
        /// Which one.
        program: String,
    },
}

fn said(complaint: &str) -> String {
    match complaint {
        "" => String::new(),
        complaint => format!(": {complaint}"),
    }
}

/// A command of a provider.
#[derive(Debug)]
pub(super) struct Run<'a> {
    /// How it is called in messages.
    pub(super) program: &'a str,
    /// What runs, with its arguments: nothing secret.
    pub(super) arguments: &'a [&'a OsStr],
    /// Where it runs.
    pub(super) directory: &'a Path,
    /// How long it may take.
    pub(super) limit: Duration,
}

/// Kills the group of a command that is not waited for any more.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            kill_group(group);
        }
    }
}

impl Run<'_> {
    /// Runs it. Returns what it printed.
    pub(super) async fn with_input(&self, input: &[u8]) -> Result<String, RunError> {
        let program = || self.program.to_owned();
        let failed = |source| RunError::Start {
            program: program(),
            source,
        };
        let Some((first, others)) = self.arguments.split_first() else {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        };
        let mut command = Command::new(first);
        command
            .args(others)
            .current_dir(self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // The master's own settings, its secrets and its mark among them: a slave that is started must have none of that.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CLUSTERRUNNER_") || name == "BINDER_API_KEY" {
                command.env_remove(&*name);
            }
        }
        let mut child = command.spawn().map_err(failed)?;
        let mut group = Group(child.id());
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async move {
            if let Some(mut stdin) = stdin {
                // One that reads nothing may end before all is written.
                stdin.write_all(input).await.ok();
                stdin.shutdown().await.ok();
            }
        };
        let (mut output, mut complaint) = (Vec::new(), Vec::new());
        let run = async {
            let reading = async {
                tokio::join!(
                    read(stdout, &mut output),
                    read(stderr, &mut complaint),
                    write
                )
            };
            tokio::pin!(reading);
            tokio::select! {
                biased;
                _ = &mut reading => child.wait().await,
                status = child.wait() => {
                    tokio::time::timeout(LATE_OUTPUT, &mut reading).await.ok();
                    status
                }
            }
        };
        let status = match tokio::time::timeout(self.limit, run).await {
            Ok(status) => status.map_err(failed)?,
            Err(_) => {
                return Err(RunError::TimedOut {
                    program: program(),
                    limit: self.limit,
                });
            }
        };
        group.0 = None;
        if output.len() as u64 > MOST_OUTPUT {
            return Err(RunError::TooMuch { program: program() });
        }
        match status.success() {
            true => Ok(String::from_utf8_lossy(&output).into_owned()),
            false => Err(RunError::Failed {
                program: program(),
                status,
                complaint: end_of(&complaint),
            }),
        }
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>, to: &mut Vec<u8>) {
    if let Some(from) = from {
        // What could be read counts.
        from.take(MOST_OUTPUT + 1).read_to_end(to).await.ok();
    }
}

/// The end of a complaint, in one line.
fn end_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = plain_lines(text.trim()).replace('\n', "; ");
    let start = text.ceil_char_boundary(text.len().saturating_sub(TOLD));
    text.get(start..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(line: &str, input: &[u8]) -> Result<String, RunError> {
        let arguments = ["sh", "-c", line].map(OsStr::new);
        let run = Run {
            program: "it",
            arguments: &arguments,
            directory: Path::new("/"),
            limit: Duration::from_secs(20),
        };
        run.with_input(input).await
    }

    #[tokio::test]
    async fn it_gets_its_input_and_says_how_it_ended() {
        assert_eq!(shell("cat", b"hello").await.unwrap(), "hello");
        assert_eq!(shell("echo x", &[b'x'; 1 << 20]).await.unwrap(), "x\n");
        let said = shell("echo a >&2; echo b >&2; exit 3", b"").await;
        assert_eq!(
            said.unwrap_err().to_string(),
            "it ended with exit status: 3: a; b"
        );
    }

    #[tokio::test]
    async fn what_it_leaves_in_the_background_is_not_waited_for() {
        let printed = shell("echo x; sleep 60 & echo $!", b"").await.unwrap();
        let (_, left) = printed.trim().split_once('\n').unwrap();
        let there = shell(&format!("kill {left}"), b"").await;
        assert!(there.is_ok(), "{there:?}");
    }
}
