//! The first process of a container. It inherits all processes that lose their parents, and they stay as zombies until
//! it waits for them; and it ignores signals that would end any other process.

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The signals that are passed on.
const SIGNALS: [Signal; 6] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
];

/// If this process is the first one, runs the program again as a child, passes signals on to it, waits for all that
/// lose their parents, and returns the child's exit code when that has ended. `None` in every other process.
///
/// A process that only waits takes no end from anybody: daemons wait for their commands themselves.
#[must_use]
pub fn stand_in() -> Option<ExitCode> {
    if std::process::id() != 1 {
        return None;
    }
    match run_again() {
        Ok(code) => Some(code),
        Err(error) => {
            tracing::warn!(%error, "orphaned processes are not waited for");
            None
        }
    }
}

fn run_again() -> io::Result<ExitCode> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Listened to before there is anything that they could be about.
        let (passed_on, mut signals) = mpsc::unbounded_channel();
        for number in SIGNALS {
            let mut received = signal(SignalKind::from_raw(number.as_raw()))?;
            let passed_on = passed_on.clone();
            tokio::spawn(async move {
                while received.recv().await.is_some() && passed_on.send(number).is_ok() {}
            });
        }
        let mut ended = signal(SignalKind::child())?;
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_default();
        let child = Command::new(std::env::current_exe()?)
            .arg0(name)
            .args(arguments)
            // Ctrl-C reaches the group in the foreground; what is passed on must be all that the child gets.
            .process_group(0)
            .spawn()?;
        let child = Pid::from_child(&child);
        loop {
            tokio::select! {
                Some(number) = signals.recv() => {
                    // It has ended, which the loop sees next.
                    kill_process(child, number).ok();
                }
                _ = ended.recv() => {
                    if let Some(code) = wait_for_all(child) {
                        return Ok(code);
                    }
                }
            }
        }
    })
}

/// Waits for all that have ended; the exit code of the child if it is among them.
fn wait_for_all(child: Pid) -> Option<ExitCode> {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == child {
            let code = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => code,
                (None, signal) => 128 + signal.unwrap_or(0),
            };
            return Some(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)));
        }
    }
    None
}
