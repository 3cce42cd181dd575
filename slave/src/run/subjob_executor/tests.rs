use super::*;
use crate::run::consoles::FoundConsole;
use crate::work::{AtomConsole, HandOut};
use clusterrunner_common::ids::{Attempt, BuildId, SessionId, SubjobId};
use clusterrunner_common::logs::event_log::EventLog;
use clusterrunner_common::work::{Isolation, Worker};
use std::fs::read_to_string;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

const MAX_CONSOLE: u64 = 64 << 10;
const BUILD: BuildId = BuildId(1);
const SUBJOB: SubjobId = SubjobId(3);

mod batches;
mod workers;

struct Scenario {
    base: tempfile::TempDir,
    means: Means,
    stop: CancellationToken,
    executor: SubjobExecutor,
    worker: Option<Arc<Worker>>,
    isolation: Isolation,
}

impl Scenario {
    fn new() -> Self {
        Self::with(0, Some(MAX_CONSOLE))
    }

    fn with(min_free_space: u64, max_console_size: Option<u64>) -> Self {
        let base = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(base.path(), 1, SessionId("s".to_owned())).unwrap();
        data.empty().unwrap();
        let data = Arc::new(data);
        let means = Means {
            isolator: Arc::new(Isolator::idle(Arc::clone(&data))),
            data,
            space: DiskSpace::new(base.path(), min_free_space),
            limits: Limits {
                kill_grace: Duration::from_millis(200),
                max_console_size,
            },
            consoles: Arc::default(),
            containers: Arc::default(),
        };
        Self {
            base,
            executor: SubjobExecutor::new(ExecutorIndex(1), means.clone(), Arc::default()),
            means,
            stop: CancellationToken::new(),
            worker: None,
            isolation: Isolation::default(),
        }
    }

    fn run(&mut self, atoms: &[&str]) -> RunOutcome {
        self.run_within(atoms, None)
    }

    fn run_within(&mut self, atoms: &[&str], timeout: Option<Duration>) -> RunOutcome {
        self.run_as(None, atoms, timeout)
    }

    fn run_as(
        &mut self,
        hunt: Option<Attempt>,
        atoms: &[&str],
        timeout: Option<Duration>,
    ) -> RunOutcome {
        let order = RunOrder {
            hunt,
            timeout,
            ..self.order(atoms)
        };
        let events = SubjobEvents::new(EventLog::in_memory(), &order, "a job".to_owned());
        self.executor.run(order, &self.stop, &events)
    }

    fn order(&self, atoms: &[&str]) -> RunOrder {
        RunOrder {
            hunt: None,
            hand_out: HandOut {
                build: BUILD,
                subjob: SUBJOB,
                attempt: Attempt(2),
            },
            executor: ExecutorIndex(1),
            build_executor_index: 11,
            project_directory: self.base.path().to_owned(),
            variables: Arc::default(),
            atomic_commands: atoms.iter().map(|&atom| atom.to_owned()).collect(),
            timeout: None,
            batch: None,
            head: None,
            image: None,
            junit: Arc::default(),
            worker: self.worker.clone(),
            isolation: self.isolation,
        }
    }

    /// What the one file is that an atom may print to.
    fn consoles(&self) -> Vec<PathBuf> {
        let consoles = self.means.data.path().join("consoles").read_dir().unwrap();
        consoles.map(|entry| entry.unwrap().path()).collect()
    }

    /// Runs one atom; its console and exit code.
    fn check(&mut self, atom: &str, console: &[u8], exit_code: i32) -> AtomEnd {
        let end = ends(self.run(&[atom])).remove(0);
        assert_eq!(console_of(&end), console, "{atom}");
        assert_eq!((end.exit_code, end.command.as_str()), (exit_code, atom));
        assert!(end.took.as_secs() < 20, "{end:?}");
        end
    }

    /// How many processes of it there are. A zombie has no environment any more.
    fn marked(&self) -> usize {
        let mark = self.means.data.mark();
        let marked = |process: &std::fs::DirEntry| {
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&mark)
        };
        let processes = std::fs::read_dir("/proc").unwrap();
        processes.flatten().filter(marked).count()
    }
}

/// Also where the test fails.
impl Drop for Scenario {
    fn drop(&mut self) {
        end_marked_blocking(&self.means.data.mark(), Duration::ZERO);
    }
}

/// How the atoms of a subjob ended that was not stopped.
fn ends(outcome: RunOutcome) -> Vec<AtomEnd> {
    match outcome {
        RunOutcome::Completed(ends) => ends,
        other => panic!("{other:?}"),
    }
}

fn console_of(end: &AtomEnd) -> Vec<u8> {
    match &end.console {
        AtomConsole::Memory(text) => text.clone(),
        AtomConsole::File(path) => std::fs::read(path).unwrap(),
    }
}

