//! Finding and ending all processes with a mark, wherever they are by now.

use super::MARK_VARIABLE;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often ended processes are looked for while the grace time runs.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// How long it surely takes a process to replace its program.
const SECOND_LOOK: Duration = Duration::from_millis(5);

/// How often marked processes are looked for and killed; each round gets all there are, so more
/// than a few rounds are needed only by something that forks faster than it can be killed.
const SWEEP_ROUNDS: usize = 50;

/// Ends every process whose mark begins with `prefix`: asks (TERM), waits for at most `grace`, then
/// kills. Returns when none is left.
pub async fn end_marked(prefix: &str, grace: Duration) {
    let mut sweep = Sweep::new(prefix, grace);
    loop {
        let round = tokio::task::spawn_blocking(move || (sweep.round(), sweep));
        match round.await {
            Ok((Some(pause), rest)) => {
                sweep = rest;
                tokio::time::sleep(pause).await;
            }
            Ok((None, _)) | Err(_) => return,
        }
    }
}

/// The same for a thread that may wait. Blocks.
pub fn end_marked_blocking(prefix: &str, grace: Duration) {
    let mut sweep = Sweep::new(prefix, grace);
    while let Some(pause) = sweep.round() {
        std::thread::sleep(pause);
    }
}

/// Asks them to end (TERM), and waits for none.
pub fn ask_marked(prefix: &str) {
    signal_marked(prefix, Some(Signal::TERM));
}

/// The process groups that they lead.
#[must_use]
pub fn groups_of_marked(prefix: &str) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let wanted = format!("{MARK_VARIABLE}={prefix}");
    let found = processes.flatten().filter_map(|process| {
        let id = process.file_name().to_str()?.parse::<u32>().ok()?;
        let path = process.path();
        (carries(&path, &wanted) && group_of(&path) == Some(id)).then_some(id)
    });
    found.collect()
}

/// The process group of a process.
fn group_of(process: &Path) -> Option<u32> {
    let stat = std::fs::read(process.join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // Its name stands in brackets, and may have some itself.
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let group = behind_name.split(' ').nth(2)?;
    group.parse().ok()
}

/// Kills them without asking. Blocks.
pub(super) fn kill_marked_blocking(prefix: &str) {
    let mut sweep = Sweep::new(prefix, Duration::ZERO);
    sweep.stage = Stage::Killing { rounds: 0 };
    while let Some(pause) = sweep.round() {
        std::thread::sleep(pause);
    }
}

/// One search after the other for the processes with a mark.
#[derive(Debug)]
struct Sweep {
    prefix: String,
    grace: Duration,
    stage: Stage,
    /// None found is believed the second time only: a process shows no environment in the moment
    /// in which it replaces its program.
    found_none: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Asking,
    Waiting { until: Instant },
    Killing { rounds: usize },
}

impl Sweep {
    fn new(prefix: &str, grace: Duration) -> Self {
        Self {
            prefix: prefix.to_owned(),
            grace,
            stage: Stage::Asking,
            found_none: false,
        }
    }

    /// Looks once through all processes. Says when to look again, if there is need to.
    fn round(&mut self) -> Option<Duration> {
        let signal = match self.stage {
            Stage::Asking => Some(Signal::TERM),
            Stage::Waiting { .. } => None,
            Stage::Killing { .. } => Some(Signal::KILL),
        };
        if signal_marked(&self.prefix, signal) == 0 {
            let is_over = std::mem::replace(&mut self.found_none, true);
            return (!is_over).then_some(SECOND_LOOK);
        }
        self.found_none = false;
        match self.stage {
            Stage::Asking => {
                let until = Instant::now() + self.grace;
                self.stage = Stage::Waiting { until };
                Some(SECOND_LOOK.min(self.grace))
            }
            Stage::Waiting { until } => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    self.stage = Stage::Killing { rounds: 0 };
                }
                Some(left.min(SWEEP_INTERVAL))
            }
            Stage::Killing { rounds } if rounds + 1 == SWEEP_ROUNDS => {
                tracing::warn!(mark = self.prefix, "some processes could not be killed");
                None
            }
            Stage::Killing { rounds } => {
                self.stage = Stage::Killing { rounds: rounds + 1 };
                Some(SWEEP_INTERVAL)
            }
        }
    }
}

/// Signals every process whose mark begins with `prefix`; says how many there are.
pub(super) fn signal_marked(prefix: &str, signal: Option<Signal>) -> usize {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let wanted = format!("{MARK_VARIABLE}={prefix}");
    let own = std::process::id();
    let mut found = 0;
    for process in processes.flatten() {
        let id = process.file_name().to_string_lossy().parse::<u32>().ok();
        let Some(id) = id.filter(|id| *id != own) else {
            continue;
        };
        if !carries(&process.path(), &wanted) {
            continue;
        }
        // The handle pins the process; the second look makes sure that it is still the same one.
        let Some(pid) = Pid::from_raw(id.cast_signed()) else {
            continue;
        };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        if !carries(&process.path(), &wanted) {
            continue;
        }
        found += 1;
        if let Some(signal) = signal {
            pidfd_send_signal(&handle, signal).ok();
        }
    }
    found
}

/// For each of these beginnings of marks: whether a process carries one. None found is to be
/// believed the second time only. Blocks.
pub(crate) fn marked(prefixes: &[String]) -> Vec<bool> {
    let mut found = vec![false; prefixes.len()];
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return found;
    };
    let variable = format!("{MARK_VARIABLE}=");
    let mut environment = Vec::new();
    for process in processes.flatten() {
        let name = process.file_name();
        if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        environment.clear();
        // One that has ended meanwhile carries nothing.
        let read = File::open(process.path().join("environ"))
            .and_then(|mut file| file.read_to_end(&mut environment));
        if read.is_err() {
            continue;
        }
        for entry in environment.split(|byte| *byte == 0) {
            let Some(mark) = entry.strip_prefix(variable.as_bytes()) else {
                continue;
            };
            for (found, prefix) in found.iter_mut().zip(prefixes) {
                *found |= mark.starts_with(prefix.as_bytes());
            }
        }
    }
    found
}

/// The mark in an environment that begins with `prefix`.
pub(crate) fn mark_in(environment: &[u8], prefix: &str) -> Option<String> {
    let variable = format!("{MARK_VARIABLE}=");
    let mut entries = environment.split(|byte| *byte == 0);
    entries.find_map(|entry| {
        let mark = entry.strip_prefix(variable.as_bytes())?;
        let is_it = mark.starts_with(prefix.as_bytes());
        is_it.then(|| String::from_utf8_lossy(mark).into_owned())
    })
}

/// Whether the environment of a process holds the mark. A zombie's is empty, so it does not count.
fn carries(process: &Path, wanted: &str) -> bool {
    std::fs::read(process.join("environ")).is_ok_and(|environment| {
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry.starts_with(wanted.as_bytes()))
    })
}
