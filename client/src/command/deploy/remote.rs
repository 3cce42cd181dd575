//! Running one step on a machine: over the system's ssh, or here.
//!
//! What is run is always one of the scripts below. Whatever differs from farm to farm comes to it as
//! an argument, never as a part of its text.

use super::host::Host;
use clusterrunner_common::text::shell::shell_line;
use std::fmt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// How long one step may take; copying over a slow line is the longest.
const STEP_LIMIT: Duration = Duration::from_secs(600);

/// How many lines of what a machine said are shown.
const SHOWN_LINES: usize = 8;

/// What must not wait for a human, or for a machine that is gone. Options that the user gives come
/// between the two lists, since ssh takes the first value that it finds.
const FIRST_OPTIONS: [&str; 1] = ["BatchMode=yes"];
const LAST_OPTIONS: [&str; 3] = [
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
];

/// One step of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The program comes on standard input. Arguments: directory, length.
    CopyProgram,
    /// The settings come on standard input. Arguments: directory, length.
    WriteSettings,
    /// The second settings file comes on standard input; where it is empty there is to be none. Arguments: directory,
    /// length.
    WriteSecondSettings,
    /// A file of a certificate, or its key, comes on standard input; nobody else can read it. Arguments: directory, length,
    /// the directory in that, the name of the file.
    WriteCertificate,
    /// Says with its status whether the directory is that of the settings of whoever deploys. Arguments: directory, the name of
    /// a file that lies beside those.
    FindOwnSettings,
    /// The token with which the slave joins comes on standard input; nobody else can read it. Arguments as for a certificate.
    WriteJoinToken,
    /// Ends what runs there. Arguments: directory.
    Stop,
    /// Starts a daemon that outlives the connection. Arguments: directory, name of the machine, and
    /// the daemon's own.
    Start,
}

impl Step {
    fn script(self) -> &'static str {
        match self {
            Self::CopyProgram => {
                r#"set -eu; umask 077; mkdir -p -- "$1/bin" "$1/log"; cd -- "$1"
new="bin/.clusterrunner.$$"; trap 'rm -f -- "$new"' EXIT; cat > "$new"
test "$(wc -c < "$new")" -eq "$2" || { echo "only a part of it arrived" >&2; exit 1; }
chmod 755 "$new"; mv -f -- "$new" bin/clusterrunner"#
            }
            Self::WriteSettings => {
                r#"set -eu; umask 077; cd -- "$1"
new=".clusterrunner.conf.$$"; trap 'rm -f -- "$new"' EXIT; cat > "$new"
test "$(wc -c < "$new")" -eq "$2" || { echo "only a part of them arrived" >&2; exit 1; }
chmod 600 "$new"; mv -f -- "$new" clusterrunner.conf"#
            }
            Self::WriteSecondSettings => {
                r#"set -eu; umask 077; cd -- "$1"
new=".clusterrunner.conf.$$"; trap 'rm -f -- "$new"' EXIT; cat > "$new"
test "$(wc -c < "$new")" -eq "$2" || { echo "only a part of them arrived" >&2; exit 1; }
chmod 600 "$new"
if test -s "$new"; then mv -f -- "$new" clusterrunner-rust.conf; else rm -f clusterrunner-rust.conf; fi"#
            }
            Self::FindOwnSettings => r#"set -eu; cd -- "$1"; test -e "$2" || exit 3"#,
            Self::WriteCertificate | Self::WriteJoinToken => {
                r#"set -eu; umask 077; cd -- "$1"; mkdir -p -- "$3"; cd -- "$3"
new=".$4.$$"; trap 'rm -f -- "$new"' EXIT; cat > "$new"
test "$(wc -c < "$new")" -eq "$2" || { echo "only a part of it arrived" >&2; exit 1; }
chmod 600 "$new"; mv -f -- "$new" "$4""#
            }
            Self::Stop => {
                r#"set -eu; cd -- "$1"
CLUSTERRUNNER_BASE_DIRECTORY=$(pwd -P); export CLUSTERRUNNER_BASE_DIRECTORY
exec ./bin/clusterrunner stop"#
            }
            // It is watched for a second, so that one that can not start says why.
            Self::Start => {
                r#"set -eu; cd -- "$1"
CLUSTERRUNNER_BASE_DIRECTORY=$(pwd -P); CLUSTERRUNNER_HOSTNAME=$2
export CLUSTERRUNNER_BASE_DIRECTORY CLUSTERRUNNER_HOSTNAME
shift 2; log="log/deployed_$1.log"
session=; if command -v setsid > /dev/null; then session=setsid; fi
nohup $session ./bin/clusterrunner "$@" < /dev/null > "$log" 2>&1 &
for look in 1 2 3 4 5 6 7 8 9 10; do
  sleep 0.1; kill -0 $! 2> /dev/null || { cat -- "$log" >&2; exit 1; }
done"#
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CopyProgram => "copying the program",
            Self::WriteSettings => "writing the settings",
            Self::WriteSecondSettings => "writing the second settings file",
            Self::WriteCertificate => "writing the certificate",
            Self::FindOwnSettings => "looking whose settings are there",
            Self::WriteJoinToken => "writing the join token",
            Self::Stop => "stopping what ran",
            Self::Start => "starting the daemon",
        })
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error("could not start {program}: {source}")]
    Program {
        program: &'static str,
        source: std::io::Error,
    },
    #[error("{step} failed ({status}): {said}")]
    Failed {
        step: Step,
        status: ExitStatus,
        said: String,
    },
    #[error("{step} did not finish within {} s", .after.as_secs())]
    TimedOut { step: Step, after: Duration },
    #[error("{step} broke off: {source}")]
    BrokenOff { step: Step, source: std::io::Error },
}

