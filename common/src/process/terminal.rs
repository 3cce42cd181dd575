//! The terminal that a process was started at, and how it and what it starts are kept off it.
//!
//! A process finds its terminal by its session as `/dev/tty`, whatever its input and output are. A command
//! that reads from there gets stopped where it is not in the foreground, and waits for ever; or it asks
//! the user who started the daemon for a password.

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{getpid, getsid};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether what this process starts has to leave the session by itself.
static HAS_SESSION_WITH_TERMINAL: AtomicBool = AtomicBool::new(false);

/// Takes this process off its terminal, so that nothing it starts from now on has one. It stays in its
/// process group, so Ctrl-C and the end of the terminal still reach it.
///
/// The leader of a session can not do that: the terminal would lose the whole session, and Ctrl-C would
/// reach nobody. It is one where the terminal was made for it alone, as in `docker run -t`. What it starts
/// leaves the session instead, see `in_own_group`.
pub fn leave() {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    // It can only be opened by who has one.
    let Ok(terminal) = open("/dev/tty", flags, Mode::empty()) else {
        return;
    };
    if getsid(None).is_ok_and(|session| session == getpid()) {
        HAS_SESSION_WITH_TERMINAL.store(true, Ordering::Relaxed);
        return;
    }
    if let Err(error) = give_up(&File::from(terminal)) {
        tracing::warn!(%error, "could not detach from the terminal; commands may wait for its input");
    }
}

/// Has a command run in a process group of its own, without a terminal if this process has called
/// [`leave`].
pub(crate) fn in_own_group(command: &mut Command) {
    if HAS_SESSION_WITH_TERMINAL.load(Ordering::Relaxed) {
        in_own_session(command);
    } else {
        command.process_group(0);
    }
}

/// Has a command run in a session of its own, which is a process group as well. Costs each start a copy of
/// this process's memory map.
#[expect(
    unsafe_code,
    reason = "a stable `setsid` of the standard library is not there yet"
)]
pub fn in_own_session(command: &mut Command) {
    let leave = || {
        rustix::process::setsid()?;
        Ok(())
    };
    // SAFETY: between fork and exec only one system call is made; it takes no lock and no memory.
    unsafe { command.pre_exec(leave) };
}

#[expect(unsafe_code, reason = "no crate in use has a call for it")]
fn give_up(terminal: &File) -> io::Result<()> {
    // SAFETY: this request takes no argument, and the descriptor is open.
    match unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
