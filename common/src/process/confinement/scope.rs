//! Keeping a command from services of the machine that are in no file system: sockets with abstract names, which all have who are
//! in one network.

use std::io;

/// Since Linux 6.12 the system can do it.
const SINCE: i64 = 6;

/// Asks for no rules, but for what the system can do.
const VERSION: u32 = 1;

/// Sockets with abstract names of processes outside.
const ABSTRACT_SOCKETS: u64 = 1;

/// What a process may do: the form that the system expects.
#[repr(C)]
struct Ruleset {
    files: u64,
    network: u64,
    scoped: u64,
}

/// Has this process, and all that it starts, reach no socket with an abstract name that somebody else has made. Says whether
/// the system can do that. The process must not be able to get more rights.
pub(super) fn leave_abstract_sockets() -> io::Result<bool> {
    if !keeps_abstract_sockets() {
        return Ok(false);
    }
    restrict().map(|()| true)
}

/// Whether this system can keep commands behind walls from sockets with abstract names, also where they have its network.
#[must_use]
#[expect(unsafe_code, reason = "no crate in use has a call for it")]
pub fn keeps_abstract_sockets() -> bool {
    let none = std::ptr::null::<Ruleset>();
    // SAFETY: it is asked for a number, with no pointer.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, VERSION) };
    version >= SINCE
}

#[expect(unsafe_code, reason = "no crate in use has a call for it")]
fn restrict() -> io::Result<()> {
    use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
    let ruleset = Ruleset {
        files: 0,
        network: 0,
        scoped: ABSTRACT_SOCKETS,
    };
    // SAFETY: the rules are there until the call is over, and the size is theirs. The descriptor is new and nobody else's.
    let rules = unsafe {
        let made = libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const ruleset,
            size_of::<Ruleset>(),
            0_u32,
        );
        let made = i32::try_from(made).map_err(io::Error::other)?;
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(made)
    };
    // SAFETY: a descriptor that is open, and a number.
    let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0_u32) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
