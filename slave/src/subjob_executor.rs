//! Runs the atoms of a subjob one after the other, each in its own fresh artifact directory.

use crate::data_directory::{DataDirectory, make_private, remove_all};
use crate::event_log::SubjobEvents;
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
    events: &SubjobEvents,
) -> RunOutcome {
    events.subjob_started();
    let outcome = run_atoms(data, order, stop, grace, events).await;
    events.subjob_finished();
    outcome
}

async fn run_atoms(
    data: &DataDirectory,
    order: RunOrder,
    stop: &CancellationToken,
    grace: Duration,
    events: &SubjobEvents,
) -> RunOutcome {
    for (atom, command) in (0..).map(AtomId).zip(&order.atomic_commands) {
        if stop.is_cancelled() {
            return RunOutcome::Canceled;
        }
        events.atom_started(atom);
        let ended = run_atom(data, &order, atom, command, stop, grace).await;
        events.atom_finished(atom, ended.as_ref().ok().copied().flatten());
        match ended {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::HandOut;
    use clusterrunner_common::command::end_marked;
    use clusterrunner_common::event_log::EventLog;
    use clusterrunner_common::ids::{Attempt, BuildId, ExecutorIndex, SessionId, SubjobId};
    use std::fs::read_to_string;

    const SUBJOB: SubjobId = SubjobId(3);

    struct Scenario {
        base: tempfile::TempDir,
        data: DataDirectory,
        stop: CancellationToken,
    }

    impl Scenario {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            let data = DataDirectory::open(base.path(), 1, SessionId("s".to_owned())).unwrap();
            data.empty().unwrap();
            Self {
                base,
                data,
                stop: CancellationToken::new(),
            }
        }

        fn directory(&self, atom: u32) -> PathBuf {
            self.data
                .artifact_directory(BuildId(1), SUBJOB, AtomId(atom))
        }

        async fn run(&self, atoms: &[&str]) -> RunOutcome {
            let order = RunOrder {
                hand_out: HandOut {
                    build: BuildId(1),
                    subjob: SUBJOB,
                    attempt: Attempt(2),
                },
                executor: ExecutorIndex(1),
                build_executor_index: 11,
                project_directory: self.base.path().to_owned(),
                atomic_commands: atoms.iter().map(|&atom| atom.to_owned()).collect(),
            };
            let events = SubjobEvents::new(EventLog::in_memory(), &order, "a job".to_owned());
            let grace = Duration::from_millis(200);
            run(&self.data, order, &self.stop, grace, &events).await
        }

        /// Runs one atom; its files as text.
        async fn check(&self, atom: &str, console: &[u8], exit_code: i32) {
            assert_eq!(self.run(&[atom]).await, RunOutcome::Completed, "{atom}");
            let directory = self.directory(0);
            let file = |name: &str| read_to_string(directory.join(name)).unwrap();
            assert_eq!(
                std::fs::read(directory.join(CONSOLE_FILE)).unwrap(),
                console,
                "{atom}"
            );
            assert_eq!(file(EXIT_CODE_FILE), format!("{exit_code}\n"), "{atom}");
            assert_eq!(file(COMMAND_FILE), format!("{atom}\n"));
            let time = file(TIME_FILE);
            assert!(time.trim_end().parse::<f64>().unwrap() < 20.0, "{time}");
        }
    }

    #[tokio::test]
    async fn what_an_atom_does_is_written_down() {
        let scenario = Scenario::new();
        scenario.check("exit 42", b"", 42).await;
        scenario.check("kill -9 $$", b"", -9).await;
        scenario
            .check("no_such_command_at_all 2> /dev/null", b"", 127)
            .await;
        scenario.check("false | true", b"", 1).await;
        scenario
            .check("printf 'no newline'", b"no newline", 0)
            .await;
        scenario
            .check("printf '\\x00\\xff\\n'", b"\x00\xff\n", 0)
            .await;
        scenario.check("cat", b"", 0).await;
        let quoted = "export X='a \"b\" $c'; export Y=\"ü\\$d'\"; echo \"$X|$Y\"";
        scenario
            .check(quoted, "a \"b\" $c|ü$d'\n".as_bytes(), 0)
            .await;
        let places = "echo $ATOM_ID $EXECUTOR_INDEX $MACHINE_EXECUTOR_INDEX $BUILD_EXECUTOR_INDEX";
        scenario.check(places, b"0 1 1 11\n", 0).await;
    }

    #[tokio::test]
    async fn each_atom_has_an_empty_artifact_directory() {
        let scenario = Scenario::new();
        let atom = "ls -A $ARTIFACT_DIR; echo x > $ARTIFACT_DIR/x; exit 5";
        assert_eq!(scenario.run(&[atom, atom]).await, RunOutcome::Completed);
        assert_eq!(scenario.run(&[atom, atom]).await, RunOutcome::Completed);
        for index in [0, 1] {
            let console = read_to_string(scenario.directory(index).join(CONSOLE_FILE)).unwrap();
            assert_eq!(console, format!("{CONSOLE_FILE}\n"), "{index}");
        }
    }

    #[tokio::test]
    async fn an_atom_may_do_what_it_likes_to_its_directory() {
        let scenario = Scenario::new();
        let victim = scenario.base.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let links = "cd $ARTIFACT_DIR; for f in command time exit_code; do \
                     ln -s $PROJECT_DIR/victim clusterrunner_$f; done; echo done";
        scenario.check(links, b"done\n", 0).await;
        assert_eq!(read_to_string(&victim).unwrap(), "precious");
        let directories = "mkdir -p $ARTIFACT_DIR/clusterrunner_{command,time,exit_code}/x";
        scenario.check(directories, b"", 0).await;
        scenario.check("rm -r $ARTIFACT_DIR", b"", 0).await;
        scenario
            .check("rm -r $ARTIFACT_DIR; echo > $ARTIFACT_DIR", b"", 0)
            .await;
        scenario
            .check(
                "echo a; : > $ARTIFACT_DIR/clusterrunner_console_output; echo b",
                b"b\n",
                0,
            )
            .await;
    }

    #[tokio::test]
    async fn an_atom_ends_with_its_shell() {
        let scenario = Scenario::new();
        let atom = "sleep 60 & until grep -q sleep /proc/$!/comm; do :; done";
        scenario.check(atom, b"", 0).await;
        end_marked(&scenario.data.mark(), Duration::ZERO).await;
    }

    #[tokio::test]
    async fn a_canceled_subjob_has_no_result_and_leaves_nothing_running() {
        let scenario = Scenario::new();
        let there = scenario.base.path().join("there");
        let atom =
            "setsid bash -c 'trap \"\" TERM; echo $$ > pid; mv pid there; sleep 60' & sleep 60";
        let cancel = async {
            while !there.exists() {
                tokio::task::yield_now().await;
            }
            scenario.stop.cancel();
        };
        let atoms = ["true", atom, "true"];
        let (outcome, ()) = tokio::join!(scenario.run(&atoms), cancel);
        assert_eq!(outcome, RunOutcome::Canceled);
        let child = read_to_string(&there).unwrap();
        // A zombie that nobody has reaped yet has no environment any more.
        let environment = std::fs::read(format!("/proc/{}/environ", child.trim()));
        assert_eq!(environment.unwrap_or_default(), b"");
        assert!(scenario.directory(0).join(EXIT_CODE_FILE).exists());
        assert!(!scenario.directory(1).join(EXIT_CODE_FILE).exists());
        assert!(!scenario.directory(2).exists());
    }

    #[tokio::test]
    async fn what_the_slave_can_not_do_is_no_result() {
        let scenario = Scenario::new();
        std::fs::write(scenario.data.artifacts(BuildId(1)), "in the way").unwrap();
        let outcome = scenario.run(&["true"]).await;
        let RunOutcome::Trouble(reason) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(
            reason.starts_with("atom 0 of subjob 3 could not be run: "),
            "{reason}"
        );
    }
}
