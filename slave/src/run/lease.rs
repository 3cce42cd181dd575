//! Whether a process can still write to a file. The system tells it to a process that asks for a lease on it
//! (`fcntl(2)`, `F_SETLEASE`): a lease for reading is not given while the file is open for writing
//! anywhere, be it in a process that got the descriptor from another.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// `fcntl(2)`: which signal is sent. The same number on all systems of the kind; `libc` lacks it.
const F_SETSIG: libc::c_int = 10;

/// Whether no process has `file` open for writing; false where that is not known. The file itself is to
/// be open for reading only.
pub(crate) fn nobody_writes(file: &File) -> bool {
    let had = set(file, libc::F_SETLEASE, libc::F_RDLCK);
    had.and_then(|()| set(file, libc::F_SETLEASE, libc::F_UNLCK))
        .is_ok()
}

/// To be called once before [`nobody_writes`]: opening a file with a lease on it tells the lease's
/// holder by a signal, and the usual one (SIGIO) would end this process. SIGURG is ignored.
pub(crate) fn be_told_harmlessly(file: &File) -> io::Result<()> {
    set(file, F_SETSIG, libc::SIGURG)
}

#[expect(
    unsafe_code,
    reason = "no crate in use has a call for leases, and the system can not harm memory by it"
)]
fn set(file: &File, command: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and both commands take a
    // plain number: no memory of ours is given away.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, value) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_writer_is_seen_in_whatever_process() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = File::open(named.path()).unwrap();
        be_told_harmlessly(&file).unwrap();
        assert!(!nobody_writes(&file), "we have it open ourselves");
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(named.reopen().unwrap())
            .spawn()
            .unwrap();
        let path = named.into_temp_path();
        assert!(!nobody_writes(&file));
        drop(cat.stdin.take());
        cat.wait().unwrap();
        assert!(nobody_writes(&file));
        // Nothing of it stays: this would wait for the end of the lease.
        File::options().write(true).open(&path).unwrap();
        assert!(nobody_writes(&file));
    }
}