fn texts(ends: &[AtomEnd]) -> Vec<String> {
    let text = |end| String::from_utf8(console_of(end)).unwrap();
    ends.iter().map(text).collect()
}

#[test]
fn a_failure_without_space_is_not_the_atoms() {
    let mut scenario = Scenario::with(u64::MAX, None);
    ends(scenario.run(&["exit 0"]));
    match scenario.run(&["exit 1"]) {
        RunOutcome::Trouble(why) => assert!(why.contains("min_free_space"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_an_atom_does_is_told() {
    let mut scenario = Scenario::new();
    scenario.check("exit 42", b"", 42);
    scenario.check("kill -9 $$", b"", -9);
    scenario.check("no_such_command_at_all 2> /dev/null", b"", 127);
    scenario.check("false | true", b"", 1);
    scenario.check("printf 'no newline'", b"no newline", 0);
    scenario.check("printf '\\x00\\xff\\n'", b"\x00\xff\n", 0);
    scenario.check("cat", b"", 0);
    let quoted = "export X='a \"b\" $c'; export Y=\"ü\\$d'\"; echo \"$X|$Y\"";
    scenario.check(quoted, "a \"b\" $c|ü$d'\n".as_bytes(), 0);
    let places = "echo $ATOM_ID $EXECUTOR_INDEX $MACHINE_EXECUTOR_INDEX $BUILD_EXECUTOR_INDEX";
    scenario.check(places, b"0 1 1 11\n", 0);
}

#[test]
fn each_atom_has_an_empty_artifact_directory() {
    let mut scenario = Scenario::new();
    let atom = "ls -A $ARTIFACT_DIR; echo x > $ARTIFACT_DIR/x; exit 5";
    let mut left = Vec::new();
    for _ in 0..2 {
        for end in ends(scenario.run(&[atom, "true", atom])) {
            assert_eq!(console_of(&end), b"");
            left.extend(end.artifacts);
        }
    }
    left.dedup();
    assert_eq!(left.len(), 4);
    assert!(left.iter().all(|left| left.join("x").exists()));
}

#[test]
fn an_atom_may_do_what_it_likes_to_its_directory() {
    let mut scenario = Scenario::new();
    let victim = scenario.base.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    for (atom, is_left) in [
        (
            "cd $ARTIFACT_DIR; for f in command time exit_code; do \
             ln -s $PROJECT_DIR/victim clusterrunner_$f; done",
            true,
        ),
        (
            "mkdir -p $ARTIFACT_DIR/clusterrunner_{command,time,exit_code}/x",
            true,
        ),
        ("rm -r $ARTIFACT_DIR", false),
        ("rm -r $ARTIFACT_DIR; echo > $ARTIFACT_DIR", false),
        ("rm -r $ARTIFACT_DIR; ln -s . $ARTIFACT_DIR", false),
        ("rm -r $(dirname $ARTIFACT_DIR)", false),
        ("chmod 0 $ARTIFACT_DIR", false),
    ] {
        let end = scenario.check(atom, b"", 0);
        assert_eq!(end.artifacts.is_some(), is_left, "{atom}");
        scenario.check("ls -A $ARTIFACT_DIR; test -w $ARTIFACT_DIR", b"", 0);
    }
    assert_eq!(read_to_string(&victim).unwrap(), "precious");
}

#[test]
fn an_atom_may_do_what_it_likes_to_its_console() {
    let mut scenario = Scenario::new();
    for (atom, console) in [
        ("echo a; : > /dev/stdout; echo b > /dev/stderr", "a\nb\n"),
        ("echo a; chmod 000 /dev/stdout; echo b", "a\nb\n"),
        (
            "echo a; rm $ARTIFACT_DIR/../../consoles/*; echo b",
            "a\nb\n",
        ),
        (
            "mv $ARTIFACT_DIR/../../consoles/* $PROJECT_DIR; echo b",
            "b\n",
        ),
        (
            "for f in $ARTIFACT_DIR/../../consoles/*; do rm $f; mkfifo $f; done; echo b",
            "b\n",
        ),
    ] {
        scenario.check(atom, console.as_bytes(), 0);
        scenario.check("echo next", b"next\n", 0);
    }
    let moved = scenario.base.path().join("moved");
    let atom = "echo kept; ln $(ls $ARTIFACT_DIR/../../consoles/* | head -n 1) $PROJECT_DIR/moved";
    scenario.check(atom, b"kept\n", 0);
    scenario.check("echo next", b"next\n", 0);
    assert_eq!(read_to_string(moved).unwrap(), "kept\n");
}

#[test]
fn files_are_used_again_while_nobody_else_has_them() {
    let mut scenario = Scenario::new();
    let tell = "echo $ARTIFACT_DIR";
    let told = texts(&ends(scenario.run(&[tell, tell, tell])));
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
    let console = scenario.consoles();
    // In the background, with the console or without it.
    let begun =
        |then: &str| format!("{tell}; {then} until grep -q sleep /proc/$!/comm; do :; done");
    let with_console = begun("sleep 60 &");
    let without = begun("sleep 60 >/dev/null 2>&1 &");
    let later = texts(&ends(scenario.run(&[&with_console, tell, &without, tell])));
    assert_eq!(later[0], told[0]);
    assert_ne!(later[1], later[0]);
    assert_eq!(later[2], later[1]);
    assert_ne!(later[3], later[2]);
    // No process has the file of the console itself.
    assert_eq!(scenario.consoles(), console);
}

/// As in a terminal, where it is the last to print: `exec > >(tee log)`.
#[test]
fn what_reads_what_an_atom_prints_has_time_to_print_it() {
    let mut scenario = Scenario::new();
    for atom in [
        "exec > >(sleep 0.2; sed s/a/b/); echo a",
        "echo a > >(sleep 0.2; sed s/a/b/)",
        "sleep 60 & echo a > >(sleep 0.2; sed s/a/b/)",
    ] {
        scenario.check(atom, b"b\n", 0);
    }
}

#[test]
fn what_is_left_in_the_background_prints_nowhere_else() {
    let mut scenario = Scenario::new();
    let go = scenario.base.path().join("go");
    let late = "(until test -e $PROJECT_DIR/go; do :; done; echo late; echo > $PROJECT_DIR/done) & echo one";
    scenario.check(late, b"one\n", 0);
    let wait = "touch $PROJECT_DIR/go; until test -e $PROJECT_DIR/done; do :; done; echo two";
    scenario.check(wait, b"two\n", 0);
    assert!(go.exists());
}

#[test]
fn an_atom_that_hangs_is_ended_with_all_that_it_started() {
    let mut scenario = Scenario::new();
    let hanging =
        "printf begun; setsid bash -c 'trap \"\" TERM; sleep 60' & (sleep 60 &); sleep 60";
    let atoms = ["sleep 61 & echo a", hanging, "echo c"];
    let limit = Duration::from_secs(1);
    let ends = ends(scenario.run_within(&atoms, Some(limit)));
    let timed_out: Vec<_> = ends.iter().map(|end| end.timed_out).collect();
    assert_eq!(timed_out, [None, Some(limit), None]);
    assert_eq!(ends[1].exit_code, 124);
    let told = "begun\nclusterrunner: timed out after 1 s\n";
    assert_eq!(texts(&ends), ["a\n", told, "c\n"]);
    // What the first atom left in the background is its own matter, until the build ends.
    assert_eq!(scenario.marked(), 1);
}

#[test]
fn of_a_flood_the_ends_are_kept() {
    for max in [MAX_CONSOLE, 4 * MAX_CONSOLE] {
        let mut scenario = Scenario::with(0, Some(max));
        let atom = "echo first; yes | head -c 20000000; echo last";
        let end = ends(scenario.run(&[atom, "true"])).remove(0);
        let in_memory = matches!(end.console, AtomConsole::Memory(_));
        assert_eq!(in_memory, max == MAX_CONSOLE);
        let console = String::from_utf8(console_of(&end)).unwrap();
        assert!(console.starts_with("first\ny\n"), "{}", &console[..20]);
        assert!(console.ends_with("y\nlast\n"));
        assert!(console.contains(" bytes of output were dropped here"));
        let length = console.len() as u64;
        assert!(length < max + 200, "{length}");
    }
}

#[test]
fn what_an_atom_used_is_measured() {
    let mut scenario = Scenario::new();
    // dd holds the whole block in memory, and takes the time to fill it.
    let large = "dd if=/dev/zero of=/dev/null bs=100M count=1 2> /dev/null; printf 12345";
    let limit = Some(Duration::from_millis(500));
    let ended = ends(scenario.run(&[large])).remove(0).usage;
    let timed_out = ends(scenario.run_within(&["echo x; while :; do :; done"], limit));
    let timed_out = timed_out[0].usage;
    let flood = ends(scenario.run(&["head -c 300000 /dev/zero"]))
        .remove(0)
        .usage;
    let printed = [ended, timed_out, flood].map(|usage| usage.output_bytes);
    assert_eq!(printed, [5, 2, 300_000], "also what is dropped");
    let processes = ended.processes.unwrap();
    assert!(processes.max_memory_bytes() >= 100_000_000, "{processes:?}");
    assert!(processes.cpu_ms > 0, "{processes:?}");
    assert!(timed_out.processes.unwrap().cpu_ms > 0);
}

#[test]
fn a_large_console_is_a_file_of_its_own() {
    let mut scenario = Scenario::with(0, None);
    let atom = "yes | head -c 200001; chmod 0 /dev/stdout; test -z \"$HANG\" || sleep 60";
    let hanging = format!("HANG=1; {atom}");
    let limit = Some(Duration::from_secs(1));
    let ends = ends(scenario.run_within(&[atom, &hanging, "echo next"], limit));
    let texts = texts(&ends);
    let large = "y\n".repeat(100_000) + "y";
    assert!(texts[0] == large);
    assert!(texts[1] == large + "\nclusterrunner: timed out after 1 s\n");
    assert_eq!(texts[2], "next\n");
    assert_eq!(scenario.consoles().len(), 1);
}

#[test]
fn an_atom_may_be_longer_than_an_argument() {
    let mut scenario = Scenario::new();
    let atom = format!("text={}; echo ${{#text}}", "x".repeat(300_000));
    scenario.check(&atom, b"300000\n", 0);
}

#[test]
fn an_atom_ends_with_its_shell() {
    let mut scenario = Scenario::new();
    let atom = "sleep 60 & until grep -q sleep /proc/$!/comm; do :; done";
    scenario.check(atom, b"", 0);
}

#[test]
fn a_canceled_subjob_has_no_result_and_leaves_nothing_running() {
    let mut scenario = Scenario::new();
    let there = scenario.base.path().join("there");
    let atom = "setsid bash -c 'trap \"\" TERM; echo $$ > pid; mv pid there; sleep 60' & \
                echo it runs; sleep 60";
    let consoles = Arc::clone(&scenario.means.consoles);
    let stop = scenario.stop.clone();
    let key = (BUILD, SUBJOB, AtomId(1));
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            let shown = || match consoles.find(key) {
                Some(FoundConsole::Running { file, .. }) => file.metadata().unwrap().len() > 0,
                _ => false,
            };
            while !there.exists() || !shown() {
                std::thread::yield_now();
            }
            stop.cancel();
        });
        scenario.run(&["echo before", atom, "true"])
    });
    assert_eq!(outcome, RunOutcome::Canceled);
    assert_eq!(scenario.marked(), 0);
    assert!(scenario.means.consoles.find(key).is_none());
    assert!(scenario.consoles().is_empty());
}

