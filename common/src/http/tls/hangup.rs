//! SIGHUP, by which daemons that speak TLS are told to read their certificates again. It is also the signal of a terminal
//! that goes away.

use super::HttpsSettings;
use std::fs::File;
use std::sync::OnceLock;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether this process was started so that SIGHUP does nothing (`nohup`), as it was before the signal was listened for:
/// after that the system says another thing.
static WAS_IGNORED: OnceLock<bool> = OnceLock::new();

/// The signal.
pub(super) struct HangUp {
    /// `None` where it can not be received.
    signal: Option<Signal>,
    had_terminal: bool,
}

impl HttpsSettings {
    /// From now on SIGHUP does not end a daemon that has a certificate. What comes before its door is open needs nothing
    /// else: the door reads its files then anyway.
    pub fn outlive_hangups(&self) {
        if self.identity.is_some() {
            // What is listened for once is never the end of the process again.
            drop(HangUp::listen());
        }
    }
}

impl HangUp {
    pub(super) fn listen() -> Self {
        let was_ignored = *WAS_IGNORED.get_or_init(ignores_hangup);
        // Who ignores it is to outlive the terminal.
        let had_terminal = has_terminal() && !was_ignored;
        let signal = signal(SignalKind::hangup());
        if let Err(error) = &signal {
            tracing::warn!(%error, "SIGHUP can not be received; changed certificates are noticed nevertheless");
        }
        Self {
            signal: signal.ok(),
            had_terminal,
        }
    }

    pub(super) async fn heard(&mut self) {
        let heard = match &mut self.signal {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if heard.is_none() {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn is_terminal_gone(&self) -> bool {
        self.had_terminal && !has_terminal()
    }
}

/// Whether this process has a terminal: the system opens this file for no other.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether this process was started so that SIGHUP does nothing: the first bit of what the system says that it ignores.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1))
}