/// How machines are reached.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    /// `KEY=VALUE` for ssh's `-o`.
    pub(crate) ssh_options: Vec<String>,
}

impl Remote {
    /// Carries out a step on a machine.
    pub(crate) async fn run(
        &self,
        host: &Host,
        step: Step,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<(), StepError> {
        let vector = vector(step.script(), arguments);
        let (program, mut command) = if host.is_local() {
            ("sh", here(&vector))
        } else {
            ("ssh", self.over_ssh(host, &vector))
        };
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.map_err(|source| StepError::Program { program, source })?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // One that ends before it has read all says why on its own.
                stdin.write_all(input).await.ok();
                stdin.shutdown().await.ok();
            }
        };
        let ended = async { tokio::join!(feed, child.wait_with_output()).1 };
        let after = STEP_LIMIT;
        let output = match tokio::time::timeout(after, ended).await {
            Ok(Ok(output)) => output,
            Ok(Err(source)) => return Err(StepError::BrokenOff { step, source }),
            Err(_) => return Err(StepError::TimedOut { step, after }),
        };
        if output.status.success() {
            return Ok(());
        }
        Err(StepError::Failed {
            step,
            status: output.status,
            said: last_lines(&String::from_utf8_lossy(&output.stderr)),
        })
    }

    fn over_ssh(&self, host: &Host, vector: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-T");
        let own = |options: &'static [&str]| options.iter().map(|option| (*option).to_owned());
        let options = own(&FIRST_OPTIONS)
            .chain(self.ssh_options.iter().cloned())
            .chain(own(&LAST_OPTIONS));
        for option in options {
            command.arg("-o").arg(option);
        }
        command
            .args(host.ssh_arguments())
            .arg(shell_line(vector.iter().copied()));
        command
    }
}

/// Runs it where a login by ssh would: in the home directory.
fn here(vector: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(&vector[1..]);
    if let Some(home) = std::env::home_dir() {
        command.current_dir(home);
    }
    command
}

/// `sh -c SCRIPT sh ARGUMENTS...`
fn vector<'a>(script: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    let mut vector = vec!["sh", "-c", script, "sh"];
    vector.extend(arguments);
    vector
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let first = lines.len().saturating_sub(SHOWN_LINES);
    if lines.is_empty() {
        "it said nothing".to_owned()
    } else {
        lines[first..].join("\n    ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_never_asks_and_takes_no_host_for_an_option() {
        let remote = Remote {
            ssh_options: vec!["BatchMode=no".to_owned()],
        };
        let host = "me@there:2222".parse().unwrap();
        let command = remote.over_ssh(&host, &["true"]);
        let arguments: Vec<&str> = command
            .as_std()
            .get_args()
            .map(|argument| argument.to_str().unwrap())
            .collect();
        assert_eq!(
            arguments[..5],
            ["-T", "-o", "BatchMode=yes", "-o", "BatchMode=no"]
        );
        assert!(arguments.ends_with(&["-p", "2222", "--", "me@there", "true"]));
    }
}
