//! A command that runs, in the hands of a thread that may wait.

use super::marked::kill_marked_blocking;
use super::usage::{self, Usage};
use super::{CommandError, Ended, end_marked_blocking, ended, signal_group};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, pidfd_open, test_kill_process_group};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::time::Duration;

/// What was seen of a command with a pipe from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Something can be read, or the pipe is closed.
    pub output: bool,
    /// It has ended.
    pub ended: bool,
}

/// A shell command that was started. One that is dropped before its end is killed with its group.
#[derive(Debug)]
pub struct RunningCommand {
    child: Child,
    /// Its own id is its group's. No other process gets it before the child is waited for.
    group: Option<Pid>,
    /// Can be read once it has ended.
    handle: OwnedFd,
    /// Known once it has ended.
    used: Option<Usage>,
}

impl RunningCommand {
    pub(super) fn new(mut child: Child) -> Result<Self, CommandError> {
        let group = Pid::from_raw(child.id().cast_signed());
        let opened = match group {
            Some(pid) => pidfd_open(pid, PidfdFlags::empty()),
            None => Err(Errno::SRCH),
        };
        match opened {
            Ok(handle) => Ok(Self {
                child,
                group,
                handle,
                used: None,
            }),
            Err(error) => {
                signal_group(group, Signal::KILL);
                child.wait().map_err(CommandError::Wait)?;
                Err(CommandError::Wait(error.into()))
            }
        }
    }

    /// Waits for its end, but not for long: `None` when it still runs after `at_most`, or sooner.
    /// Not to be asked again after its end.
    ///
    /// # Errors
    /// When it can not be awaited.
    pub fn wait(&mut self, at_most: Duration) -> Result<Option<Ended>, CommandError> {
        let limit = Timespec::try_from(at_most).ok();
        let mut handle = [PollFd::new(&self.handle, PollFlags::IN)];
        match poll(&mut handle, limit.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(None),
            Ok(_) => self.reap().map(Some),
            Err(error) => Err(CommandError::Wait(error.into())),
        }
    }

    /// Waits until it has ended or something can be read from `output`, but not for long. Says which of both is so.
    ///
    /// # Errors
    /// When it can not be awaited.
    pub fn wait_for_output(
        &self,
        output: &impl AsFd,
        at_most: Duration,
    ) -> Result<Heard, CommandError> {
        let ([output], ended) = self.wait_for_outputs([output.as_fd()], at_most)?;
        Ok(Heard { output, ended })
    }

    /// The same for several that can be read from: which of them can be, and whether it has ended.
    ///
    /// # Errors
    /// When it can not be awaited.
    pub fn wait_for_outputs<const N: usize>(
        &self,
        outputs: [BorrowedFd<'_>; N],
        at_most: Duration,
    ) -> Result<([bool; N], bool), CommandError> {
        let limit = Timespec::try_from(at_most).ok();
        let handles = std::iter::once(self.handle.as_fd()).chain(outputs);
        let handles = handles.map(|handle| PollFd::from_borrowed_fd(handle, PollFlags::IN));
        let mut handles: Vec<PollFd<'_>> = handles.collect();
        match poll(&mut handles, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {
                let is_ready = |place: usize| !handles[place].revents().is_empty();
                Ok((
                    std::array::from_fn(|place| is_ready(place + 1)),
                    is_ready(0),
                ))
            }
            Err(error) => Err(CommandError::Wait(error.into())),
        }
    }

    /// Ends it, its group, and every process with this mark: asks first (TERM), and kills after
    /// `grace`. Blocks.
    ///
    /// # Errors
    /// When it can not be awaited.
    pub fn end(&mut self, mark: &str, grace: Duration) -> Result<(), CommandError> {
        signal_group(self.group, Signal::TERM);
        // The shell carries the mark too, so this ends it with all the others.
        end_marked_blocking(mark, grace);
        // What is left in the group threw its environment away.
        signal_group(self.group, Signal::KILL);
        self.reap().map(|_| ())
    }

    /// The process groups that its children lead, of those that there are now.
    #[must_use]
    pub fn groups_of_children(&self) -> Vec<u32> {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        let children = children
            .split_whitespace()
            .filter_map(|child| child.parse().ok());
        let leads = |child: &u32| {
            let child = Pid::from_raw(child.cast_signed());
            child.is_some_and(|child| getpgid(Some(child)) == Ok(child))
        };
        children.filter(leads).collect()
    }

    /// Kills it, its group, and every process with this mark, without asking. Blocks.
    ///
    /// # Errors
    /// When it can not be awaited.
    pub fn kill(&mut self, mark: &str) -> Result<(), CommandError> {
        signal_group(self.group, Signal::KILL);
        kill_marked_blocking(mark);
        self.reap().map(|_| ())
    }

    /// Its process group, which has its own id; no other group has it before the command has ended and its own have gone.
    #[must_use]
    pub fn group(&self) -> u32 {
        self.child.id()
    }

    /// What it used, once it has ended.
    #[must_use]
    pub fn used(&self) -> Option<Usage> {
        self.used
    }

    /// Whether any process of its group is there still: what it left in the background, or, seldom,
    /// one that has got its id anew.
    #[must_use]
    pub fn has_left_some(&self) -> bool {
        self.group
            .is_none_or(|group| test_kill_process_group(group) != Err(Errno::SRCH))
    }

    fn reap(&mut self) -> Result<Ended, CommandError> {
        let child = self.group.ok_or(CommandError::Wait(Errno::SRCH.into()))?;
        let (status, used) = usage::wait(child).map_err(CommandError::Wait)?;
        self.used = Some(used);
        Ok(ended(status))
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        if self.used.is_none() {
            signal_group(self.group, Signal::KILL);
            // Nobody is there to be told.
            self.child.wait().ok();
        }
    }
}
