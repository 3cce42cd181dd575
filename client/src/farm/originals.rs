//! The daemons of the original that run on this machine.

use super::daemon::Daemon;
use rustix::process::Pid;
use std::fs;
use std::path::Path;

/// Those whose process ids stand in this directory, the slave first. The original puts them into its default base
/// directory, whatever its settings say.
pub(crate) fn originals_in(directory: &Path) -> Vec<(String, Daemon)> {
    let found = ["slave", "master"].into_iter().filter_map(|what| {
        let pid_file = directory.join(format!(".clusterrunner_{what}.pid"));
        let daemon = Daemon::find_where(&pid_file, |pid| is_original(pid, what))?;
        Some((format!("{what} of the original"), daemon))
    });
    found.collect()
}

/// Whether a process was started as the original's daemons are: `clusterrunner master` where it was installed,
/// `python main.py master` or `python -m app master` where it runs from source.
fn is_original(pid: Pid, what: &str) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let arguments: Vec<&str> = line.split('\0').collect();
    let Some(order) = arguments.iter().position(|argument| *argument == what) else {
        return false;
    };
    arguments[..order].iter().any(|argument| {
        let name = Path::new(argument).file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        name.starts_with("clusterrunner") || matches!(&*name, "main.py" | "__main__.py" | "app")
    })
}
