//! Calls of the system that no crate in use has in a safe form. The process that makes them has a single thread.

use rustix::process::Pid;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Splits this process in two: `None` in the new one.
#[expect(unsafe_code, reason = "no crate in use has it in a safe form")]
pub(super) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: this process has one thread, so that the new one is whole.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        child => Pid::from_raw(child)
            .map(Some)
            .ok_or_else(|| io::Error::other("a child without a number")),
    }
}

/// What a command's group is told without the command being asked whether it ends.
const ASKING: [i32; 6] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// Has this process ignore what is for the command, or no more.
#[expect(unsafe_code, reason = "no crate in use has it in a safe form")]
pub(super) fn ignore_signals(is_to_ignore: bool) {
    let action = match is_to_ignore {
        true => libc::SIG_IGN,
        false => libc::SIG_DFL,
    };
    for signal in ASKING {
        // SAFETY: neither of the two runs code of this process.
        unsafe { libc::signal(signal, action) };
    }
}

/// Has a signal end this process.
#[expect(unsafe_code, reason = "no crate in use has it in a safe form")]
pub(super) fn end_by(signal: i32) {
    // SAFETY: numbers alone; the default action runs no code of this process.
    unsafe {
        // The command has left its core, if any.
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Leaves the keyring of this session for a new one that nobody else has. Where the system has no keyrings there is none to leave,
/// and users have a quota of them. The command makes no call about keys anyway: it is about what the system looks up for it.
#[expect(unsafe_code, reason = "no crate in use has a call for it")]
pub(super) fn leave_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_ulong = 1;
    let no_name = std::ptr::null::<libc::c_char>();
    // SAFETY: numbers, and no name.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, no_name) };
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        _ if joined >= 0 => Ok(()),
        Some(libc::ENOSYS | libc::EDQUOT) => Ok(()),
        _ => Err(error),
    }
}

/// Makes a mount read-only, with all below it if `all`.
#[expect(unsafe_code, reason = "rustix has no call for it")]
pub(super) fn set_read_only(path: &Path, all: bool) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = if all { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path and the attributes are there until the call is over, and the size is theirs.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Leaves these namespaces for new ones.
#[expect(unsafe_code, reason = "no crate in use has it in a safe form")]
pub(super) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: this process has one thread, which shares its files with no other.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Brings the loopback of this network up: in a new one nothing else is there.
#[expect(unsafe_code, reason = "no crate in use has a call for it")]
pub(super) fn bring_loopback_up() -> io::Result<()> {
    // SAFETY: the descriptor is new and nobody else's; the request is of the form and size that the calls expect.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(socket);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (place, letter) in request.ifr_name.iter_mut().zip(b"lo") {
            *place = libc::c_char::from_ne_bytes([*letter]);
        }
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) < 0 {
            return Err(io::Error::last_os_error());
        }
        request.ifr_ifru.ifru_flags |= libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
