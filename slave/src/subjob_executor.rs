//! Runs the atoms of a subjob one after the other, each in its own fresh artifact directory.

use crate::atom_files::{AtomFileError, fresh_console, write_result};
use crate::data_directory::DataDirectory;
use crate::event_log::SubjobEvents;
use crate::work::{AtomConsole, AtomEnd, RunOrder, RunOutcome};
use clusterrunner_common::api::TIMED_OUT_EXIT_CODE;
use clusterrunner_common::artifact::{CONSOLE_FILE, EXIT_CODE_FILE};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::command::{CommandError, Ended, ShellCommand, end_marked};
use clusterrunner_common::disk_space::{DiskSpace, ShortOfSpace};
use clusterrunner_common::ids::AtomId;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the space that is left is looked at while an atom runs.
const SPACE_LOOK: Duration = Duration::from_millis(100);

/// Consoles up to this many bytes are kept in memory when their atom has ended.
const IN_MEMORY: u64 = 64 << 10;

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
    #[error("a file operation broke off: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

/// What holds for every command that is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Time between asking a process to end and killing it.
    pub(crate) kill_grace: Duration,
    /// How many bytes of a console are kept; `None` for all.
    pub(crate) max_console_size: Option<u64>,
}

/// Runs a subjob to its end, or until `stop`.
pub(crate) async fn run(
    data: &DataDirectory,
    space: &DiskSpace,
    order: RunOrder,
    stop: &CancellationToken,
    limits: Limits,
    events: &SubjobEvents,
) -> RunOutcome {
    events.subjob_started();
    let outcome = run_atoms(data, space, order, stop, limits, events).await;
    events.subjob_finished();
    outcome
}

async fn run_atoms(
    data: &DataDirectory,
    space: &DiskSpace,
    order: RunOrder,
    stop: &CancellationToken,
    limits: Limits,
    events: &SubjobEvents,
) -> RunOutcome {
    let mut atoms = Vec::new();
    for (atom, command) in (0..).map(AtomId).zip(&order.atomic_commands) {
        if stop.is_cancelled() {
            return RunOutcome::Canceled;
        }
        events.atom_started(atom);
        let ended = run_atom(data, space, &order, atom, command, stop, limits).await;
        let end = ended.as_ref().ok().and_then(Option::as_ref);
        events.atom_finished(atom, end.map(|end| end.exit_code));
        match ended {
            Ok(Some(end)) => atoms.push(end),
            Ok(None) => {
                // Also what earlier atoms of it left in the background.
                end_marked(&data.hand_out_mark(order.hand_out), limits.kill_grace).await;
                return RunOutcome::Canceled;
            }
            Err(error) => {
                return RunOutcome::Trouble(format!(
                    "atom {atom} of subjob {} could not be run: {error}",
                    order.hand_out.subjob
                ));
            }
        }
    }
    RunOutcome::Completed(atoms)
}

/// Runs one atom; `None` when it was stopped.
async fn run_atom(
    data: &DataDirectory,
    space: &DiskSpace,
    order: &RunOrder,
    atom: AtomId,
    command: &str,
    stop: &CancellationToken,
    limits: Limits,
) -> Result<Option<AtomEnd>, RunError> {
    let directory = data.artifact_directory(order.hand_out.build, order.hand_out.subjob, atom);
    let console = {
        let directory = directory.clone();
        spawn_blocking(move || fresh_console(&directory)).await??
    };
    let shell_command = ShellCommand {
        command_line: command.to_owned(),
        working_directory: order.project_directory.clone(),
        environment: environment(order, atom, &directory),
        // Of its own: that it runs too long is no matter of the atoms before it.
        mark: format!("{}{atom}:", data.hand_out_mark(order.hand_out)),
        max_output: limits.max_console_size,
    };
    let started = Instant::now();
    let running = shell_command.run(console, stop, order.timeout, limits.kill_grace);
    let (ended, was_used_up) = watched(running, space).await;
    let ended = ended?;
    let took = started.elapsed();
    let (exit_code, timed_out) = match ended {
        Ended::Exited(code) => (code, None),
        Ended::Signaled(signal) => (-signal, None),
        Ended::TimedOut => (TIMED_OUT_EXIT_CODE, order.timeout),
        Ended::Canceled => return Ok(None),
    };
    let end = AtomEnd {
        command: command.to_owned(),
        exit_code,
        took,
        ended_at: Timestamp::now().0 / 1000,
        timed_out,
        console: AtomConsole::File(directory.join(CONSOLE_FILE)),
        artifacts: Some(directory.clone()),
    };
    if was_used_up {
        return Err(RunError::DiskUsedUp);
    }
    if exit_code != 0 {
        space.check(0)?;
    }
    let max = limits.max_console_size;
    let write = move || write_result(&directory, &end, max).map(|()| taken_up(end, &directory));
    Ok(Some(spawn_blocking(write).await??))
}

