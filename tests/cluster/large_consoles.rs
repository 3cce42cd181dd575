//! Consoles that do not fit into one answer.

use crate::job::job;
use crate::machine::Machine;
use crate::wait::{PATIENCE, is_true_within};
use std::fs;

/// Prints a line that is longer than an answer may be.
const LONG_LINE: &str = "head -c 9000000 /dev/zero | tr '\\0' x; echo";

#[test]
fn all_that_an_ended_atom_printed_is_shown() {
    let prints = format!("{LONG_LINE}; printf '\\377\\033[2J\\n'; seq 300000");
    let machine = Machine::new(&job(prints).atoms(1).to_string());
    machine.run_to(0, &["build", "--no-results"]);
    let numbers: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    let long = vec![b'x'; 9_000_000];
    let raw = [&long[..], b"\n\xff\x1b[2J\n", numbers.as_bytes()].concat();
    let shown = [&long[..], "\n\u{fffd}\n".as_bytes(), numbers.as_bytes()].concat();
    for (arguments, expected) in [
        (&["logs", "1", "0_0", "--raw"][..], &raw),
        (&["logs", "1", "0_0"], &shown),
        (&["logs", "1", "0_0", "--follow"], &shown),
    ] {
        let output = machine.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        assert!(output.stdout == *expected, "{arguments:?}: another text");
        assert_eq!(output.stderr, b"", "{arguments:?}");
    }
}

#[test]
fn a_line_that_is_cut_is_told() {
    let prints =
        format!("{LONG_LINE}; echo end; until test -e \"$PROJECT_DIR/go\"; do sleep 0.05; done");
    let machine = Machine::new(&job(prints).atoms(1).to_string());
    let build = machine.start(&["build", "--no-results"]);
    let mut shown = None;
    assert!(is_true_within(PATIENCE, || {
        let logs = machine.run(&["logs", "1", "0_0"]);
        let is_there = logs.stdout.ends_with("x\nend\n");
        shown = Some(logs);
        is_there
    }));
    let shown = shown.unwrap();
    let said = format!(
        "line 1 is longer than the master sends while the atom runs: {} bytes",
        9_000_001 - (8 << 20)
    );
    assert!(shown.stderr.contains(&said), "{}", shown.stderr);
    assert_eq!(shown.stdout.len(), (8 << 20) + "\nend\n".len());
    fs::write(machine.path("project/go"), "").unwrap();
    assert!(build.wait_with_output().unwrap().status.success());
}
