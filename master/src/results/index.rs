//! Where each result of a build lies: a file of records, each checked, appended to and read whole.

use clusterrunner_common::ids::{Attempt, SubjobId};
use std::collections::HashMap;

/// The length of a record: subjob, attempt (4 bytes each), file, block's offset and length,
/// result's offset and length (8 each), CRC-32 of all that (4); big-endian.
pub(super) const RECORD: usize = 2 * 4 + 5 * 8 + 4;

/// Which result: of which subjob, by which hand-out.
pub(super) type Key = (SubjobId, Attempt);

/// Where a result lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its block.
    pub(super) block: BlockPlace,
    /// Where the result begins, in bytes of the uncompressed block.
    pub(super) offset: u64,
    /// How long it is, in the same bytes.
    pub(super) length: u64,
}

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BlockPlace {
    /// Which file: 0 is the one that blocks are appended to, any other that of one large block.
    pub(super) file: u64,
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// How long it is there.
    pub(super) length: u64,
}

impl BlockPlace {
    pub(super) fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

pub(super) fn encode(key: Key, place: Place) -> [u8; RECORD] {
    let (SubjobId(subjob), Attempt(attempt)) = key;
    let mut record = [0; RECORD];
    let mut rest = &mut record[..];
    let mut put = |bytes: &[u8]| {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        rest = tail;
    };
    put(&subjob.to_be_bytes());
    put(&attempt.to_be_bytes());
    let BlockPlace {
        file,
        offset,
        length,
    } = place.block;
    for number in [file, offset, length, place.offset, place.length] {
        put(&number.to_be_bytes());
    }
    let checksum = crc32fast::hash(&record[..RECORD - 4]);
    record[RECORD - 4..].copy_from_slice(&checksum.to_be_bytes());
    record
}

fn decode(record: &[u8; RECORD]) -> Option<(Key, Place)> {
    let (content, checksum) = record.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let (subjob, rest) = content.split_first_chunk::<4>()?;
    let (attempt, mut rest) = rest.split_first_chunk::<4>()?;
    let mut next = || {
        let (number, tail) = rest.split_first_chunk::<8>()?;
        rest = tail;
        Some(u64::from_be_bytes(*number))
    };
    let block = BlockPlace {
        file: next()?,
        offset: next()?,
        length: next()?,
    };
    let place = Place {
        block,
        offset: next()?,
        length: next()?,
    };
    let subjob = SubjobId(u32::from_be_bytes(*subjob));
    Some(((subjob, Attempt(u32::from_be_bytes(*attempt))), place))
}

/// What an index file says.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) places: HashMap<Key, Place>,
    /// How many results each block holds, also those that came once more later.
    pub(super) in_block: HashMap<BlockPlace, usize>,
    /// How much of the file is whole; the rest was never acknowledged.
    pub(super) length: u64,
    /// Where the blocks of file 0 end.
    pub(super) blocks_end: u64,
}

impl Index {
    /// Reads records up to the first that is torn, or names more of file 0 than its
    /// `blocks_length` bytes.
    pub(super) fn read(bytes: &[u8], blocks_length: u64) -> Self {
        let (records, _) = bytes.as_chunks::<RECORD>();
        let mut index = Self {
            places: HashMap::with_capacity(records.len()),
            ..Self::default()
        };
        for record in records {
            let Some((key, place)) = decode(record) else {
                break;
            };
            if place.block.file == 0 && place.block.end() > blocks_length {
                break;
            }
            index.add(key, place);
            index.length += RECORD as u64;
        }
        index
    }

    /// Takes a record in. A result that comes once more takes the place of the one before.
    pub(super) fn add(&mut self, key: Key, place: Place) {
        if place.block.file == 0 {
            self.blocks_end = self.blocks_end.max(place.block.end());
        }
        *self.in_block.entry(place.block).or_default() += 1;
        self.places.insert(key, place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64) -> Place {
        let block = BlockPlace {
            file: 0,
            offset,
            length: 10,
        };
        Place {
            block,
            offset: 512,
            length: u64::MAX,
        }
    }

    #[test]
    fn records_are_read_back_up_to_the_first_torn_one() {
        let keys = [0, 1, 2].map(|n| (SubjobId(n), Attempt(n + 7)));
        let records = [0, 10, 20].map(place);
        let bytes: Vec<u8> = keys
            .iter()
            .zip(&records)
            .flat_map(|(key, place)| encode(*key, *place))
            .collect();
        let whole = Index::read(&bytes, 30);
        assert_eq!((whole.places.len(), whole.blocks_end), (3, 30));
        assert_eq!(whole.places[&keys[1]], records[1]);
        for (damaged, blocks) in [
            (bytes[..3 * RECORD - 1].to_vec(), 30),
            (
                [&bytes[..2 * RECORD], &[0; RECORD], &bytes[..RECORD]].concat(),
                30,
            ),
            (bytes, 29),
        ] {
            let index = Index::read(&damaged, blocks);
            let found = (index.places.len(), index.length, index.blocks_end);
            assert_eq!(found, (2, 2 * RECORD as u64, 20));
        }
    }
}
