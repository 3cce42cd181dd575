//! A child that runs, however it came to be.

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process_group, pidfd_open, pidfd_send_signal,
    waitpid,
};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::process::Child;

/// A child, and what it is spoken to by.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) input: pipe::Sender,
    pub(super) output: pipe::Receiver,
    pub(super) errors: pipe::Receiver,
}

/// A child's process. One that nobody waits for any more is killed.
#[derive(Debug)]
pub(super) enum Process {
    /// The program was started for it.
    Started(Child),
    /// It was split off from a process that had started.
    SplitOff(SplitOff),
}

impl Process {
    /// Its number, until it was waited for.
    pub(super) fn id(&self) -> Option<u32> {
        match self {
            Self::Started(child) => child.id(),
            Self::SplitOff(child) => child.pid().map(|pid| pid.as_raw_pid().cast_unsigned()),
        }
    }

    pub(super) fn is_running(&mut self) -> bool {
        match self {
            Self::Started(child) => matches!(child.try_wait(), Ok(None)),
            Self::SplitOff(child) => child.is_running(),
        }
    }

    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        match self {
            Self::Started(child) => child.wait().await,
            Self::SplitOff(child) => child.wait().await,
        }
    }

    /// Ends it and its group at once.
    pub(super) async fn kill(&mut self) {
        // Its own session is its group's; before it has made one, it is alone.
        if let Some(group) = self.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process_group(group, Signal::KILL).ok();
        }
        match self {
            Self::Started(child) => child.kill().await.ok(),
            Self::SplitOff(child) => {
                child.kill();
                child.wait().await.ok().map(drop)
            }
        };
    }
}

/// A child of this process that the C library knows nothing of.
#[derive(Debug)]
pub(super) struct SplitOff(State);

#[derive(Debug)]
enum State {
    Running(Pid, AsyncFd<OwnedFd>),
    Ended(ExitStatus),
}

impl SplitOff {
    /// That with this number. Nobody has waited for it yet, so the number is its own.
    #[expect(unsafe_code, reason = "tokio has it in no safe form")]
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
        // SAFETY: the descriptor is owned: it is the same, and open, until what it is put into closes it.
        let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        Ok(Self(State::Running(pid, watched)))
    }

    fn pid(&self) -> Option<Pid> {
        match self.0 {
            State::Running(pid, _) => Some(pid),
            State::Ended(_) => None,
        }
    }

    fn is_running(&mut self) -> bool {
        let State::Running(pid, _) = self.0 else {
            return false;
        };
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(None) => true,
            Ok(Some((_, status))) => {
                self.0 = State::Ended(ExitStatus::from_raw(status.as_raw()));
                false
            }
            Err(_) => false,
        }
    }

    fn kill(&self) {
        if let State::Running(_, watched) = &self.0 {
            // Its end is all that can be in the way.
            pidfd_send_signal(watched, Signal::KILL).ok();
        }
    }

    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let (pid, watched) = match &self.0 {
            State::Running(pid, watched) => (*pid, watched),
            State::Ended(status) => return Ok(*status),
        };
        let status = wait_for(pid, watched).await?;
        self.0 = State::Ended(status);
        Ok(status)
    }
}

async fn wait_for(pid: Pid, watched: &AsyncFd<OwnedFd>) -> io::Result<ExitStatus> {
    loop {
        let mut ready = watched.readable().await?;
        match waitpid(Some(pid), WaitOptions::NOHANG)? {
            Some((_, status)) => return Ok(ExitStatus::from_raw(status.as_raw())),
            None => ready.clear_ready(),
        }
    }
}

impl Drop for SplitOff {
    fn drop(&mut self) {
        self.kill();
        let ended = State::Ended(ExitStatus::default());
        if let State::Running(pid, watched) = std::mem::replace(&mut self.0, ended)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // It must not stay as a zombie.
            runtime.spawn(async move { wait_for(pid, &watched).await });
        }
    }
}
