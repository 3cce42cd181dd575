//! Processes as `/proc` shows them: who is there, and signals to them.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs;

/// A process that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) id: u32,
    /// Its command line, for messages.
    #[expect(dead_code, reason = "shown by assertions, through Debug")]
    pub(crate) command: String,
}

/// All living processes with `text` in their command line or environment, but this one. Zombies
/// have neither, so they do not count.
pub(crate) fn with_text(text: &str) -> Vec<Found> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let read = |name| fs::read(entry.path().join(name)).unwrap_or_default();
        let (command, environment) = (read("cmdline"), read("environ"));
        let holds = |bytes: &[u8]| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        if id != own && (holds(&command) || holds(&environment)) {
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push(Found { id, command });
        }
    }
    found
}

/// Kills all processes with `text` in their command line or environment.
pub(crate) fn kill_with_text(text: &str) {
    for process in with_text(text) {
        // It may have ended by itself since.
        kill_process(pid(process.id), Signal::KILL).ok();
    }
}

/// Signals one process.
pub(crate) fn signal(id: u32, signal: Signal) {
    kill_process(pid(id), signal).unwrap();
}

/// Kills a process group, if it is still there.
pub(crate) fn kill_group(id: u32) {
    kill_process_group(pid(id), Signal::KILL).ok();
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed()).unwrap()
}