/// A console that is small goes to memory, and a directory in which there is nothing but our own files
/// is none of artifacts.
fn taken_up(mut end: AtomEnd, directory: &Path) -> AtomEnd {
    let ours = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        name == CONSOLE_FILE || name == EXIT_CODE_FILE
    };
    let left = std::fs::read_dir(directory)
        .map(|mut entries| entries.any(|entry| !entry.as_ref().is_ok_and(ours)));
    if !left.unwrap_or(true) {
        end.artifacts = None;
    }
    if let AtomConsole::File(path) = &end.console
        && path
            .symlink_metadata()
            .is_ok_and(|found| found.len() <= IN_MEMORY)
        && let Ok(text) = std::fs::read(path)
    {
        end.console = AtomConsole::Memory(text);
    }
    end
}

/// What comes of a command, and whether the disk was seen without any space while it ran.
async fn watched<T>(running: impl Future<Output = T>, space: &DiskSpace) -> (T, bool) {
    let mut was_used_up = false;
    tokio::pin!(running);
    loop {
        tokio::select! {
            ended = &mut running => return (ended, was_used_up || space.is_used_up()),
            () = tokio::time::sleep(SPACE_LOOK) => was_used_up |= space.is_used_up(),
        }
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
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::HandOut;
    use clusterrunner_common::event_log::EventLog;
    use clusterrunner_common::ids::{Attempt, BuildId, ExecutorIndex, SessionId, SubjobId};
    use std::fs::read_to_string;
    use std::path::PathBuf;

    const SUBJOB: SubjobId = SubjobId(3);
    const MAX_CONSOLE: u64 = 64 << 10;

    struct Scenario {
        base: tempfile::TempDir,
        data: DataDirectory,
        space: DiskSpace,
        stop: CancellationToken,
    }

    impl Scenario {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            let data = DataDirectory::open(base.path(), 1, SessionId("s".to_owned())).unwrap();
            data.empty().unwrap();
            Self {
                space: DiskSpace::new(base.path(), 0),
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
            self.run_within(atoms, None).await
        }

        async fn run_within(&self, atoms: &[&str], timeout: Option<Duration>) -> RunOutcome {
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
                timeout,
            };
            let limits = Limits {
                kill_grace: Duration::from_millis(200),
                max_console_size: Some(MAX_CONSOLE),
            };
            let (data, space, stop) = (&self.data, &self.space, &self.stop);
            let events = SubjobEvents::new(EventLog::in_memory(), &order, "a job".to_owned());
            run(data, space, order, stop, limits, &events).await
        }

        /// What a failed atom means on a disk that is nearly full.
        async fn check_without_space(&mut self) {
            self.space = DiskSpace::new(self.base.path(), u64::MAX);
            ends(self.run(&["exit 0"]).await);
            match self.run(&["exit 1"]).await {
                RunOutcome::Trouble(why) => assert!(why.contains("min_free_space"), "{why}"),
                other => panic!("{other:?}"),
            }
        }

        /// Runs one atom; its files as text.
        async fn check(&self, atom: &str, console: &[u8], exit_code: i32) {
            let end = ends(self.run(&[atom]).await).remove(0);
            let directory = self.directory(0);
            let file = |name: &str| read_to_string(directory.join(name)).unwrap();
            assert_eq!(
                std::fs::read(directory.join(CONSOLE_FILE)).unwrap(),
                console,
                "{atom}"
            );
            assert_eq!(file(EXIT_CODE_FILE), format!("{exit_code}\n"), "{atom}");
            assert_eq!((end.exit_code, end.command.as_str()), (exit_code, atom));
            assert!(end.took.as_secs() < 20, "{end:?}");
        }
    }

    /// How the atoms of a subjob ended that was not stopped.
    fn ends(outcome: RunOutcome) -> Vec<AtomEnd> {
        match outcome {
            RunOutcome::Completed(ends) => ends,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_failure_without_space_is_not_the_atoms() {
        Scenario::new().check_without_space().await;
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
        ends(scenario.run(&[atom, atom]).await);
        ends(scenario.run(&[atom, atom]).await);
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
    async fn an_atom_that_hangs_is_ended_with_all_that_it_started() {
        let scenario = Scenario::new();
        let hanging =
            "printf begun; setsid bash -c 'trap \"\" TERM; sleep 60' & (sleep 60 &); sleep 60";
        let atoms = ["sleep 61 & echo a", hanging, "echo c"];
        let limit = Duration::from_secs(1);
        let outcome = scenario.run_within(&atoms, Some(limit)).await;
        let timed_out: Vec<_> = ends(outcome).iter().map(|end| end.timed_out).collect();
        assert_eq!(timed_out, [None, Some(limit), None]);
        let file = |atom, name| read_to_string(scenario.directory(atom).join(name)).unwrap();
        assert_eq!(file(1, EXIT_CODE_FILE), "124\n");
        assert_eq!(
            file(1, CONSOLE_FILE),
            "begun\nclusterrunner: timed out after 1 s\n"
        );
        assert_eq!(file(2, CONSOLE_FILE), "c\n");
        // What the first atom left in the background is its own matter, until the build ends.
        let mark = scenario.data.mark();
        let marked = |process: std::fs::DirEntry| {
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&mark)
        };
        let processes = std::fs::read_dir("/proc").unwrap();
        let left = processes.flatten().map(marked);
        assert_eq!(left.filter(|is_marked| *is_marked).count(), 1);
        end_marked(&mark, Duration::ZERO).await;
    }

    #[tokio::test]
    async fn an_atom_that_locks_its_console_is_told_all_the_same() {
        let scenario = Scenario::new();
        let atom = "chmod 000 $ARTIFACT_DIR/clusterrunner_console_output; sleep 60";
        scenario
            .run_within(&[atom], Some(Duration::from_secs(1)))
            .await;
        let console = scenario.directory(0).join(CONSOLE_FILE);
        let metadata = console.symlink_metadata().unwrap();
        assert_eq!(
            metadata.len(),
            "clusterrunner: timed out after 1 s\n".len() as u64
        );
    }

    #[tokio::test]
    async fn of_a_flood_the_ends_are_kept() {
        let scenario = Scenario::new();
        let atom = "echo first; yes | head -c 20000000; echo last";
        ends(scenario.run(&[atom]).await);
        let console = read_to_string(scenario.directory(0).join(CONSOLE_FILE)).unwrap();
        assert!(console.starts_with("first\ny\n"), "{}", &console[..20]);
        assert!(console.ends_with("y\nlast\n"));
        assert!(console.contains(" bytes of output were dropped here"));
        let length = console.len() as u64;
        assert!(length < MAX_CONSOLE + 200, "{length}");
    }

    #[tokio::test]
    async fn an_atom_may_be_longer_than_an_argument() {
        let scenario = Scenario::new();
        let atom = format!("text={}; echo ${{#text}}", "x".repeat(300_000));
        scenario.check(&atom, b"300000\n", 0).await;
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
