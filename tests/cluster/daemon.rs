//! One process of a farm, and the address that a farm has for itself.

use crate::processes;
use crate::wait::is_true_within;
use rustix::process::Signal;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How long a daemon may take to end when it is asked to.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A running daemon.
pub(crate) struct Daemon {
    pub(crate) name: String,
    pub(crate) child: Child,
    /// Whether it was ended without warning, and so could not clean up.
    pub(crate) was_killed: bool,
    /// Whether it was told to end in order.
    pub(crate) was_stopped: bool,
}

impl Daemon {
    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Asks it to end and waits for that.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.was_stopped = true;
        let ended = is_true_within(STOP_LIMIT, || self.has_ended());
        let name = &self.name;
        assert!(
            ended,
            "{name} has not ended {STOP_LIMIT:?} after it was asked to"
        );
        self.child.wait().unwrap()
    }

    /// Ends it without warning.
    pub(crate) fn kill(&mut self) {
        self.was_killed = true;
        processes::kill_group(self.child.id());
        self.child.wait().unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        processes::signal(self.child.id(), signal);
    }
}

/// A loopback address that no other farm uses: all of 127.0.0.0/8 is this machine.
pub(crate) fn own_address() -> String {
    static FARMS: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    let farm = FARMS.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{low}.{farm}", high.max(1))
}
