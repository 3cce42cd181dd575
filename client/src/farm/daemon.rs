//! Daemons of this machine, found by the process ids that they left in files.

use crate::output;
use crate::trouble::Trouble;
use clusterrunner_common::disk::regular_file;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::env;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a daemon may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// How long the system may take to remove a killed process.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// Pause between two looks whether a process is still there.
const LOOK: Duration = Duration::from_millis(20);

/// The master's pid file.
pub(crate) fn master_pid_file(base: &Path) -> PathBuf {
    base.join("master").join("master.pid")
}

/// The slaves that may run, and the files with their process ids.
pub(crate) fn slave_pid_files(base: &Path) -> Vec<(String, PathBuf)> {
    let mut files: Vec<(String, PathBuf)> = fs::read_dir(base)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let port = name.strip_prefix("slave-")?;
            Some((
                format!("slave at port {port}"),
                entry.path().join("slave.pid"),
            ))
        })
        .collect();
    files.sort();
    files
}

/// How much is read of a pid file.
pub(super) const MAX_PID: u64 = 64;

/// A running process of ours.
pub(crate) struct Daemon {
    pid: Pid,
    /// Pins the process, so that a signal can not reach another one that got its id.
    handle: OwnedFd,
}

impl Daemon {
    /// The process that a pid file names; `None` when there is no such process, or when its id has
    /// gone to a program that is not ClusterRunner. Where the directory is locked the file is right, whatever the
    /// program is called.
    pub(crate) fn find(pid_file: &Path) -> Option<Self> {
        Self::find_where(pid_file, |pid| is_clusterrunner(pid) || is_locked(pid_file))
    }

    /// As [`Self::find`]; `is_meant` says what process is the right one.
    pub(super) fn find_where(pid_file: &Path, is_meant: impl Fn(Pid) -> bool) -> Option<Self> {
        let text = regular_file::read_to_string(pid_file, MAX_PID).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok().filter(|pid| *pid > 1)?)?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        (is_meant(pid) && !is_gone(pid)).then_some(Self { pid, handle })
    }

    /// Whether it is a process of the user of this command.
    pub(super) fn is_of_this_user(&self) -> bool {
        let process = fs::metadata(format!("/proc/{}", self.pid.as_raw_nonzero()));
        process.is_ok_and(|process| process.uid() == rustix::process::geteuid().as_raw())
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> impl std::fmt::Display {
        self.pid.as_raw_nonzero()
    }

    /// Has a slave finish what it runs and end; says whether it was still there.
    pub(crate) fn drain(&self) -> Result<bool, Trouble> {
        self.signal(Signal::USR1)
    }

    /// Waits for its end, however long that takes.
    pub(crate) fn wait(&self) {
        while !self.is_gone_within(GRACE) {}
    }

    /// The port on its command line.
    pub(crate) fn port(&self) -> Option<u16> {
        self.option(&["--port", "-p"])?.parse().ok()
    }

    /// Whether it is a slave of the master at this address, by its command line.
    pub(super) fn follows(&self, master: &str) -> bool {
        self.option(&["--master-url", "-m"]).as_deref() == Some(master)
    }

    /// Whether it has not ended.
    pub(super) fn is_running(&self) -> bool {
        !is_gone(self.pid)
    }

    /// The value of an option on its command line.
    fn option(&self, names: &[&str]) -> Option<String> {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid.as_raw_nonzero())).ok()?;
        let line = String::from_utf8_lossy(&line);
        let mut arguments = line.split('\0');
        arguments.find(|argument| names.contains(argument))?;
        arguments.next().map(str::to_owned)
    }

    /// Asks it to end, and kills it if it does not.
    pub(crate) fn end(&self, what: &str) -> Result<(), Trouble> {
        let pid = self.pid.as_raw_nonzero();
        // A slave with `drain_on_stop` ends at the second signal.
        let is_asked = self.signal(Signal::TERM)? && !self.is_gone_within(GRACE);
        if is_asked && self.signal(Signal::TERM)? && !self.is_gone_within(GRACE) {
            output::complain(format!(
                "the {what} (process {pid}) did not end within {} s and is killed",
                2 * GRACE.as_secs()
            ));
            self.signal(Signal::KILL)?;
            self.is_gone_within(KILL_GRACE);
        }
        output::tell(format!("Stopped the {what} (process {pid})."));
        Ok(())
    }

    /// Says whether the process was still there.
    fn signal(&self, signal: Signal) -> Result<bool, Trouble> {
        match pidfd_send_signal(&self.handle, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => {
                let pid = self.pid.as_raw_nonzero();
                let trouble = Trouble::new(format!("could not end process {pid}: {error}"));
                Err(trouble.hint("it may belong to another user; try as that user, or with sudo"))
            }
        }
    }

    fn is_gone_within(&self, limit: Duration) -> bool {
        let started = Instant::now();
        while started.elapsed() < limit {
            if is_gone(self.pid) {
                return true;
            }
            std::thread::sleep(LOOK);
        }
        is_gone(self.pid)
    }
}

/// Whether the process has ended; a zombie has, though nobody has asked for its exit code yet.
fn is_gone(pid: Pid) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat", pid = pid.as_raw_nonzero()))
    else {
        return true;
    };
    // The state follows the program's name, which is in parentheses and may hold any character.
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.trim().chars().next());
    matches!(state, Some('Z' | 'X'))
}

/// Whether a daemon has the directory of its pid file now.
fn is_locked(pid_file: &Path) -> bool {
    let lock = pid_file.parent().map(|directory| directory.join("lock"));
    let lock = lock.and_then(|lock| regular_file::open(&lock).ok());
    let taken = lock.map(|lock| flock(&lock, FlockOperation::NonBlockingLockShared));
    matches!(taken, Some(Err(Errno::WOULDBLOCK)))
}

/// Whether a process runs a program that is called `clusterrunner...`, or as this one. Its arguments do not
/// count: an editor with a `clusterrunner.yaml` must not be ended.
fn is_clusterrunner(pid: Pid) -> bool {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let own = env::current_exe().unwrap_or_default();
    let named = |path: &Path| {
        path.file_name().is_some_and(|name| {
            name.to_string_lossy().starts_with("clusterrunner") || Some(name) == own.file_name()
        })
    };
    let program = fs::read_link(process.join("exe")).is_ok_and(|path| named(&path));
    let first_argument = || {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
        named(Path::new(&*String::from_utf8_lossy(first)))
    };
    program || first_argument()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::daemon::DataDirectoryLock;
    use std::process::Command;

    #[test]
    fn a_renamed_program_is_found_by_the_lock_of_its_directory() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("slave-1");
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let pid_file = directory.join("slave.pid");
        let write = || fs::write(&pid_file, format!("{}\n", other.id())).unwrap();
        let lock = DataDirectoryLock::take(&directory, "slave").unwrap();
        write();
        assert!(Daemon::find(&pid_file).is_some());
        drop(lock);
        write();
        // Its id has gone to another program.
        assert!(Daemon::find(&pid_file).is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
