//! The archive of an ended build: which pieces of which files it consists of.

use super::damage::damaged;
use super::incoming::Incoming;
use super::index::{BlockPlace, IndexSum};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::results::block::ending;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::SystemTime;

const ARCHIVE: &str = "archive.json";

/// What `artifacts.tar.gz` consists of, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Archive {
    /// Archives of earlier versions begin with their root directory; today's have none, since it
    /// would give its time to whichever directory they are unpacked in.
    pub(super) beginning: Vec<u8>,
    pub(super) pieces: Vec<Piece>,
    pub(super) ending: Vec<u8>,
    /// What it was made of; not known where it is made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made_of: Option<MadeOf>,
    /// The CRC-32 of all the rest, written without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crc32: Option<u32>,
}

/// What an archive was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MadeOf {
    pub(super) results: u64,
    pub(super) index: IndexSum,
}

/// Part of a file of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) file: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Piece {
    /// Whether a block lies in it.
    pub(super) fn holds(self, block: BlockPlace) -> bool {
        let end = self.offset.saturating_add(self.length);
        self.file == block.file && self.offset <= block.offset && block.end() <= end
    }
}

impl Archive {
    /// The archive that consists of these blocks, and of a list of failures with this time.
    ///
    /// # Errors
    /// The list of failures can not be packed.
    pub(super) fn of(
        blocks: Vec<BlockPlace>,
        failures: &[String],
        at: Timestamp,
        made_of: Option<MadeOf>,
    ) -> io::Result<Self> {
        let mut pieces: Vec<Piece> = Vec::new();
        for block in blocks {
            match pieces.last_mut() {
                Some(last)
                    if last.file == block.file && last.offset + last.length == block.offset =>
                {
                    last.length += block.length;
                }
                _ => pieces.push(Piece {
                    file: block.file,
                    offset: block.offset,
                    length: block.length,
                }),
            }
        }
        Ok(Self {
            beginning: Vec::new(),
            pieces,
            ending: ending(failures, at.0 / 1000)?,
            made_of,
            crc32: None,
        })
    }

    /// Makes room for the name of one in the directory of a build: an empty file, which is none yet.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn reserve(directory: &Path) -> io::Result<()> {
        match File::create_new(directory.join(ARCHIVE)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes it down in the directory of a build. `has_lasting_names` says that the names in there are on disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn keep(&self, directory: &Path, has_lasting_names: bool) -> io::Result<()> {
        let text = self.text()?;
        let path = directory.join(ARCHIVE);
        if has_lasting_names && std::fs::metadata(&path).is_ok_and(|file| file.len() == 0) {
            // It is not read before an event says that it is there. One that was torn is made again.
            let mut file = File::options().write(true).open(&path)?;
            let written = file.write_all(&text).and_then(|()| file.sync_data());
            if written.is_err() {
                file.set_len(0).ok();
            }
            return written;
        }
        let incoming = Incoming::new(directory)?;
        incoming.file().write_all(&text)?;
        incoming.keep_and_sync(&path, directory)
    }

    /// What is written of it.
    fn text(&self) -> io::Result<Vec<u8>> {
        let with_sum = Self {
            crc32: Some(self.sum()?),
            ..self.clone()
        };
        Ok(serde_json::to_vec(&with_sum)?)
    }

    fn sum(&self) -> io::Result<u32> {
        let without = Self {
            crc32: None,
            ..self.clone()
        };
        Ok(crc32fast::hash(&serde_json::to_vec(&without)?))
    }

    /// Whether the directory of a build has one.
    pub(super) fn is_in(directory: &Path) -> bool {
        let file = std::fs::metadata(directory.join(ARCHIVE));
        file.is_ok_and(|file| file.len() > 0)
    }

    /// Reads the one in the directory of a build, and when it was made.
    ///
    /// # Errors
    /// The disk refuses, it was not made (`NotFound`), or it is damaged (`InvalidData`).
    pub(super) fn read(directory: &Path) -> io::Result<(Self, SystemTime)> {
        let mut file = File::open(directory.join(ARCHIVE))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        if text.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let made_at = file.metadata()?.modified()?;
        let wrong = || damaged("the list of the archive's pieces is not as it was written");
        let archive: Self = serde_json::from_slice(&text).map_err(|_| wrong())?;
        // A flipped bit in the name of the sum leaves none.
        if archive.crc32 != Some(archive.sum()?) {
            return Err(wrong());
        }
        Ok((archive, made_at))
    }

    /// How many results it has, where that is known.
    pub(super) fn num_results(&self) -> Option<u64> {
        self.made_of.map(|made_of| made_of.results)
    }

    /// Whether it needs this file of the store.
    pub(super) fn uses(&self, file: u64) -> bool {
        self.pieces.iter().any(|piece| piece.file == file)
    }

    /// The length of the archive in bytes.
    pub(super) fn length(&self) -> u64 {
        let pieces: u64 = self.pieces.iter().map(|piece| piece.length).sum();
        self.beginning.len() as u64 + pieces + self.ending.len() as u64
    }
}
