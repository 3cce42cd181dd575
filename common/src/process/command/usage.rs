//! What a process and its children used, as the system tells it to whoever waits for the process: for nothing, as the
//! call that waits brings it along.

use rustix::process::Pid;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

/// What a command used: its first process, and those below it that were waited for by their parents. What runs on in the
/// background is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The most memory that one of the processes had, in KiB. It is no less than this process had when it started the
    /// command: until then the new process shares it.
    pub max_memory_kib: u64,
    /// Processor time of all of them, for themselves and in the system.
    pub cpu: Duration,
}

/// Waits for the end of a child of this process.
///
/// # Errors
/// It is no child of this process, or was waited for before.
#[expect(
    unsafe_code,
    reason = "no crate in use has a call that waits and tells what was used"
)]
pub(super) fn wait(child: Pid) -> io::Result<(ExitStatus, Usage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        let id = child.as_raw_nonzero().get();
        // SAFETY: both pointers are to memory of this function that fits what the system writes.
        match unsafe { libc::wait4(id, &raw mut status, 0, usage.as_mut_ptr()) } {
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            _ => break,
        }
    }
    // SAFETY: numbers alone, all of which were zero before the system wrote to them.
    let usage = unsafe { usage.assume_init() };
    let used = Usage {
        max_memory_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
        cpu: duration(usage.ru_utime).saturating_add(duration(usage.ru_stime)),
    };
    Ok((ExitStatus::from_raw(status), used))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
    seconds.saturating_add(Duration::from_micros(
        u64::try_from(time.tv_usec).unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[expect(clippy::zombie_processes, reason = "what is tested here waits for it")]
    fn run(line: &str) -> (ExitStatus, Usage) {
        let child = Command::new("sh").args(["-c", line]).spawn().unwrap();
        wait(Pid::from_raw(child.id().cast_signed()).unwrap()).unwrap()
    }

    #[test]
    fn children_count_with_their_parent() {
        let (status, used) = run("exit 3");
        assert_eq!(status.code(), Some(3));
        assert!(used.max_memory_kib > 0);
        // dd holds the whole block in memory, and takes the time to fill it.
        let (status, used) =
            run("dd if=/dev/zero of=/dev/null bs=100M count=1 2> /dev/null; exit 0");
        assert_eq!(status.code(), Some(0));
        assert!(used.max_memory_kib >= 100 << 10, "{used:?}");
        assert!(used.cpu > Duration::ZERO);
        let (status, _) = run("kill -9 $$");
        assert_eq!(status.signal(), Some(9));
    }

    #[test]
    fn a_process_of_others_is_no_child() {
        assert!(wait(Pid::INIT).is_err());
    }
}