#[test]
fn a_hunt_that_is_ended_leaves_neither_processes_nor_artifacts() {
    let mut scenario = Scenario::new();
    let there = scenario.base.path().join("there");
    let atom = "trap '' TERM; echo x > $ARTIFACT_DIR/half; touch there; while :; do sleep 60; done";
    let stop = scenario.stop.clone();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !there.exists() {
                std::thread::yield_now();
            }
            stop.cancel();
        });
        scenario.run_as(Some(Attempt(3)), &[atom], None)
    });
    assert_eq!(outcome, RunOutcome::Canceled);
    let of_build = scenario.means.data.artifacts(BUILD);
    let began = Instant::now();
    // On a busy machine a kill may take longer than the executor waits for it.
    while scenario.marked() > 0 {
        assert!(began.elapsed().as_secs() < 60, "its processes stay");
        std::thread::yield_now();
    }
    while of_build.read_dir().unwrap().next().is_some() {
        assert!(began.elapsed().as_secs() < 60, "its files stay");
        std::thread::yield_now();
    }
}

#[test]
fn what_the_slave_can_not_do_is_no_result() {
    let mut scenario = Scenario::new();
    let artifacts = scenario.means.data.path().join("artifacts");
    std::fs::remove_dir(&artifacts).unwrap();
    std::fs::write(artifacts, "in the way").unwrap();
    let outcome = scenario.run(&["true"]);
    let RunOutcome::Trouble(reason) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(
        reason.starts_with("atom 0 of subjob 3 could not be run: "),
        "{reason}"
    );
}

#[test]
fn nothing_is_shown_of_a_hunt() {
    let mut scenario = Scenario::new();
    let (atom, show) = (
        "echo attempt $CLUSTERRUNNER_ATTEMPT",
        (BUILD, SUBJOB, AtomId(0)),
    );
    let hunted = scenario.run_as(Some(Attempt(3)), &[atom], None);
    let RunOutcome::Completed(atoms) = hunted else {
        panic!("{hunted:?}");
    };
    let printed = AtomConsole::Memory(b"attempt 3\n".to_vec());
    assert_eq!(atoms[0].console, printed);
    assert!(scenario.means.consoles.find(show).is_none());
    scenario.check(atom, b"attempt 2\n", 0);
    assert!(scenario.means.consoles.find(show).is_some());
}
