//! `clusterrunner stop`: end the daemons of this base directory, the original's among them, by the process ids they left
//! there.

use super::{client_of, originals};
use crate::options::{CommonOptions, StopOptions};
use crate::output;
use crate::settings::Settings;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::BuildId;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a daemon may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// How long the system may take to remove a killed process.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// Pause between two looks whether a process is still there.
const LOOK: Duration = Duration::from_millis(20);

/// How long a master may take to say what it works on.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Ends slaves, then the master. The order spares the master from handing work of slaves that are
/// about to go to others.
pub(crate) async fn run(options: StopOptions, common: CommonOptions) -> Result<ExitCode, Trouble> {
    let base = Settings::base_directory(&common)?;
    let master = Daemon::find(&master_pid_file(&base));
    let slaves: Vec<(String, Daemon)> = slave_pid_files(&base)
        .into_iter()
        .filter_map(|(what, pid_file)| Some((what, Daemon::find(&pid_file)?)))
        .collect();
    let originals = originals::find(&base);
    if let Some(default) = Settings::default_directory().filter(|default| *default != base) {
        for (what, daemon) in originals::find(&default) {
            let pid = daemon.pid.as_raw_nonzero();
            output::note(format!(
                "The {what} (process {pid}) runs, and goes on: its process id stands in {}.",
                default.display()
            ));
        }
    }
    if master.is_none() && slaves.is_empty() && originals.is_empty() {
        output::tell(format!(
            "No ClusterRunner is running for {}.",
            base.display()
        ));
        return Ok(ExitCode::Success);
    }
    if options.drain {
        drain(&slaves)?;
    }
    // Asked before its slaves go, told when all is done.
    let unfinished = match &master {
        Some(master) => unfinished(master, &common).await,
        None => Vec::new(),
    };
    for (what, daemon) in slaves.iter().chain(&originals) {
        daemon.end(what)?;
    }
    if let Some(master) = &master {
        master.end("master")?;
    }
    match unfinished.as_slice() {
        [] => {}
        [one] => output::say(format!(
            "Build {one} is not over: it goes on when the master is started again."
        )),
        builds => {
            let builds: Vec<String> = builds.iter().map(BuildId::to_string).collect();
            output::say(format!(
                "Builds {} are not over: they go on when the master is started again.",
                builds.join(", ")
            ));
        }
    }
    Ok(ExitCode::Success)
}

/// Waits until the slaves have finished what they run, however long that takes.
fn drain(slaves: &[(String, Daemon)]) -> Result<(), Trouble> {
    for (what, slave) in slaves {
        if slave.signal(Signal::USR1)? {
            output::note(format!("The {what} finishes the atoms that it runs."));
        }
    }
    for (_, slave) in slaves {
        while !slave.is_gone_within(GRACE) {}
    }
    Ok(())
}

/// The builds that a master of this machine has not brought to an end, as far as it says so in time.
async fn unfinished(master: &Daemon, common: &CommonOptions) -> Vec<BuildId> {
    let Ok(settings) = Settings::load(common) else {
        return Vec::new();
    };
    let port = master.port().unwrap_or(settings.port);
    let address = format!("{}:{port}", Ipv4Addr::LOCALHOST);
    let Ok(client) = client_of(&address, 0, &settings) else {
        return Vec::new();
    };
    match tokio::time::timeout(ANSWER_LIMIT, client.queue()).await {
        Ok(Ok(builds)) => builds.iter().map(|build| build.id).collect(),
        // It may be hung, which is why it is stopped.
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// The master's pid file.
pub(crate) fn master_pid_file(base: &Path) -> PathBuf {
    base.join("master").join("master.pid")
}

/// The slaves that may run, and the files with their process ids.
fn slave_pid_files(base: &Path) -> Vec<(String, PathBuf)> {
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
pub(crate) const MAX_PID: u64 = 64;

/// A running process of ours.
pub(crate) struct Daemon {
    pid: Pid,
    /// Pins the process, so that a signal can not reach another one that got its id.
    handle: OwnedFd,
}

impl Daemon {
    /// The process that a pid file names; `None` when there is no such process, or when its id has
    /// gone to a program that is not ClusterRunner.
    pub(crate) fn find(pid_file: &Path) -> Option<Self> {
        Self::find_where(pid_file, is_clusterrunner)
    }

    /// As [`Self::find`]; `is_meant` says what process is the right one.
    pub(super) fn find_where(pid_file: &Path, is_meant: impl Fn(Pid) -> bool) -> Option<Self> {
        let text = regular_file::read_to_string(pid_file, MAX_PID).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok().filter(|pid| *pid > 1)?)?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        (is_meant(pid) && !is_gone(pid)).then_some(Self { pid, handle })
    }

    /// The port on its command line.
    fn port(&self) -> Option<u16> {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid.as_raw_nonzero())).ok()?;
        let line = String::from_utf8_lossy(&line);
        let mut arguments = line.split('\0');
        arguments.find(|argument| matches!(*argument, "--port" | "-p"))?;
        arguments.next()?.parse().ok()
    }

    fn end(&self, what: &str) -> Result<(), Trouble> {
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

/// Whether a process runs a program that is called `clusterrunner...`. Its arguments do not count:
/// an editor with a `clusterrunner.yaml` must not be ended.
fn is_clusterrunner(pid: Pid) -> bool {
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let named = |path: &Path| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.starts_with("clusterrunner"))
    };
    let program = fs::read_link(process.join("exe")).is_ok_and(|path| named(&path));
    let first_argument = || {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
        named(Path::new(&*String::from_utf8_lossy(first)))
    };
    program || first_argument()
}
