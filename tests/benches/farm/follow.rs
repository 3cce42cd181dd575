//! How long it takes from a line that an atom prints to the same line in `clusterrunner logs --follow`.

use crate::farm::Farm;
use clusterrunner_common::ids::BuildId;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines, and the pause between two of them in the shell's words: no multiple of any pause of ours.
const LINES: usize = 100;
const PAUSE: &str = "0.073";

/// A command that prints the time in nanoseconds, line by line.
pub(crate) fn command() -> String {
    format!("for i in $(seq {LINES}); do date +%s%N; sleep {PAUSE}; done")
}

/// Follows the only atom of a build to its end: milliseconds for each line that came while it ran.
pub(crate) fn follow(farm: &Farm, build: BuildId) -> Vec<f64> {
    let mut logs = farm
        .command()
        .args(["logs", &build.to_string(), "0_0", "--follow"])
        .args(["--master-url", &farm.master_address()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a follower");
    let output = logs.stdout.take().expect("its output");
    let mut took = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.expect("a line");
        let printed: u128 = line.trim().parse().expect("a time");
        #[expect(
            clippy::disallowed_methods,
            reason = "the clock that the atom reads, too"
        )]
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a time");
        let nanoseconds = now.as_nanos().saturating_sub(printed);
        took.push(nanoseconds as f64 / 1e6);
    }
    assert!(logs.wait().expect("its end").success());
    assert_eq!(took.len(), LINES, "all lines came");
    took
}
