//! Runs the atoms of a subjob one after the other, each in its own fresh artifact directory.

use crate::data_directory::{DataDirectory, make_private, remove_all};
use crate::work::{RunOrder, RunOutcome};
use clusterrunner_common::artifact::{COMMAND_FILE, CONSOLE_FILE, EXIT_CODE_FILE, TIME_FILE};
use clusterrunner_common::command::{CommandError, Ended, ShellCommand};
use clusterrunner_common::ids::AtomId;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Why this slave could not run an atom. Nothing is said about the atom itself.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("could not {step} {}: {source}", .path.display())]
    Files {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("a file operation broke off: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

/// Runs a subjob to its end, or until `stop`.
pub(crate) async fn run(
    data: &DataDirectory,
    order: RunOrder,
    stop: &CancellationToken,
    grace: Duration,
) -> RunOutcome {
    for (atom, command) in (0..).map(AtomId).zip(&order.atomic_commands) {
        if stop.is_cancelled() {
            return RunOutcome::Canceled;
        }
        match run_atom(data, &order, atom, command, stop, grace).await {
            Ok(Some(_)) => {}
            Ok(None) => return RunOutcome::Canceled,
            Err(error) => {
                return RunOutcome::Trouble(format!(
                    "atom {atom} of subjob {} could not be run: {error}",
                    order.hand_out.subjob
                ));
            }
        }
    }
    RunOutcome::Completed
}

/// Runs one atom; `None` when it was stopped.
async fn run_atom(
    data: &DataDirectory,
    order: &RunOrder,
    atom: AtomId,
    command: &str,
    stop: &CancellationToken,
    grace: Duration,
) -> Result<Option<i32>, RunError> {
    let directory = data.artifact_directory(order.hand_out.build, order.hand_out.subjob, atom);
    let console = {
        let directory = directory.clone();
        spawn_blocking(move || fresh_console(&directory)).await??
    };
    let shell_command = ShellCommand {
        command_line: command.to_owned(),
        working_directory: order.project_directory.clone(),
        environment: environment(order, atom, &directory),
        mark: data.hand_out_mark(order.hand_out),
    };
    let started = Instant::now();
    let ended = shell_command.run(console, stop, None, grace).await?;
    let seconds = started.elapsed().as_secs_f64();
    let exit_code = match ended {
        Ended::Exited(_) | Ended::Signaled(_) => ended.exit_code(),
        Ended::Canceled | Ended::TimedOut => None,
    };
    let Some(exit_code) = exit_code else {
        return Ok(None);
    };
    let command = command.to_owned();
    spawn_blocking(move || write_result(&directory, &command, exit_code, seconds)).await??;
    Ok(Some(exit_code))
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
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn files<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> RunError + 'a {
    move |source| RunError::Files {
        step,
        path: path.to_owned(),
        source,
    }
}

/// An empty artifact directory with an empty console file in it.
fn fresh_console(directory: &Path) -> Result<File, RunError> {
    remove_all(directory).map_err(files("empty", directory))?;
    make_private(directory).map_err(files("make", directory))?;
    let console = directory.join(CONSOLE_FILE);
    // Appending: a command may empty the file behind our back and must not leave a hole.
    File::options()
        .append(true)
        .create_new(true)
        .open(&console)
        .map_err(files("make", &console))
}

/// Writes what is known after the end, over whatever the atom put in its place. The exit code
/// comes last: where it is, the atom has ended.
fn write_result(
    directory: &Path,
    command: &str,
    exit_code: i32,
    seconds: f64,
) -> Result<(), RunError> {
    if !directory.is_dir() {
        remove_all(directory).map_err(files("replace", directory))?;
        make_private(directory).map_err(files("make", directory))?;
    }
    let console = directory.join(CONSOLE_FILE);
    if !console
        .symlink_metadata()
        .is_ok_and(|found| found.is_file())
    {
        replace(&console, b"")?;
    }
    replace(
        &directory.join(COMMAND_FILE),
        format!("{command}\n").as_bytes(),
    )?;
    replace(
        &directory.join(TIME_FILE),
        format!("{seconds:.2}\n").as_bytes(),
    )?;
    replace(
        &directory.join(EXIT_CODE_FILE),
        format!("{exit_code}\n").as_bytes(),
    )
}

fn replace(path: &Path, content: &[u8]) -> Result<(), RunError> {
    let write = || {
        let mut file = match File::create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_all(path)?;
                File::create_new(path)?
            }
            other => other?,
        };
        io::Write::write_all(&mut file, content)
    };
    write().map_err(files("write", path))
}
