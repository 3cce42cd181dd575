//! A small process beside a daemon that ends the daemon's commands when the daemon is killed: a process that is
//! killed can end nothing itself, and what it started would run on, with nobody to take its results.

use crate::process::command::end_marked_blocking;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

/// The first argument of a guardian, see [`guard`].
pub const GUARD: &str = "guard-processes";

/// A guardian of this process. It goes when this is dropped.
#[derive(Debug)]
pub struct Guardian(Child);

impl Guardian {
    /// Starts one: a process of `program`, which must call [`guard`] if its first argument is [`GUARD`]. When this
    /// process is gone, it ends those whose mark begins with `mark`: asks first, and kills after `grace`.
    ///
    /// # Errors
    /// It can not be started.
    pub fn start(program: &Path, mark: &str, grace: Duration) -> io::Result<Self> {
        let mut command = Command::new(program);
        command
            .args([GUARD, mark, &grace.as_millis().to_string()])
            // It sees by the end of its input that this process is gone.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            // What ends this process by its group must not end the guardian.
            .process_group(0);
        command.spawn().map(Self)
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            tracing::warn!(%error, "could not wait for the guardian of the processes");
        }
    }
}

/// All that a guardian does. Its further arguments are the mark and the grace in milliseconds.
#[must_use]
pub fn guard() -> ExitCode {
    let mut arguments = std::env::args_os().skip(2);
    let (mark, grace) = (arguments.next(), arguments.next());
    let grace = grace.and_then(|grace| grace.to_str()?.parse().ok());
    let (Some(mark), Some(grace)) = (mark.and_then(text), grace) else {
        return ExitCode::FAILURE;
    };
    // Nothing is ever written to it: it ends with the process at its other end.
    io::stdin().read_to_end(&mut Vec::new()).ok();
    end_marked_blocking(&mark, Duration::from_millis(grace));
    ExitCode::SUCCESS
}

/// A mark that is empty would be everybody's.
fn text(mark: OsString) -> Option<String> {
    mark.into_string().ok().filter(|mark| !mark.is_empty())
}
