//! The engine, with the guards that it needs.
//!
//! sled 0.34 keeps acknowledged data over the death of the process; over a power cut only with the
//! guards used here: values stay small enough never to become blob files (which it does not sync),
//! the data file is synced after each flush, and the remains of a death during `open` are removed.

use super::JournalError;
use super::acknowledged::{self, Acknowledged};
use super::files::{self, SEGMENT_SIZE};
use sled::{Batch, Tree};
use std::fs::File;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

/// All that is read again and again is in memory already.
const CACHE_SIZE: u64 = 16 << 20;

/// How many keys are removed at a time.
const REMOVED_AT_A_TIME: usize = 1000;

/// The trees of one journal. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Store {
    db: sled::Db,
    /// Events, by the number of the first one in each record.
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
    /// What earlier builds say of atoms and tests.
    pub(super) histories: Tree,
    /// What receivers of notices were told of builds.
    pub(super) notified: Tree,
    /// Who asked for what.
    pub(super) audit: Tree,
    data_file: Arc<File>,
    /// How many events were acknowledged.
    pub(super) acknowledged: Arc<Acknowledged>,
    /// What that said when the store was opened, or what is wrong with it.
    pub(super) were_acknowledged: Result<u64, &'static str>,
}

impl Store {
    /// Opens the trees in `directory`, which is made if need be. The engine writes there at once, so of what may
    /// be damaged only a copy is opened. Blocks.
    pub(super) fn open(directory: &Path) -> Result<Self, JournalError> {
        let open_failed = JournalError::open(directory);
        let is_new = files::is_new(directory).map_err(&open_failed)?;
        if is_new {
            make(directory).map_err(&open_failed)?;
        }
        remove_unfinished(directory).map_err(&open_failed)?;
        let were_acknowledged = match is_new {
            true => Ok(0),
            false => acknowledged::read(directory),
        };
        let acknowledged = Acknowledged::open(directory).map_err(&open_failed)?;
        let store = Self::open_engine(directory, acknowledged, were_acknowledged)?;
        if is_new {
            // The engine does not sync its settings.
            bring_to_disk(directory).map_err(&open_failed)?;
        }
        Ok(store)
    }

    fn open_engine(
        directory: &Path,
        acknowledged: Acknowledged,
        were_acknowledged: Result<u64, &'static str>,
    ) -> Result<Self, JournalError> {
        let config = sled::Config::new()
            .path(directory)
            .segment_size(files::segment_size_of(directory).unwrap_or(SEGMENT_SIZE))
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
                tree("histories")?,
                tree("notified")?,
                tree("audit")?,
                db,
            ))
        }));
        let opened = opened.map_err(|_| JournalError::damaged(directory))?;
        let (
            events,
            snapshots,
            meta,
            ended,
            ended_subjobs,
            timings,
            histories,
            notified,
            audit,
            db,
        ) = opened.map_err(|source| JournalError::engine(directory, source))?;
        let data_file = File::open(directory.join(files::DATA));
        let data_file = data_file.map_err(JournalError::open(directory))?;
        Ok(Self {
            db,
            events,
            snapshots,
            meta,
            ended,
            ended_subjobs,
            timings,
            histories,
            notified,
            audit,
            data_file: Arc::new(data_file),
            acknowledged: Arc::new(acknowledged),
            were_acknowledged,
        })
    }

    /// Brings all that was written to disk. Blocks.
    pub(super) fn sync(&self) -> Result<(), JournalError> {
        flush(&self.db)?;
        self.data_file.sync_data().map_err(JournalError::Sync)?;
        self.acknowledged.sync().map_err(JournalError::Sync)
    }

    /// Gives the system all that was written: the death of the process does no harm to it then. Blocks.
    pub(super) fn written(&self) -> Result<(), JournalError> {
        flush(&self.db)
    }

    /// Brings what was appended to disk, for async callers. One thread waits for both steps: the
    /// engine's own would wake all of its threads once more.
    pub(super) async fn synced(&self) -> Result<(), JournalError> {
        let (db, file) = (self.db.clone(), Arc::clone(&self.data_file));
        let synced = tokio::task::spawn_blocking(move || {
            flush(&db)?;
            file.sync_data().map_err(JournalError::Sync)
        });
        synced.await?
    }
}

/// Writes all that was given to the engine, and has its used-up buffers freed. sled leaves used-up buffers, a segment
/// each, to the thread that used them last, and a mostly idle thread frees none before it has 64. With some such
/// threads that is all that was written in minutes.
fn flush(db: &sled::Db) -> Result<(), JournalError> {
    let flushed = db.flush().map_err(JournalError::Append);
    // The engine's memory is reclaimed by the one collector that this crate has for the whole process.
    crossbeam_epoch::pin().flush();
    flushed.map(drop)
}

/// Makes the directory of a new journal. Settings that a first start left half written are worth nothing: there
/// is no data yet.
fn make(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    if let Some(above) = directory.parent() {
        File::open(above)?.sync_all()?;
    }
    match std::fs::remove_file(directory.join(files::SETTINGS)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what the engine left of a snapshot that it did not come to write to its end: it would take that for one.
fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().ends_with(files::GENERATING) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn bring_to_disk(directory: &Path) -> io::Result<()> {
    for name in [files::SETTINGS, files::DATA] {
        File::open(directory.join(name))?.sync_all()?;
    }
    File::open(directory)?.sync_all()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::{MAX_PIECE, put};

    fn fill(store: &Store, key: u64) {
        let mut batch = Batch::default();
        put(&mut batch, &key.to_be_bytes(), &vec![b'x'; MAX_PIECE]).unwrap();
        store.events.apply_batch(batch).unwrap();
    }

    #[test]
    fn a_directory_keeps_the_segments_it_was_made_with() {
        let directory = tempfile::tempdir().unwrap();
        let larger = sled::Config::new()
            .path(directory.path())
            .segment_size(2 * SEGMENT_SIZE);
        drop(larger.open().unwrap());
        let store = Store::open(directory.path()).unwrap();
        fill(&store, 1);
        assert_eq!(
            files::segment_size_of(directory.path()),
            Some(2 * SEGMENT_SIZE)
        );
        drop(store);
        let new = tempfile::tempdir().unwrap();
        drop(Store::open(new.path()).unwrap());
        assert_eq!(files::segment_size_of(new.path()), Some(SEGMENT_SIZE));
    }

    #[test]
    fn full_pieces_are_no_blobs_in_whatever_order_they_come() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for key in 0..200 {
            fill(&store, key * 7919 % 200);
        }
        store.remove_every_other();
        for key in (0..200).rev() {
            fill(&store, key);
        }
        store.sync().unwrap();
        let blobs = std::fs::read_dir(directory.path().join("blobs")).unwrap();
        assert_eq!(blobs.count(), 0);
    }

    impl Store {
        fn remove_every_other(&self) {
            let keys = self.events.iter().keys().step_by(2);
            for key in keys.collect::<Result<Vec<_>, _>>().unwrap() {
                self.events.remove(key).unwrap();
            }
        }
    }
}
