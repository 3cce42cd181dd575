//! Ctrl-C and the end of the terminal. The first Ctrl-C asks, the second is obeyed at once.

use crate::output;
use crate::output::again::command;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Signals that come so soon after the first one are of the same press: `timeout`, for one, sends its signal to the
/// program and to the process group of the program.
const ONE_PRESS: Duration = Duration::from_millis(200);

/// Whether the user wants an end. SIGTERM counts like Ctrl-C.
pub(crate) struct Interrupt {
    wanted: CancellationToken,
    state: Arc<Mutex<State>>,
}

/// What counts when an end is wanted.
#[derive(Clone, Copy, Default)]
struct State {
    is_compat: bool,
    /// The terminal was closed: nobody asked for an end of the build.
    has_hung_up: bool,
    /// The build that is to be canceled, until the master has taken the order.
    unconfirmed: Option<BuildId>,
}

impl Interrupt {
    /// Takes the signals from now on. `is_compat`: an end at once has the original's exit code.
    pub(crate) fn listen(is_compat: bool) -> Result<Self, Trouble> {
        let failed = |error| Trouble::new(format!("could not listen for Ctrl-C: {error}"));
        let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminations = signal(SignalKind::terminate()).map_err(failed)?;
        let mut hangups = match is_hangup_ignored() {
            true => None,
            false => Some(signal(SignalKind::hangup()).map_err(failed)?),
        };
        let wanted = CancellationToken::new();
        let state = State {
            is_compat,
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let (first, shared) = (wanted.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let mut pressed: Option<Instant> = None;
            loop {
                let hangup = async {
                    match &mut hangups {
                        Some(hangups) => hangups.recv().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                    _ = hangup => {
                        // A terminal that is closed during the wait for the master changes nothing.
                        if !first.is_cancelled() {
                            lock(&shared).has_hung_up = true;
                            first.cancel();
                        }
                        continue;
                    }
                }
                match pressed {
                    Some(at) if at.elapsed() < ONE_PRESS => continue,
                    _ if first.is_cancelled() => quit(*lock(&shared)),
                    _ => {}
                }
                pressed = Some(Instant::now());
                first.cancel();
            }
        });
        Ok(Self { wanted, state })
    }

    /// Whether the user has said so.
    pub(crate) fn has_come(&self) -> bool {
        self.wanted.is_cancelled()
    }

    /// Whether it is the terminal that has gone, not the user who wants an end of the build.
    pub(crate) fn has_hung_up(&self) -> bool {
        lock(&self.state).has_hung_up
    }

    /// Whether the master has taken the order to cancel a build: an end at once depends on that.
    pub(crate) fn note_cancel(&self, build: BuildId, is_confirmed: bool) {
        lock(&self.state).unconfirmed = (!is_confirmed).then_some(build);
    }

    /// Returns once the user wants an end.
    pub(crate) async fn wait(&self) {
        self.wanted.cancelled().await;
    }

    /// Does `work` unless the user wants an end first.
    pub(crate) async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.wanted.run_until_cancelled(work).await
    }
}

/// Ends this process. What the build does is not always known.
fn quit(state: State) -> ! {
    let code = match state.unconfirmed {
        None => {
            output::complain("quit at once");
            ExitCode::Canceled
        }
        Some(build) => {
            output::complain(unconfirmed("quit at once", build));
            ExitCode::Trouble
        }
    };
    let code = match state.is_compat {
        true => code.as_the_original(true),
        false => code,
    };
    std::process::exit(code.number().into());
}

/// What to say where nobody knows whether a build is canceled.
pub(super) fn unconfirmed(what: &str, build: BuildId) -> String {
    let (cancel, status) = (
        command(format!("cancel {build}")),
        command(format!("status {build}")),
    );
    format!(
        "{what}; the master has not confirmed that build {build} is canceled, so it may go on: \
         `{status}` shows it, `{cancel}` cancels it"
    )
}

/// Whether SIGHUP was to be ignored when this process began, as below `nohup`.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_first_signal_ignored(&status)
}

/// Reads the line `SigIgn:` of `/proc/PID/status`: a mask in hexadecimal digits, SIGHUP is its lowest bit.
fn is_first_signal_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_tells_whether_a_hangup_is_ignored() {
        for (mask, is_ignored) in [
            ("SigIgn:\t0000000000000001", true),
            ("SigIgn:\t0000000000001000", false),
            ("SigIgn:\tx", false),
            ("", false),
        ] {
            let status = format!("Name:\tx\nSigBlk:\t0000000000000001\n{mask}\n");
            assert_eq!(is_first_signal_ignored(&status), is_ignored, "{mask}");
        }
    }
}
