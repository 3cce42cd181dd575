//! What both daemons do as processes: stop on a signal, own their data directory, leave a pid file.

use crate::logging::LogLevel;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the command line says about any daemon.
#[derive(Clone, Debug, Default)]
pub struct DaemonOptions {
    /// The settings file to read in place of the default one.
    pub config_file: Option<PathBuf>,
    /// What is logged, if not what the settings say.
    pub log_level: Option<LogLevel>,
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

/// A data directory that this process alone uses, with its pid in `<name>.pid`. The lock goes with
/// the process, however that ends; the pid file is removed when this is dropped.
#[derive(Debug)]
pub struct DataDirectoryLock {
    pid_file: PathBuf,
    _lock: File,
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
        /// Which directory.
        directory: PathBuf,
        /// What kind of daemon.
        name: String,
    },
    /// The disk refuses.
    #[error("could not use the directory {}: {source}", .directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
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
            pid_file,
            _lock: lock,
        })
    }
}

impl Drop for DataDirectoryLock {
    fn drop(&mut self) {
        // A stale pid file does little harm: whoever reads it checks the process.
        std::fs::remove_file(&self.pid_file).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_user_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/master");
        let lock = DataDirectoryLock::take(&directory, "master").unwrap();
        let pid = std::fs::read_to_string(directory.join("master.pid")).unwrap();
        assert_eq!(pid.trim(), std::process::id().to_string());
        let error = DataDirectoryLock::take(&directory, "master").unwrap_err();
        assert!(matches!(error, LockError::InUse { .. }), "{error}");
        drop(lock);
        assert!(!directory.join("master.pid").exists());
        DataDirectoryLock::take(&directory, "master").unwrap();
    }
}
