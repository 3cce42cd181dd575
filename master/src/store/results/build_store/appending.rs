//! Blocks on their way to the disk.

use super::BuildStore;
use crate::store::results::index::{Key, RECORD, StoredPlace};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

/// Blocks that are written and not yet synced.
#[derive(Debug)]
pub(in crate::store::results) struct Appending<'a> {
    pub(super) store: &'a BuildStore,
    pub(super) added: Vec<(Key, StoredPlace)>,
    pub(super) records_end: u64,
    pub(super) blocks_end: u64,
    pub(super) unsynced: MutexGuard<'a, Vec<PathBuf>>,
}

impl Appending<'_> {
    /// Brings what was written to disk. Directories in which `others` that were written before this
    /// call have brought the names to disk are not synced again.
    ///
    /// # Errors
    /// The disk refuses.
    pub(in crate::store::results) fn sync(&self, others: &mut SyncedDirectories) -> io::Result<()> {
        // A result that no event names is not asked for, so it does no harm if the index gets to disk
        // before the block does, nor if there are names of files without content. With everything
        // written, the first sync does most of the others' work.
        let files = self.store.files()?;
        let in_blocks = |(_, place): &(Key, StoredPlace)| place.block.file == 0;
        if self.added.iter().any(in_blocks) {
            files.blocks.sync_data()?;
        }
        if !self.added.is_empty() {
            files.index.sync_data()?;
        }
        if let Err(error) = self.store.sync_tests() {
            self.store.warn_of_tests(&error);
        }
        let mut directories = self.unsynced.iter();
        directories.try_for_each(|directory| others.sync(directory))
    }

    /// Has the blocks count if they are on disk, and gives them up if they are not.
    ///
    /// # Errors
    /// That with which syncing ended.
    pub(in crate::store::results) fn end(mut self, synced: io::Result<()>) -> io::Result<()> {
        if let Err(error) = synced {
            self.store.cut_off(self.records_end, self.blocks_end);
            return Err(error);
        }
        self.unsynced.clear();
        let mut index = self.store.index();
        index.length = self.records_end + (self.added.len() * RECORD) as u64;
        for (key, place) in self.added {
            index.add(key, place);
        }
        Ok(())
    }
}

/// Directories whose names are on disk.
#[derive(Debug, Default)]
pub(in crate::store::results) struct SyncedDirectories(HashSet<PathBuf>);

impl SyncedDirectories {
    fn sync(&mut self, directory: &Path) -> io::Result<()> {
        if !self.0.contains(directory) {
            File::open(directory)?.sync_all()?;
            self.0.insert(directory.to_owned());
        }
        Ok(())
    }
}
