//! The engine, with the guards that it needs.
//!
//! sled 0.34 keeps acknowledged data over the death of the process; over a power cut only with the
//! guards used here: values stay small enough never to become blob files (which it does not sync),
//! the data file is synced after each flush, and the remains of a death during `open` are removed.

use super::JournalError;
use super::acknowledged::Acknowledged;
use sled::{Batch, Tree};
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

const SEGMENT_SIZE: usize = 2 << 20;
/// All that is read again and again is in memory already.
const CACHE_SIZE: u64 = 16 << 20;

/// How many keys are removed at a time.
const REMOVED_AT_A_TIME: usize = 1000;

/// The trees of one journal. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Store {
    db: sled::Db,
    /// Facts, by their number.
    pub(super) events: Tree,
    /// States, by the number of events that they hold.
    pub(super) snapshots: Tree,
    /// Which state counts.
    pub(super) meta: Tree,
    /// Builds that are over, without their subjobs, by id.
    pub(super) ended: Tree,
    /// The subjobs of builds that are over, by build and number.
    pub(super) ended_subjobs: Tree,
    /// How long atoms took, by job and atom.
    pub(super) timings: Tree,
    data_file: Arc<File>,
    /// How many events were acknowledged.
    pub(super) acknowledged: Arc<Acknowledged>,
}

impl Store {
    /// Opens the trees in `directory`, which is made if need be. Blocks.
    pub(super) fn open(directory: &Path) -> Result<Self, JournalError> {
        let open_failed = JournalError::open(directory);
        std::fs::create_dir_all(directory).map_err(&open_failed)?;
        for entry in std::fs::read_dir(directory).map_err(&open_failed)? {
            let entry = entry.map_err(&open_failed)?;
            if entry.file_name().to_string_lossy().ends_with(".generating") {
                std::fs::remove_file(entry.path()).map_err(&open_failed)?;
            }
        }
        let engine_failed = |source| JournalError::Engine {
            directory: directory.to_owned(),
            source,
        };
        let config = sled::Config::new()
            .path(directory)
            .segment_size(SEGMENT_SIZE)
            .cache_capacity(CACHE_SIZE);
        // sled panics on some kinds of damage, also when it opens a tree.
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let db = config.open()?;
            let tree = |name: &str| db.open_tree(name);
            Ok((
                tree("events")?,
                tree("snapshots")?,
                tree("meta")?,
                tree("ended")?,
                tree("ended_subjobs")?,
                tree("timings")?,
                db,
            ))
        }));
        let damaged = |_| JournalError::Damaged {
            directory: directory.to_owned(),
        };
        let (events, snapshots, meta, ended, ended_subjobs, timings, db) =
            opened.map_err(damaged)?.map_err(engine_failed)?;
        let data_file = File::open(directory.join("db")).map_err(&open_failed)?;
        let acknowledged = Acknowledged::open(directory).map_err(&open_failed)?;
        Ok(Self {
            db,
            events,
            snapshots,
            meta,
            ended,
            ended_subjobs,
            timings,
            data_file: Arc::new(data_file),
            acknowledged: Arc::new(acknowledged),
        })
    }

    /// Brings all that was written to disk. Blocks.
    pub(super) fn sync(&self) -> Result<(), JournalError> {
        self.db.flush().map_err(JournalError::Append)?;
        self.data_file.sync_data().map_err(JournalError::Sync)?;
        self.acknowledged.sync().map_err(JournalError::Sync)
    }

    /// Brings what was appended to disk, for async callers. One thread waits for both steps: the
    /// engine's own would wake all of its threads once more.
    pub(super) async fn synced(&self) -> Result<(), JournalError> {
        let (db, file) = (self.db.clone(), Arc::clone(&self.data_file));
        let synced = tokio::task::spawn_blocking(move || {
            db.flush().map_err(JournalError::Append)?;
            file.sync_data().map_err(JournalError::Sync)
        });
        let synced = synced.await;
        synced.unwrap_or_else(|error| Err(JournalError::Sync(std::io::Error::other(error))))
    }
}

/// Removes what lies in a part of a tree, little by little.
pub(super) fn remove(tree: &Tree, part: sled::Iter) -> Result<(), JournalError> {
    let (mut batch, mut waiting) = (Batch::default(), 0);
    for key in part.keys() {
        batch.remove(key.map_err(JournalError::Read)?);
        waiting += 1;
        if waiting == REMOVED_AT_A_TIME {
            let full = std::mem::take(&mut batch);
            tree.apply_batch(full).map_err(JournalError::Append)?;
            waiting = 0;
        }
    }
    tree.apply_batch(batch).map_err(JournalError::Append)
}
