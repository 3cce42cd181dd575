//! What instances print, as slaves push it: `instance_logs/<instance>/`, bounded for each.
//!
//! Slaves repeat what they are not sure of. A placement's output counts by its bytes, so each piece is stored once. Of an
//! instance that was placed several times, the outputs follow each other in one text; readers name places in that text.
//! Nothing here is synced: after a power cut a slave sends again what it still has.

mod log;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use log::LogText;

use clusterrunner_common::api::instances::{LogPiece, MAX_RUN_OUTPUT};
use clusterrunner_common::ids::{Generation, InstanceId};
use clusterrunner_common::lock::lock;
use log::Log;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The logs of all instances. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct InstanceLogs(Arc<Logs>);

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
    /// Of a run that has ended: under which placement it printed how many bytes.
    expected: watch::Sender<Option<(Generation, u64)>>,
}

impl InstanceLogs {
    /// The logs below a directory, which is made if it is not there, each of about `max_bytes` at most. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn open(directory: PathBuf, max_bytes: u64) -> io::Result<Self> {
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
    pub(crate) fn keep_only(&self, needed: &HashSet<InstanceId>) -> io::Result<()> {
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
    pub(crate) fn add(&self, piece: &LogPiece) -> io::Result<Option<u64>> {
        self.add_at_most(piece, self.0.max_bytes)
    }

    /// The same for a run, of which all is kept until it was read.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn add_of_run(&self, piece: &LogPiece) -> io::Result<Option<u64>> {
        self.add_at_most(piece, MAX_RUN_OUTPUT.max(self.0.max_bytes))
    }

    fn add_at_most(&self, piece: &LogPiece, max_bytes: u64) -> io::Result<Option<u64>> {
        self.with(piece.id, |log, length| {
            let end = log.take(piece, max_bytes)?;
            length.send_if_modified(|length| {
                let before = std::mem::replace(length, log.length());
                *length != before
            });
            Ok(end)
        })
    }

    /// How many bytes of a placement's output are there; nothing for a placement before the latest one. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn end_of(
        &self,
        instance: InstanceId,
        placement: Generation,
    ) -> io::Result<Option<u64>> {
        let latest = self.with(instance, |log, _| Ok(log.end()));
        latest.map(|(generation, end)| match generation.cmp(&placement) {
            Ordering::Less => Some(0),
            Ordering::Equal => Some(end),
            Ordering::Greater => None,
        })
    }

    /// Takes note that a run has printed so many bytes in all under this placement: how much is still on its way.
    pub(crate) fn expect(&self, run: InstanceId, placement: Generation, printed: u64) {
        let known = self.known(run);
        known.expected.send_replace(Some((placement, printed)));
    }

    /// Waits until all that a run printed is here. Nothing says how long that takes, or that it ever comes.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) async fn is_whole(&self, run: InstanceId) -> io::Result<()> {
        let known = self.known(run);
        let (mut expected, mut length) = (known.expected.subscribe(), known.length.subscribe());
        loop {
            expected.mark_unchanged();
            length.mark_unchanged();
            let awaited = *expected.borrow();
            if let Some((placement, printed)) = awaited {
                let logs = self.clone();
                let end = tokio::task::spawn_blocking(move || logs.end_of(run, placement)).await;
                let end = end.unwrap_or_else(|error| Err(io::Error::other(error)))?;
                if end.is_none_or(|end| end >= printed) {
                    return Ok(());
                }
            }
            // Both live as long as the log is known.
            tokio::select! {
                _ = expected.changed() => {}
                _ = length.changed() => {}
            }
        }
    }

    /// Keeps of a run's output no more than of other instances'. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn shrink(&self, run: InstanceId) -> io::Result<()> {
        self.with(run, |log, _| log.shrink(self.0.max_bytes))
    }

    /// The text from `offset` on, at most `most` bytes of it. What is not kept any more is left out. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn read(
        &self,
        instance: InstanceId,
        offset: u64,
        most: usize,
    ) -> io::Result<LogText> {
        self.with(instance, |log, _| log.read(offset, most))
    }

    /// Tells how long the text is, and each time that it grows. The first value comes with the first [`Self::read`] or
    /// [`Self::add`].
    #[must_use]
    pub(crate) fn length(&self, instance: InstanceId) -> watch::Receiver<u64> {
        self.known(instance).length.subscribe()
    }

    /// Removes the log of an instance. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn remove(&self, instance: InstanceId) -> io::Result<()> {
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
                let log = Log::open(self.directory_of(instance))?;
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
                expected: watch::Sender::new(None),
            })
        });
        Arc::clone(known)
    }

    fn directory_of(&self, instance: InstanceId) -> PathBuf {
        self.0.directory.join(instance.to_string())
    }
}
