//! What both daemons do as processes: stop on a signal, own their data directory, leave a pid file.

mod listening;

pub use listening::{ListenError, listen, listen_for};

use crate::logs::logging::LogLevel;
use crate::settings::{GeneralSettings, unknown_variables_here};
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What every command line of this program takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CommonOptions {
    /// Read the settings from this file [default: clusterrunner.conf in the base directory]
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        value_parser = OsStringValueParser::new().try_map(absolute),
        display_order = 900
    )]
    pub config_file: Option<PathBuf>,
    /// Print details: master and settings in use, each atom of a build; daemons log their calls
    #[arg(
        short,
        long,
        global = true,
        overrides_with_all = ["verbose", "quiet"],
        display_order = 901
    )]
    pub verbose: bool,
    /// Print only results and errors
    #[arg(
        short,
        long,
        global = true,
        overrides_with_all = ["verbose", "quiet"],
        display_order = 902
    )]
    pub quiet: bool,
}

impl CommonOptions {
    /// What a daemon logs, if not what the settings say.
    #[must_use]
    pub fn log_level(&self) -> Option<LogLevel> {
        match (self.verbose, self.quiet) {
            (true, _) => Some(LogLevel::Debug),
            (false, true) => Some(LogLevel::Error),
            (false, false) => None,
        }
    }
}

/// The path from the root: daemons that are started go elsewhere, and so does who enters a command that is suggested.
fn absolute(path: OsString) -> io::Result<PathBuf> {
    std::path::absolute(path)
}

/// Cancels the token at the first SIGTERM or SIGINT.
///
/// # Errors
/// The signals can not be received.
pub fn stop_on_signal() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn({
        let stop = stop.clone();
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("told to stop");
            stop.cancel();
        }
    });
    Ok(stop)
}

/// Tells the log of variables of the environment that were probably meant as settings.
pub fn warn_of_unknown_variables() {
    for unknown in unknown_variables_here() {
        tracing::warn!("{unknown}");
    }
}

/// Tells the log that only `accept_legacy_peers` lets the secret pass.
pub fn warn_of_weak_secret(settings: &GeneralSettings) {
    if let Some(weakness) = &settings.secret_weakness {
        tracing::warn!("accept_legacy_peers lets a weak secret pass: {weakness}");
    }
}

/// A data directory that this process alone uses, with its pid in `<name>.pid`. The lock goes with
/// the process, however that ends; the pid file is removed when this is dropped.
#[derive(Debug)]
pub struct DataDirectoryLock {
    /// What it has written there; the first has the process id.
    files: Vec<PathBuf>,
    lock: File,
}

/// Why a data directory can not be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "{} is in use by another {name}. Stop that one (`clusterrunner stop`), or give this one another \
         base_directory",
        .directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// What kind of daemon.
        name: String,
    },
    /// The disk refuses.
    #[error("could not use the directory {}: {source}", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl DataDirectoryLock {
    /// Makes the directory if need be, private to this user, and takes it for this process.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn take(directory: &Path, name: &str) -> Result<Self, LockError> {
        let failed = |source| LockError::Directory {
            directory: directory.to_owned(),
            source,
        };
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
        builder.create(directory).map_err(failed)?;
        let lock = File::create(directory.join("lock")).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::InUse {
                    directory: directory.to_owned(),
                    name: name.to_owned(),
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        let pid_file = directory.join(format!("{name}.pid"));
        std::fs::write(&pid_file, format!("{}\n", std::process::id())).map_err(failed)?;
        Ok(Self {
            files: vec![pid_file],
            lock,
        })
    }

    /// Writes down where this process listens, for the commands of its user.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn note_address(&mut self, address: SocketAddr) -> Result<(), LockError> {
        let Some(file) = self.files.first().map(|pid| pid.with_extension("address")) else {
            return Ok(());
        };
        let written = std::fs::write(&file, format!("{address}\n"));
        self.files.push(file.clone());
        written.map_err(|source| LockError::Directory {
            directory: file,
            source,
        })
    }

    /// Gives a directory up that was removed and made anew: the files in it are of another lock.
    pub fn give_up(mut self) {
        self.files.clear();
    }
}

impl Drop for DataDirectoryLock {
    fn drop(&mut self) {
        for file in &self.files {
            // A stale pid file does little harm: its readers check the process.
            std::fs::remove_file(file).ok();
        }
        // Closing the file is not enough: a child that was just started has a copy of it until it has
        // become another program.
        flock(&self.lock, FlockOperation::Unlock).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_user_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/master");
        let mut lock = DataDirectoryLock::take(&directory, "master").unwrap();
        lock.note_address(([127, 0, 0, 1], 43_000).into()).unwrap();
        let address = std::fs::read_to_string(directory.join("master.address"));
        assert_eq!(address.unwrap(), "127.0.0.1:43000\n");
        let pid = std::fs::read_to_string(directory.join("master.pid")).unwrap();
        assert_eq!(pid.trim(), std::process::id().to_string());
        let error = DataDirectoryLock::take(&directory, "master").unwrap_err();
        assert!(matches!(error, LockError::InUse { .. }), "{error}");
        drop(lock);
        for file in ["master.pid", "master.address"] {
            assert!(!directory.join(file).exists(), "{file}");
        }
        DataDirectoryLock::take(&directory, "master").unwrap();
    }

    #[test]
    fn a_directory_that_is_given_back_is_free_whoever_has_copies_of_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let lock = DataDirectoryLock::take(directory.path(), "slave").unwrap();
        let _copy = lock.lock.try_clone().unwrap();
        drop(lock);
        DataDirectoryLock::take(directory.path(), "slave").unwrap();
    }
}
