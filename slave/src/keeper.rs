//! The process beside a slave that keeps one instance: it starts the instance's process, finds out when it answers,
//! starts it again when it ends, writes down what it prints, and ends all of what it started.
//!
//! It is the parent of the instance and outlives the slave's process, so that a slave that is started again finds the
//! instance as it was. Where no slave has spoken to it for a while it ends its instance and itself. Whatever the
//! instance's processes do, they stay below it: those that lose their parents become its children.

mod contact;
mod container;
mod life;
mod limits;
mod output;
mod protocol;
mod readiness;
mod reaper;
mod start;
mod tree;
mod workspace;

pub(crate) use container::container_name;
pub(crate) use limits::remove_left_groups;
pub(crate) use output::piece_of;
pub(crate) use protocol::{ContainerRun, KeeperOrder, Rules, Said, Word, read_line};

use clusterrunner_common::work::ReportedState;
use contact::Contact;
use output::Output;
use rustix::process::{getpid, set_child_subreaper, setsid};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Why an instance can not be started at all. The text is for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct CanNotStart(String);

/// The first argument of a keeper, see [`keep_instance`].
pub(crate) const KEEP_INSTANCE: &str = "keep-instance";

/// The socket of a keeper in its directory.
pub(crate) const SOCKET: &str = "keeper";

/// Where what an instance printed lies in its directory.
pub(crate) fn log_directory(directory: &Path) -> PathBuf {
    directory.join("log")
}

/// All that a keeper does. Its standard input is the socket on which slaves speak to it; the first thing that is said
/// is what it is to keep.
#[must_use]
pub(crate) fn keep_instance() -> ExitCode {
    match keep() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn keep() -> io::Result<()> {
    // Not of the slave's session: a signal to that must not reach it. It fails only for a leader, which has its own.
    setsid().ok();
    rustix::thread::set_name(c"clusterrunner").ok();
    set_child_subreaper(Some(getpid()))?;
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(keep_here(listener))?;
    // A thread that still copies files is not waited for.
    runtime.shutdown_background();
    Ok(())
}

async fn keep_here(listener: UnixListener) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let reaper = reaper::Reaper::start()?;
    let end = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut heard, end) = (signal(kind)?, end.clone());
        tokio::spawn(async move {
            heard.recv().await;
            end.cancel();
        });
    }
    let Some((order, contact)) = Contact::begin(listener, &end).await? else {
        return Ok(());
    };
    let output = Output::open(&order, &contact.said)?;
    let mut last = Box::pin(life::live(&order, &reaper, &output, &contact.said, &end)).await;
    let all_printed = output.finish().await;
    if let ReportedState::Exited { printed, .. } = &mut last {
        *printed = all_printed;
    }
    if let Some(note) = &order.note {
        // Without it a slave that starts later takes it that nobody knows how the run ended.
        note_end(note, &last).ok();
    }
    contact.tell_last(last).await;
    Ok(())
}

fn note_end(note: &Path, last: &ReportedState) -> io::Result<()> {
    let part = note.with_extension("part");
    std::fs::write(&part, serde_json::to_vec(last)?)?;
    std::fs::rename(part, note)
}
