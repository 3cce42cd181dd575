//! All processes below this one, wherever they put themselves: a process that loses its parent becomes a child of this
//! one.

use super::reaper::Reaper;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks while something is to end.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LONGEST_LOOK: Duration = Duration::from_millis(50);

/// How long processes that were killed may take to go: one that waits for a disk that does not answer may never.
const KILLING: Duration = Duration::from_secs(30);

/// The parent of a process that has not ended.
fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // Its name, which it chooses itself, stands in brackets.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = String::from_utf8_lossy(stat.get(end + 1..)?);
    let mut fields = rest.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.next()?.parse().ok(),
    }
}

/// All that live below this process.
pub(super) fn descendants() -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        if let Some((pid, parent)) = pid.and_then(|pid| Some((pid, parent(pid)?))) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut waiting = vec![std::process::id().cast_signed()];
    while let Some(pid) = waiting.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            if found.insert(child) {
                waiting.push(child);
            }
        }
    }
    found
}

fn signal(pids: &BTreeSet<i32>, signal: Signal) {
    for &id in pids {
        // The handle pins the process; the second look makes sure that it is not another one by now.
        let before = parent(id);
        let Some(pid) = Pid::from_raw(id) else {
            continue;
        };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        if before.is_some() && parent(id) == before {
            pidfd_send_signal(&handle, signal).ok();
        }
    }
}

/// Ends all of them: asks first, and kills after `grace`. Says how many could not be ended.
pub(super) async fn end(reaper: &Reaper, grace: Duration) -> usize {
    let first = descendants();
    signal(&first, Signal::TERM);
    let killing = Instant::now() + grace;
    let mut pause = FIRST_LOOK;
    loop {
        let left = descendants();
        let now = Instant::now();
        if left.is_empty() || now > killing + KILLING {
            return left.len();
        }
        if now >= killing {
            signal(&left, Signal::KILL);
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = reaper.any_end() => {}
        }
        pause = (pause * 2).min(LONGEST_LOOK);
    }
}
