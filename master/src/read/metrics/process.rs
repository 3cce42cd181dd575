//! What the system says of this process, under the names that Prometheus' client libraries use.

use super::text::{family, line};
use std::fs::read_to_string;

/// Linux tells processor times in hundredths of a second, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// Fields of `/proc/self/stat` behind the name in brackets, which may hold blanks.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const START_TICKS: usize = 19;
const VIRTUAL_BYTES: usize = 20;

/// All families that can be told; none where there is no `/proc`.
pub(super) fn write(text: &mut String) {
    let stat = read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, fields)| fields.split_whitespace().collect())
        .unwrap_or_default();
    let field = |index: usize| fields.get(index)?.parse::<f64>().ok();
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let resident = after(&status, "VmRSS:").map(|kilobytes| kilobytes * 1024.0);
    let boot = after(&read_to_string("/proc/stat").unwrap_or_default(), "btime");
    let limits = read_to_string("/proc/self/limits").unwrap_or_default();
    let open = std::fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    // Looking opens one more, which is closed again.
    let open = open.and_then(|open| u32::try_from(open.saturating_sub(1)).ok());
    let rows = [
        (
            "virtual_memory_bytes",
            "gauge",
            "Virtual memory size in bytes.",
            field(VIRTUAL_BYTES),
        ),
        (
            "resident_memory_bytes",
            "gauge",
            "Resident memory size in bytes.",
            resident,
        ),
        (
            "start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            boot.zip(field(START_TICKS))
                .map(|(boot, ticks)| boot + ticks / TICKS_PER_SECOND),
        ),
        (
            "cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            field(USER_TICKS)
                .zip(field(SYSTEM_TICKS))
                .map(|(user, system)| (user + system) / TICKS_PER_SECOND),
        ),
        (
            "open_fds",
            "gauge",
            "Number of open file descriptors.",
            open.map(f64::from),
        ),
        (
            "max_fds",
            "gauge",
            "Maximum number of open file descriptors.",
            after(&limits, "Max open files"),
        ),
    ];
    for (name, kind, help, value) in rows {
        if let Some(value) = value {
            let name = format!("process_{name}");
            family(text, &name, kind, help);
            line(text, format_args!("{name} {value:?}"));
        }
    }
}

/// The number behind the name that a line begins with.
fn after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
