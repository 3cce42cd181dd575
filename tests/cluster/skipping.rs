//! Tests that this machine does not allow.

use std::fs::File;
use std::io::Write as _;
use std::thread;

/// Says that the current test is left out, or a part of it, and why. What a test prints is only seen when
/// it fails, so `./check` names a file whose lines it shows at its end.
pub(crate) fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    if let Some(path) = std::env::var_os("CLUSTERRUNNER_SKIPPED_TESTS") {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        let current = thread::current();
        let line = format!("{}: {why}\n", current.name().unwrap_or("a test"));
        file.write_all(line.as_bytes()).unwrap();
    }
}
