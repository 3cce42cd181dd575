//! Giving snapshots to slaves, from any byte on.

use super::Snapshots;
use bytes::Bytes;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::lock::lock;
use futures_util::Stream;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use tokio_util::io::ReaderStream;

/// How much of a snapshot is read and sent at a time.
const CHUNK: usize = 128 << 10;

/// A snapshot that is read from a byte on.
#[derive(Debug)]
pub(crate) struct OpenSnapshot {
    file: File,
    rest: u64,
}

impl Snapshots {
    /// Opens a snapshot that has so many bytes, to be read from `offset` on. Blocks.
    ///
    /// # Errors
    /// It is not there (`NotFound`), has another length than it was registered with (`InvalidData`), or has fewer bytes
    /// than `offset` (`InvalidInput`).
    pub(crate) fn open_at(
        &self,
        digest: &str,
        bytes: u64,
        offset: u64,
    ) -> io::Result<OpenSnapshot> {
        let path = self.path(digest).ok_or(io::ErrorKind::NotFound)?;
        let mut file = regular_file::open_itself(&path)?;
        let length = file.metadata()?.len();
        if length != bytes {
            let error = format!("the snapshot has {length} bytes and should have {bytes}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        let Some(rest) = length.checked_sub(offset) else {
            let error = format!("the snapshot has only {length} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        };
        file.seek(SeekFrom::Start(offset))?;
        Ok(OpenSnapshot { file, rest })
    }
}

impl Snapshots {
    /// Whether a snapshot is what its digest says. Blocks while it is read.
    ///
    /// # Errors
    /// It is not there, or can not be read.
    pub(crate) fn is_whole(&self, digest: &str) -> io::Result<bool> {
        let path = self.path(digest).ok_or(io::ErrorKind::NotFound)?;
        // One after the other: each reads all of a file.
        let _turn = lock(&self.looking);
        let mut file = regular_file::open_itself(&path)?;
        let mut found = Sha256::new();
        let mut piece = vec![0; CHUNK];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(hex::encode(found.finalize()) == digest),
                read => found.update(piece.get(..read).unwrap_or_default()),
            }
        }
    }
}

impl OpenSnapshot {
    /// How many bytes follow.
    #[must_use]
    pub(crate) fn rest(&self) -> u64 {
        self.rest
    }

    /// They themselves.
    pub(crate) fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        ReaderStream::with_capacity(tokio::fs::File::from_std(self.file), CHUNK)
    }
}
