//! What a shell that was forked does and what a new one does.

use super::{Scenario, console_of, ends};
use clusterrunner_common::job::warm::bash::is_usual;
use clusterrunner_common::work::{InWorker, Worker, WorkerProgram};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// One command a line; in some a sign stands for the end of a line.
const COMMANDS: &str = include_str!("../../workers/commands.txt");

/// The exit code and the console of a command.
fn run(scenario: &mut Scenario, worker: Option<&Arc<Worker>>, command: &str) -> (i32, String) {
    scenario.worker = worker.cloned();
    let text = format!("export N=\"1\"; {command}");
    let end = ends(scenario.run(&[&text])).remove(0);
    let console = String::from_utf8_lossy(&console_of(&end)).into_owned();
    let ran = worker.map(|_| InWorker::Ran);
    assert_eq!(end.usage.worker, ran, "{command}: {end:?}");
    (end.exit_code, console)
}

#[test]
fn a_forked_shell_does_what_a_new_one_does() {
    let mut scenario = Scenario::new();
    let worker = Arc::new(Worker {
        program: WorkerProgram::Bash,
        confirm_failures: false,
    });
    let mut differ = String::new();
    let (mut usual, mut number) = (0, 0);
    for command in COMMANDS.lines() {
        let command = &command.replace('⏎', "\n");
        number += 1;
        if !is_usual(&format!("export N=\"1\"; {command}")) {
            // It never comes to a worker.
            continue;
        }
        usual += 1;
        let cold = run(&mut scenario, None, command);
        let warm = run(&mut scenario, Some(&worker), command);
        // What fails runs again in a new shell, which says it in its words. For its own errors a shell has other exit codes.
        let both_fail = cold.0 != 0 && (warm.0 == cold.0 || (cold.0, warm.0) == (127, 1));
        if cold != warm && !both_fail {
            writeln!(differ, "{command}\n  new:    {cold:?}\n  forked: {warm:?}").unwrap();
        }
    }
    assert!(usual >= 240, "{usual} of {number}");
    assert!(
        differ.is_empty(),
        "{usual} of {number} commands are usual; of these differ:\n{differ}"
    );
}

/// What a worker takes of the system.
#[derive(Debug)]
struct Taken {
    open_files: usize,
    memory_kib: u64,
}

impl Scenario {
    /// The directory below `/proc` of the worker that is there.
    fn worker_process(&self) -> PathBuf {
        let holds = |process: &fs::DirEntry, name: &str, text: &str| {
            let found = fs::read(process.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&found).contains(text)
        };
        let mark = self.means.data.mark();
        let mut found = fs::read_dir("/proc").unwrap().flatten().filter(|process| {
            holds(process, "cmdline", "__clusterrunner_id") && holds(process, "environ", &mark)
        });
        let worker = found.next().unwrap().path();
        assert!(found.next().is_none(), "there is one");
        worker
    }

    fn taken_by_worker(&self) -> Taken {
        let process = self.worker_process();
        let status = fs::read_to_string(process.join("status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.unwrap().trim().trim_end_matches(" kB");
        Taken {
            open_files: fs::read_dir(process.join("fd")).unwrap().count(),
            memory_kib: memory.parse().unwrap(),
        }
    }
}

#[test]
fn a_worker_takes_no_more_after_thousands_of_atoms() {
    const ATOMS: usize = 2_000;
    let mut scenario = Scenario::new();
    scenario.worker = Some(Arc::new(Worker {
        program: WorkerProgram::Bash,
        confirm_failures: true,
    }));
    let run = |scenario: &mut Scenario, number: usize| {
        let atoms: Vec<String> = (0..number)
            .map(|n| format!("export N=\"{n}\"; :"))
            .collect();
        let atoms: Vec<&str> = atoms.iter().map(String::as_str).collect();
        let ends = ends(scenario.run(&atoms));
        let in_worker = ends
            .iter()
            .filter(|end| end.usage.worker == Some(InWorker::Ran));
        assert_eq!(in_worker.count(), number);
        (scenario.worker_process(), scenario.taken_by_worker())
    };
    let (process, before) = run(&mut scenario, 100);
    let (same, after) = run(&mut scenario, ATOMS);
    assert_eq!(same, process);
    assert_eq!(before.open_files, after.open_files);
    // A shell remembers how the latest ones ended.
    assert!(
        after.memory_kib < before.memory_kib + 1024,
        "{before:?} {after:?}"
    );
}
