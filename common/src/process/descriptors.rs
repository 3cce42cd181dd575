//! Files that whoever started this process left open: what it starts has no use for them, and may be a stranger's.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Behind standard input, output and errors.
const FIRST: u32 = 3;

/// Has no program that this process starts inherit what it has open, but for what it is given as input, output and errors.
///
/// # Errors
/// The system can not do that and `/proc` is not there.
pub fn keep_from_programs() -> io::Result<()> {
    match mark_all() {
        // Before Linux 5.11.
        Err(_) => mark_each(),
        Ok(()) => Ok(()),
    }
}

#[expect(unsafe_code, reason = "no crate in use has a call for it")]
fn mark_all() -> io::Result<()> {
    // SAFETY: numbers alone. No file is closed before this process becomes another program.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[expect(unsafe_code, reason = "descriptors are found by their numbers")]
fn mark_each() -> io::Result<()> {
    let directory = std::fs::File::open("/proc/self/fd")?;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(number) = number.filter(|number| *number >= FIRST.cast_signed()) else {
            continue;
        };
        if number == directory.as_raw_fd() {
            continue;
        }
        // SAFETY: it was open just now, and a number that is closed meanwhile gives an error.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::CLOEXEC).ok();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
    use std::fs::File;

    fn check(keep: fn() -> io::Result<()>) {
        let left = File::open("/dev/null").unwrap();
        fcntl_setfd(&left, FdFlags::empty()).unwrap();
        keep().unwrap();
        assert_eq!(fcntl_getfd(&left).unwrap(), FdFlags::CLOEXEC);
        let output = fcntl_getfd(std::io::stdout()).unwrap();
        assert_eq!(output, FdFlags::empty(), "what is printed goes on");
    }

    #[test]
    fn what_is_open_is_kept_from_programs() {
        check(keep_from_programs);
    }

    #[test]
    fn so_it_is_on_older_systems() {
        check(mark_each);
    }
}
