//! The archive of an ended build: which pieces of which files it consists of.

use super::build_store::{BuildStore, IndexSum, NewBlock, NewContent, UsedBlock};
use super::damage::damaged;
use super::incoming::Incoming;
use super::index::{BlockPlace, Key};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::results::block::{copy_results, ending};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;

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
    made_of: Option<MadeOf>,
    /// The CRC-32 of all the rest, written without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crc32: Option<u32>,
}

/// What an archive was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MadeOf {
    results: u64,
    index: IndexSum,
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
    /// Finds out what the archive consists of and brings that to disk. Blocks that hold other
    /// results as well are made anew without them. A report of tests comes after them.
    ///
    /// # Errors
    /// The disk refuses, or one of the results is not there.
    pub(super) fn make(
        store: &BuildStore,
        results: &[Key],
        failures: &[String],
        report: Option<Incoming>,
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let Some(mut blocks) = whole_blocks(store, results, stop)? else {
            return Ok(());
        };
        let kept = report
            .map(|report| keep_report(store, report))
            .transpose()?;
        blocks.extend(kept);
        let list = || {
            let made_of = MadeOf {
                results: Self::num_counted(results),
                index: store.index_now()?,
            };
            Self::of(blocks, failures, Timestamp::now(), Some(made_of))?.keep(store)
        };
        let listed = list();
        if let (Err(_), Some(report)) = (&listed, kept) {
            // The next try makes another one, and no index names this one.
            store.remove_large(report.file);
        }
        listed
    }

    /// The archive of a build that ended early, only in memory: a list on the disk would say that the build is whole.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub(super) fn partial(
        store: &BuildStore,
        results: &[Key],
        failures: &[String],
        at: Timestamp,
    ) -> io::Result<Self> {
        let blocks = whole_blocks(store, results, &CancellationToken::new())?;
        Self::of(blocks.unwrap_or_default(), failures, at, None)
    }

    /// The same again, only in memory, where what [`Self::make`] wrote down is damaged. It has no report of tests.
    ///
    /// # Errors
    /// The disk refuses, or the results of this build are not what the blocks hold.
    pub(super) fn again(
        store: &BuildStore,
        results: &[Key],
        failures: &[String],
        at: Timestamp,
    ) -> io::Result<Self> {
        let used = store.blocks_of(results)?;
        if !used.iter().all(|block| block.is_whole) {
            return Err(damaged("the list of its pieces can not be made anew"));
        }
        let blocks = used.into_iter().map(|block| block.place);
        Self::of(blocks.collect(), failures, at, None)
    }

    fn of(
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

    fn keep(&self, store: &BuildStore) -> io::Result<()> {
        let text = self.text()?;
        let path = store.directory().join(ARCHIVE);
        if store.has_lasting_names() && std::fs::metadata(&path).is_ok_and(|file| file.len() == 0) {
            // It is not read before an event says that it is there. One that was torn is made again.
            let mut file = File::options().write(true).open(&path)?;
            let written = file.write_all(&text).and_then(|()| file.sync_data());
            if written.is_err() {
                file.set_len(0).ok();
            }
            return written;
        }
        let incoming = Incoming::new(store.directory())?;
        incoming.file().write_all(&text)?;
        incoming.keep_and_sync(&path, store.directory())
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

    /// Reads what [`Self::make`] found out, and when that was.
    ///
    /// # Errors
    /// The disk refuses, it was not made (`NotFound`), or it is damaged (`InvalidData`).
    pub(super) fn read(store: &BuildStore) -> io::Result<(Self, SystemTime)> {
        let mut file = File::open(store.directory().join(ARCHIVE))?;
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

    /// Whether the index still says what it was made by, as far as that is known.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn fits(&self, store: &BuildStore) -> io::Result<bool> {
        self.made_of
            .map_or(Ok(true), |made_of| store.has_kept_index(made_of.index))
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

/// The blocks that hold these results and no others; those that do are made anew without them. Nothing if it was told
/// to stop.
fn whole_blocks(
    store: &BuildStore,
    results: &[Key],
    stop: &CancellationToken,
) -> io::Result<Option<Vec<BlockPlace>>> {
    let used = store.blocks_of(results)?;
    let (whole, partly): (Vec<UsedBlock>, _) = used.into_iter().partition(|b| b.is_whole);
    let mut blocks: Vec<_> = whole.into_iter().map(|block| block.place).collect();
    if !partly.is_empty() {
        let mut anew = Vec::new();
        let mut keys = Vec::new();
        for block in partly {
            if stop.is_cancelled() {
                return Ok(None);
            }
            keys.extend(block.results.iter().map(|(key, ..)| *key));
            anew.push(without_the_rest(store, &block)?);
        }
        store.append(anew)?;
        blocks.extend(store.blocks_of(&keys)?.into_iter().map(|block| block.place));
    }
    Ok(Some(blocks))
}

/// Stores a report of tests like a large block that has no result.
fn keep_report(store: &BuildStore, report: Incoming) -> io::Result<BlockPlace> {
    let place = BlockPlace {
        file: report.number(),
        offset: 0,
        length: report.file().metadata()?.len(),
    };
    store.append(vec![NewBlock {
        content: NewContent::File(report),
        results: Vec::new(),
        tests: Vec::new(),
    }])?;
    Ok(place)
}

/// The wanted results of a block as a block of their own.
fn without_the_rest(store: &BuildStore, block: &UsedBlock) -> io::Result<NewBlock> {
    let incoming = Incoming::new(store.directory())?;
    let parts = block
        .results
        .iter()
        .map(|(_, offset, length)| (*offset, *length));
    let offsets = copy_results(store.read_block(block.place)?, parts, incoming.file())?;
    let results = block.results.iter().zip(offsets);
    let results = results.map(|((key, _, length), offset)| (*key, offset, *length));
    Ok(NewBlock {
        results: results.collect(),
        content: NewContent::File(incoming),
        // Those of its results are kept already.
        tests: Vec::new(),
    })
}
