//! Files that are still being written.

use clusterrunner_common::clock::random_bytes;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What the names of such files begin with.
const PREFIX: &str = "incoming-";

/// The same of files that other processes write.
const UNDER_WAY: &str = "under-way-";

/// A file that is still being written. Removed when dropped, unless it was kept.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    file: File,
    number: u64,
}

impl Incoming {
    /// A new file in `directory`, which is made if need be.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        // 0 has another meaning for those who number their files by it.
        let number = u64::from_be_bytes(random_bytes()).max(1);
        let path = directory.join(format!("{PREFIX}{number:016x}"));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(Self { path, file, number })
    }

    /// The file, to write to or to read from.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// A random number of its own, never 0.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Brings its content to disk under its lasting name; a file of that name is replaced. The
    /// caller syncs the directory.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn keep(self, name: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, name)
    }

    /// Gives it its lasting name; a file of that name is replaced. A power cut may take it along.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn keep_unsynced(self, name: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, name)
    }

    /// As [`Self::keep`] for what is not trusted before the caller has synced it too: file systems with
    /// a journal bring content and name to disk together if both are there when it is synced.
    ///
    /// # Errors
    /// The disk refuses; then it is not there.
    pub(super) fn keep_and_sync(self, name: &Path, directory: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, name)?;
        let synced = self
            .file
            .sync_all()
            .and_then(|()| File::open(directory)?.sync_all());
        if synced.is_err() {
            std::fs::remove_file(name).ok();
        }
        synced
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After `keep` there is nothing of this name any more.
        std::fs::remove_file(&self.path).ok();
    }
}

/// A file in `directory` that another process writes.
pub(super) fn under_way(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{UNDER_WAY}{name}"))
}

/// Removes what an earlier process left half written in `directory`.
///
/// # Errors
/// The disk refuses.
pub(super) fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for file in std::fs::read_dir(directory)? {
        let file = file?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) || name.starts_with(UNDER_WAY) {
            std::fs::remove_file(file.path())?;
        }
    }
    Ok(())
}
