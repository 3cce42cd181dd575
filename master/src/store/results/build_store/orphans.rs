//! Results whose place the index does not tell any more, found again in the blocks themselves: each is a gzip member
//! with a checksum, and says whose results it has. They are remembered in memory; no file is changed.

use super::{BuildStore, LARGE};
use crate::store::results::archive::{Archive, Piece};
use crate::store::results::index::{BlockPlace, Found, StoredPlace};
use clusterrunner_common::ids::SubjobId;
use clusterrunner_common::results::block::check_results;
use flate2::bufread::GzDecoder;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// What the blocks say themselves.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// The results that no record of the index names, by subjob. A block does not say of which hand-out they are.
    results: HashMap<SubjobId, Vec<Found>>,
    /// What the archive consists of, if there is one: all that counts is in there, and once.
    pieces: Vec<Piece>,
    /// How many results each block has, also where records of some of them are damaged.
    in_blocks: HashMap<BlockPlace, usize>,
}

impl Orphans {
    /// Reads all blocks, also those that the index does not know of. What can not be read is left out.
    pub(super) fn of(store: &BuildStore) -> io::Result<Self> {
        let (known, named) = {
            let index = store.index();
            let known: BTreeSet<BlockPlace> = index.blocks().collect();
            (known, index.named())
        };
        let mut orphans = Self::default();
        if let Ok((archive, _)) = Archive::read(&store.directory) {
            orphans.pieces = archive.pieces;
        }
        let blocks = File::open(store.file(0))?;
        let mut end = 0;
        for block in known.iter().filter(|block| block.file == 0) {
            orphans.take_gap(&blocks, end..block.offset);
            orphans.take(&blocks, *block, &named);
            end = end.max(block.end());
        }
        orphans.take_gap(&blocks, end..blocks.metadata()?.len());
        for (number, file) in large_files(&store.directory)? {
            let length = file.metadata()?.len();
            let block = BlockPlace {
                file: number,
                offset: 0,
                length,
            };
            orphans.take(&file, block, &named);
        }
        Ok(orphans)
    }

    /// The result of a subjob, if there is no doubt which it is.
    pub(super) fn find(&self, subjob: SubjobId) -> Option<Found> {
        let found = self.results.get(&subjob)?;
        if let [only] = found[..] {
            return Some(only);
        }
        let mut counts = found.iter().filter(|found| {
            let block = found.place.block;
            let mut pieces = self.pieces.iter();
            pieces.any(|piece| piece.holds(block))
        });
        let first = counts.next().copied();
        first.filter(|_| counts.next().is_none())
    }

    /// How many results a block has, if it can be read.
    pub(super) fn in_block(&self, block: BlockPlace) -> Option<usize> {
        self.in_blocks.get(&block).copied()
    }

    /// Takes the blocks in that follow each other in a part of a file, up to the first that is none.
    fn take_gap(&mut self, file: &File, gap: Range<u64>) {
        let mut offset = gap.start;
        while offset < gap.end {
            let Ok(length) = member_length(file, offset..gap.end) else {
                return;
            };
            let block = BlockPlace {
                file: 0,
                offset,
                length,
            };
            self.take(file, block, &HashSet::new());
            offset += length;
        }
    }

    /// Takes a block in, but for the results that have a name.
    fn take(&mut self, file: &File, block: BlockPlace, named: &HashSet<(BlockPlace, u64)>) {
        let found = part(file, block.offset..block.end());
        let found = found.ok().map(|part| check_results(BufReader::new(part)));
        let Some(Ok(found)) = found else {
            return;
        };
        let in_block = found.len();
        self.in_blocks.insert(block, in_block);
        for result in found.into_iter().filter_map(|found| found.checked().ok()) {
            let (offset, length) = (result.offset, result.length);
            if named.contains(&(block, offset)) {
                continue;
            }
            let place = StoredPlace {
                block,
                offset,
                length,
            };
            let orphan = Found { place, in_block };
            self.results.entry(result.subjob).or_default().push(orphan);
        }
    }
}

fn part(mut file: &File, range: Range<u64>) -> io::Result<io::Take<&File>> {
    file.seek(SeekFrom::Start(range.start))?;
    Ok(file.take(range.end - range.start))
}

/// How long the gzip member is that a part of a file begins with.
fn member_length(file: &File, range: Range<u64>) -> io::Result<u64> {
    let all = range.end - range.start;
    let mut member = GzDecoder::new(BufReader::new(part(file, range)?));
    io::copy(&mut member, &mut io::sink())?;
    let rest = member.into_inner();
    let unread = rest.get_ref().limit() + rest.buffer().len() as u64;
    Ok(all - unread)
}

/// The files with one large block each, by their numbers.
fn large_files(directory: &Path) -> io::Result<Vec<(u64, File)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(LARGE));
        if let Some(number) = number.and_then(|number| u64::from_str_radix(number, 16).ok()) {
            files.push((number, File::open(entry.path())?));
        }
    }
    Ok(files)
}
