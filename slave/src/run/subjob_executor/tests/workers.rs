//! What a shell that was forked does and what a new one does.

use super::{Scenario, console_of, ends};
use clusterrunner_common::job::warm::bash::is_usual;
use clusterrunner_common::work::{InWorker, Worker, WorkerProgram};
use std::fmt::Write as _;
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
    scenario.end_all();
    assert!(usual >= 240, "{usual} of {number}");
    assert!(
        differ.is_empty(),
        "{usual} of {number} commands are usual; of these differ:\n{differ}"
    );
}
