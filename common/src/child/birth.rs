//! The process that children are split off from, as it sees itself: it has started the program once, and does nothing but
//! wait for orders. It has a single thread and never reads what a stranger has made.

use crate::process::command::MARK_VARIABLE;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, recvmsg, send,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::ffi::OsStr;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

/// The second argument of a process that children are split off from.
pub(super) const NURSERY: &str = "split-off";

/// What comes with the mark of a child: its input, its output, and where its last words go.
pub(super) const PIPES: usize = 3;

/// The longest mark of a child.
const LONGEST_MARK: usize = 8192;

/// A child's mark, and its pipes.
type Order = (Vec<u8>, [OwnedFd; PIPES]);

/// Splits children off for as long as the parent wants some: true in each of them, false at the end.
pub(super) fn bear() -> io::Result<bool> {
    let orders = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    // The parent says when it is to end. Children listen to these signals themselves.
    ignore_asking();
    // What takes its time the first time.
    crate::git::warm_up();
    while let Some((mark, pipes)) = next(&orders)? {
        let born = split_off();
        if let Ok(0) = born {
            let [input, output, errors] = &pipes;
            dup2_stdin(input)?;
            dup2_stdout(output)?;
            dup2_stderr(errors)?;
            give_mark(&mark);
            return Ok(true);
        }
        let said = born.unwrap_or_else(|error| -error.raw_os_error());
        send(&orders, &said.to_be_bytes(), SendFlags::NOSIGNAL)?;
    }
    Ok(false)
}

/// The next order; `None` when the parent is gone.
fn next(orders: &OwnedFd) -> io::Result<Option<Order>> {
    let mut mark = vec![0; LONGEST_MARK];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PIPES))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let into = &mut [IoSliceMut::new(&mut mark)];
        match recvmsg(orders, into, &mut with, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            received => break received?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut pipes = Vec::with_capacity(PIPES);
    for message in with.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            pipes.extend(descriptors);
        }
    }
    mark.truncate(received.bytes);
    match pipes.try_into() {
        Ok(pipes) if !received.flags.contains(ReturnFlags::TRUNC) => Ok(Some((mark, pipes))),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[expect(unsafe_code, reason = "no crate in use has it in a safe form")]
fn ignore_asking() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: ignoring runs no code of this process.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Splits this process in two: 0 in the new one, its number in this one. The new one is a child of this one's parent, which
/// waits for it as for any other that it has started.
#[expect(unsafe_code, reason = "no crate in use has it in a safe form")]
fn split_off() -> Result<i32, Errno> {
    const FLAGS: libc::c_long = (libc::CLONE_PARENT | libc::SIGCHLD) as libc::c_long;
    // SAFETY: this process has one thread, which holds no lock, so that the new one is whole; it goes on with a copy of this
    // stack. What the C library does besides in `fork` is for other threads, and for the number of the thread, which it
    // asks the system for where that matters.
    match unsafe { libc::syscall(libc::SYS_clone, FLAGS, 0_usize, 0_usize, 0_usize, 0_usize) } {
        -1 => {
            let error = io::Error::last_os_error();
            Err(Errno::from_io_error(&error).unwrap_or(Errno::NOSYS))
        }
        number => i32::try_from(number).map_err(|_| Errno::OVERFLOW),
    }
}

/// Gives what this process starts its mark.
#[expect(unsafe_code, reason = "the environment is what commands inherit")]
#[expect(
    clippy::disallowed_methods,
    reason = "nobody else reads the environment of a process with one thread"
)]
fn give_mark(mark: &[u8]) {
    // SAFETY: this process has one thread.
    unsafe { std::env::set_var(MARK_VARIABLE, OsStr::from_bytes(mark)) };
}
