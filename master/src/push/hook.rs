//! The hook that git runs before it takes a push: it tells the master what is pushed, shows the pusher what the master
//! says, and does what needs git's own view of objects that are not in the repository yet. The master decides.
//!
//! It is a process of the master's own program, started by git, and ends with the master.

use super::updates::{MOST, Update};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The first argument of a process that is such a hook, see [`push_hook`].
pub const PUSH_HOOK: &str = "push-hook";

/// The variable with the place where the master listens to hooks.
pub(super) const SOCKET_VARIABLE: &str = "CLUSTERRUNNER_PUSH_SOCKET";

/// The variable with what tells a push from others.
pub(super) const TOKEN_VARIABLE: &str = "CLUSTERRUNNER_PUSH_TOKEN";

/// The longest line between hook and master, and the most that git tells a hook.
pub(super) const LONGEST_LINE: u64 = 1 << 20;

/// What a hook says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromHook {
    /// First of all: which push it is of, and what is pushed.
    Begin {
        /// What tells the push from others.
        token: String,
        /// The refs that are to change.
        updates: Vec<Update>,
    },
    /// Whether git has stored a commit.
    Kept(bool),
}

/// What the master says to a hook.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHook {
    /// A line for the pusher.
    Say(String),
    /// Store a commit, with all that it needs, in the repository, under a ref.
    Keep {
        /// The repository.
        repository: PathBuf,
        /// The commit.
        commit: String,
        /// The whole name of the ref.
        name: String,
    },
    /// The push is taken, or not.
    End {
        /// Whether it is taken.
        is_taken: bool,
    },
}

/// Is the hook of a push, as git has started it. To be called from `main`, before anything else.
#[must_use]
pub fn push_hook() -> ExitCode {
    match talk() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // The pusher sees it, and git refuses the push.
            let mut said = io::stderr().lock();
            writeln!(said, " !     The master has broken off the push: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

fn talk() -> io::Result<bool> {
    let variable = |name: &str| -> io::Result<OsString> {
        let missing = || io::Error::other(format!("{name} is not set: only a master starts this"));
        std::env::var_os(name).ok_or_else(missing)
    };
    let socket = PathBuf::from(variable(SOCKET_VARIABLE)?);
    let token = variable(TOKEN_VARIABLE)?.to_string_lossy().into_owned();
    let updates = updates(io::stdin().lock().take(LONGEST_LINE + 1))?;
    let mut stream = connect(&socket)?;
    tell(&mut stream, &FromHook::Begin { token, updates })?;
    let mut heard = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = Vec::new();
        (&mut heard)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::Error::other("it is gone"));
        }
        match serde_json::from_slice(&line)? {
            ToHook::Say(line) => {
                let mut said = io::stderr().lock();
                writeln!(said, "{line}")?;
            }
            ToHook::Keep {
                repository,
                commit,
                name,
            } => {
                let is_kept = keep(&repository, &commit, &name)?;
                tell(&mut stream, &FromHook::Kept(is_kept))?;
            }
            ToHook::End { is_taken } => return Ok(is_taken),
        }
    }
}

fn updates(mut told: impl io::Read) -> io::Result<Vec<Update>> {
    let mut text = String::new();
    told.read_to_string(&mut text)?;
    let updates: Option<Vec<Update>> = text.lines().map(Update::of_line).collect();
    let updates = updates.ok_or_else(|| io::Error::other("git tells what nobody understands"))?;
    if text.len() as u64 > LONGEST_LINE || updates.len() > MOST {
        let most = format!("one push can change {MOST} refs at most");
        return Err(io::Error::other(most));
    }
    Ok(updates)
}

/// The address of a socket has 107 bytes at most, its path may have more.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (directory, short) = short(socket)?;
    let stream = UnixStream::connect(short);
    drop(directory);
    stream
}

/// A short path of the same place, for as long as the directory stays open.
pub(super) fn short(path: &Path) -> io::Result<(File, PathBuf)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = File::open(parent)?;
    let short = format!("/proc/self/fd/{}", directory.as_raw_fd());
    Ok((directory, Path::new(&short).join(name)))
}

fn tell(stream: &mut UnixStream, said: &FromHook) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// The objects of a push are only git's, beside the repository, until the hook has agreed; a ref can not lead to them.
/// So git pushes once more, from there into the repository itself.
fn keep(repository: &Path, commit: &str, name: &str) -> io::Result<bool> {
    let status = Command::new("git")
        .args(["push", "--quiet", "--no-verify", "--force", "--"])
        .arg(repository)
        .arg(format!("{commit}:{name}"))
        // It forbids refs that lead to objects that are given up with the push. This one's objects are stored.
        .env_remove("GIT_QUARANTINE_PATH")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    Ok(status.success())
}
