//! Children are split off from a process that has started the program once: to start it takes longer than most of the
//! work, and a copy of a process that has started does not.

use super::birth::{NURSERY, PIPES};
use super::running::{Process, Running, SplitOff};
use crate::process::open_files;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Pid;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

/// How long it may take for a child to be there: the first one waits for the start of the program.
const LATEST: Duration = Duration::from_secs(5);

/// The process that children are split off from. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Nursery {
    process: Child,
    orders: UnixStream,
}

impl Nursery {
    /// Starts it by a command that starts a child.
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        let (ours, its) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let orders = UnixStream::from_std(ours)?;
        let process = command
            .arg(NURSERY)
            .stdin(OwnedFd::from(its))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(id) = process.id() {
            open_files::lower_limit_of(id);
        }
        Ok(Self { process, orders })
    }

    /// A new child, whose commands carry this mark.
    pub(super) async fn bear(&mut self, mark: &str) -> io::Result<Running> {
        let (its_input, input) = io::pipe()?;
        let (output, its_output) = io::pipe()?;
        let (errors, its_errors) = io::pipe()?;
        let its: [OwnedFd; PIPES] = [its_input.into(), its_output.into(), its_errors.into()];
        // What may fail fails while there is no child.
        let input = pipe::Sender::from_owned_fd(input.into())?;
        let output = pipe::Receiver::from_owned_fd(output.into())?;
        let errors = pipe::Receiver::from_owned_fd(errors.into())?;
        let asking = async {
            self.ask(mark, &its).await?;
            self.orders.read_i32().await
        };
        let answer = tokio::time::timeout(LATEST, asking).await??;
        let pid = match answer {
            1.. => Pid::from_raw(answer),
            _ => return Err(Errno::from_raw_os_error(answer.saturating_neg()).into()),
        };
        let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Running {
            process: Process::SplitOff(SplitOff::of(pid)?),
            input,
            output,
            errors,
        })
    }

    async fn ask(&self, mark: &str, pipes: &[OwnedFd; PIPES]) -> io::Result<()> {
        let pipes = pipes.each_ref().map(|pipe| pipe.as_fd());
        loop {
            self.orders.writable().await?;
            let sent = self.orders.try_io(tokio::io::Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PIPES))];
                let mut with = SendAncillaryBuffer::new(&mut space);
                with.push(SendAncillaryMessage::ScmRights(&pipes));
                let mark = &[IoSlice::new(mark.as_bytes())];
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                Ok(sendmsg(&self.orders, mark, &mut with, flags)?)
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(sent) if sent < mark.len() => return Err(io::ErrorKind::WriteZero.into()),
                sent => return sent.map(drop),
            }
        }
    }

    /// Ends it, and returns when it is gone.
    pub(super) async fn end(self) {
        let Self {
            mut process,
            orders,
        } = self;
        drop(orders);
        if tokio::time::timeout(LATEST, process.wait()).await.is_err() {
            process.kill().await.ok();
        }
    }
}
