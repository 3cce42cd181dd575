//! What instances print, as slaves push it: `instance_logs/<instance>/`, bounded for each.
//!
//! Slaves repeat what they are not sure of. A placement's output counts by its bytes, so each piece is stored once. Of an
//! instance that was placed several times, the outputs follow each other in one text; readers name places in that text.
//! Nothing here is synced: after a power cut a slave sends again what it still has.

mod log;
mod record;
#[cfg(test)]
mod tests;

pub use log::LogText;

use clusterrunner_common::api::instances::LogPiece;
use clusterrunner_common::ids::InstanceId;
use clusterrunner_common::lock::lock;
use log::Log;
use std::collections::{HashMap, HashSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The logs of all instances. Clones are the same.
#[derive(Clone, Debug)]
pub struct InstanceLogs(Arc<Logs>);

#[derive(Debug)]
struct Logs {
    directory: PathBuf,
    max_bytes: u64,
    known: Mutex<HashMap<InstanceId, Arc<Known>>>,
}

/// A log that was asked for.
#[derive(Debug)]
struct Known {
    /// None until it is needed.
    log: Mutex<Option<Log>>,
    /// How long the text is.
    length: watch::Sender<u64>,
}

impl InstanceLogs {
    /// The logs below a directory, which is made if it is not there, each of about `max_bytes` at most. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(directory: PathBuf, max_bytes: u64) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        Ok(Self(Arc::new(Logs {
            directory,
            max_bytes,
            known: Mutex::default(),
        })))
    }

    /// Removes the logs of all instances but these. To be called before anything comes in. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep_only(&self, needed: &HashSet<InstanceId>) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.0.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            // What has another name is none of ours.
            let id = name.to_str().and_then(|name| name.parse().ok());
            if id.is_some_and(|id| !needed.contains(&id)) {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// Stores a piece, unless it is there already. Says how many bytes of the placement's output are there now; nothing
    /// for a placement before the latest one. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn add(&self, piece: &LogPiece) -> io::Result<Option<u64>> {
        self.with(piece.id, |log, length| {
            let end = log.take(piece)?;
            length.send_if_modified(|length| {
                let before = std::mem::replace(length, log.length());
                *length != before
            });
            Ok(end)
        })
    }

    /// The text from `offset` on, at most `most` bytes of it. What is not kept any more is left out. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn read(&self, instance: InstanceId, offset: u64, most: usize) -> io::Result<LogText> {
        self.with(instance, |log, _| log.read(offset, most))
    }

    /// Tells how long the text is, and each time that it grows. The first value comes with the first [`Self::read`] or
    /// [`Self::add`].
    #[must_use]
    pub fn length(&self, instance: InstanceId) -> watch::Receiver<u64> {
        self.known(instance).length.subscribe()
    }

    /// Removes the log of an instance. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove(&self, instance: InstanceId) -> io::Result<()> {
        let known = lock(&self.0.known).remove(&instance);
        // Who writes to it right now comes first.
        let _writer = known.as_ref().map(|known| lock(&known.log));
        match std::fs::remove_dir_all(self.directory_of(instance)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn with<T>(
        &self,
        instance: InstanceId,
        work: impl FnOnce(&mut Log, &watch::Sender<u64>) -> io::Result<T>,
    ) -> io::Result<T> {
        let known = self.known(instance);
        let mut opened = lock(&known.log);
        let log = match &mut *opened {
            Some(log) => log,
            none => {
                let log = Log::open(self.directory_of(instance), self.0.max_bytes)?;
                known.length.send_replace(log.length());
                none.insert(log)
            }
        };
        work(log, &known.length)
    }

    fn known(&self, instance: InstanceId) -> Arc<Known> {
        let mut known = lock(&self.0.known);
        let known = known.entry(instance).or_insert_with(|| {
            Arc::new(Known {
                log: Mutex::default(),
                length: watch::Sender::new(0),
            })
        });
        Arc::clone(known)
    }

    fn directory_of(&self, instance: InstanceId) -> PathBuf {
        self.0.directory.join(instance.to_string())
    }
}
