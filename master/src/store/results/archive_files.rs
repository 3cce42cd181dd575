//! The files that an archive is read from, open: what is removed meanwhile stays readable.

use super::archive::{Archive, Piece};
use super::build_store::BuildStore;
use super::damage::damaged;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::sync::Arc;

/// How many files are held open for one reader. Most builds have one; of one with very many large
/// results the others are opened when their turn comes, since a process may open so many only.
const HELD_OPEN: usize = 8;

#[derive(Debug)]
pub(super) struct ArchiveFiles {
    store: Arc<BuildStore>,
    open: HashMap<u64, File>,
}

impl ArchiveFiles {
    /// Opens the files of an archive. Blocks.
    pub(super) fn open(store: &Arc<BuildStore>, archive: &Archive) -> io::Result<Self> {
        let mut open = HashMap::new();
        for piece in &archive.pieces {
            let length = match std::fs::metadata(store.file(piece.file)) {
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && store.directory().exists() =>
                {
                    return Err(damaged("a file of its blocks is missing"));
                }
                found => found?.len(),
            };
            if length < piece.offset.saturating_add(piece.length) {
                return Err(damaged("a file of its blocks is shorter than it was"));
            }
            if !open.contains_key(&piece.file) && open.len() < HELD_OPEN {
                open.insert(piece.file, File::open(store.file(piece.file))?);
            }
        }
        let store = Arc::clone(store);
        Ok(Self { store, open })
    }

    /// The file of a piece, at its beginning. One piece is read after the other: they share their
    /// place in the file. Blocks.
    pub(super) fn at(&self, piece: Piece) -> io::Result<File> {
        let mut file = match self.open.get(&piece.file) {
            Some(file) => file.try_clone()?,
            None => File::open(self.store.file(piece.file))?,
        };
        file.seek(SeekFrom::Start(piece.offset))?;
        Ok(file)
    }
}
