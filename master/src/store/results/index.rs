//! Where each result of a build lies: a file of records, each checked, appended to and read whole.

use clusterrunner_common::ids::{Attempt, SubjobId};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// The length of a record: subjob, attempt (4 bytes each), file, block's offset and length,
/// result's offset and length (8 each), CRC-32 of all that (4); big-endian.
pub(super) const RECORD: usize = 2 * 4 + 5 * 8 + 4;

/// Which result: of which subjob, by which hand-out.
pub(super) type Key = (SubjobId, Attempt);

/// Where a result lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredPlace {
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

pub(super) fn encode(key: Key, place: StoredPlace) -> [u8; RECORD] {
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

fn decode(record: &[u8; RECORD]) -> Option<(Key, StoredPlace)> {
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
    let place = StoredPlace {
        block,
        offset: next()?,
        length: next()?,
    };
    let subjob = SubjobId(u32::from_be_bytes(*subjob));
    Some(((subjob, Attempt(u32::from_be_bytes(*attempt))), place))
}

/// The results that the whole records of an index file name, each time that they came.
pub(super) fn keys(bytes: &[u8]) -> impl Iterator<Item = Key> {
    let (records, _) = bytes.as_chunks::<RECORD>();
    records.iter().filter_map(decode).map(|(key, _)| key)
}

/// What an index file says. Its memory grows with the results of each build that runs: so it holds a few bytes
/// of each.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By subjob, where there is no more to say than fits.
    usual: Vec<Packed>,
    /// Those of earlier or later attempts, and those with large numbers.
    others: HashMap<Key, (u32, StoredPlace)>,
    blocks: Vec<KnownBlock>,
    /// Where the next record goes: behind all that may say something, also if it is damaged.
    pub(super) length: u64,
    /// Where the next block of file 0 goes: behind all that is there, whether a record names it or not.
    pub(super) blocks_end: u64,
    /// How many records could not be used.
    pub(super) num_unread: usize,
    /// Whether any block ever had another file.
    pub(super) has_files: bool,
}

/// Where a result lies, in few bytes. Attempt 0 is none: there is nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Packed {
    attempt: u32,
    block: u32,
    offset: u32,
    length: u32,
}

/// A block, and how many results it holds, also those that came once more later.
#[derive(Clone, Copy, Debug)]
struct KnownBlock {
    place: BlockPlace,
    num_results: usize,
}

/// A result that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: StoredPlace,
    /// How many results its block holds.
    pub(super) in_block: usize,
}

/// How much further than to the subjobs that are there the list by subjob reaches. They come in any order;
/// what lies beyond is kept apart, so that a large number alone needs no large list.
const AHEAD: usize = 1 << 16;

impl Index {
    /// Reads the records of a file, of blocks of which file 0 has `blocks_length` bytes. One that is damaged is left
    /// out, and so is one that names more than there is: it was torn, or the blocks were cut.
    pub(super) fn read(bytes: &[u8], blocks_length: u64) -> Self {
        let (records, _) = bytes.as_chunks::<RECORD>();
        let mut index = Self {
            blocks_end: blocks_length,
            ..Self::default()
        };
        for (number, record) in (1..).zip(records) {
            match decode(record) {
                Some((_, place)) if place.block.file == 0 && place.block.end() > blocks_length => {
                    index.num_unread += 1;
                    // Nothing that comes later may lie where it points to.
                    index.blocks_end = index.blocks_end.max(place.block.end());
                    continue;
                }
                Some((key, place)) => index.add(key, place),
                None => index.num_unread += 1,
            }
            index.length = number * RECORD as u64;
        }
        index
    }

    /// Takes a record in. A result that comes once more takes the place of the one before.
    pub(super) fn add(&mut self, key: Key, place: StoredPlace) {
        if place.block.file == 0 {
            self.blocks_end = self.blocks_end.max(place.block.end());
        } else {
            self.has_files = true;
        }
        let block = self.block(place.block);
        self.others.remove(&key);
        let is_known = self.usual_of(key).is_some();
        if let Some(packed) = Packed::of(key, block, place)
            && let Some(slot) = self.slot_for(key, is_known)
        {
            *slot = packed;
            return;
        }
        if is_known && let Some(slot) = self.slot_for(key, true) {
            *slot = Packed::default();
        }
        self.others.insert(key, (block, place));
    }

    /// The number of a block, which has one result more now. The results of a block come together.
    fn block(&mut self, place: BlockPlace) -> u32 {
        match self.blocks.last_mut() {
            Some(last) if last.place == place => last.num_results += 1,
            _ => self.blocks.push(KnownBlock {
                place,
                num_results: 1,
            }),
        }
        // Each has a record of its own, and there are at most as many subjobs as the number can tell.
        u32::try_from(self.blocks.len() - 1).unwrap_or(u32::MAX)
    }

    /// Where a result is packed, or may be.
    fn slot_for(&mut self, (subjob, _): Key, is_known: bool) -> Option<&mut Packed> {
        let index = subjob.0 as usize;
        if index >= self.usual.len() && index < self.usual.len() + AHEAD {
            self.usual.resize(index + 1, Packed::default());
        }
        let slot = self.usual.get_mut(index)?;
        (is_known || slot.attempt == 0).then_some(slot)
    }

    fn usual_of(&self, (subjob, attempt): Key) -> Option<Packed> {
        let packed = self.usual.get(subjob.0 as usize).copied();
        packed.filter(|packed| attempt.0 != 0 && packed.attempt == attempt.0)
    }

    /// Where a result lies.
    pub(super) fn find(&self, key: Key) -> Option<Found> {
        let (block, place) = match self.usual_of(key) {
            Some(packed) => {
                let block = self.blocks.get(packed.block as usize)?.place;
                let (offset, length) = (packed.offset.into(), packed.length.into());
                let place = StoredPlace {
                    block,
                    offset,
                    length,
                };
                (packed.block, place)
            }
            None => *self.others.get(&key)?,
        };
        let in_block = self.blocks.get(block as usize)?.num_results;
        Some(Found { place, in_block })
    }

    /// All blocks that there are.
    pub(super) fn blocks(&self) -> impl Iterator<Item = BlockPlace> {
        self.blocks.iter().map(|block| block.place)
    }

    /// Where the results begin that have a record: the block, and the place in it.
    pub(super) fn named(&self) -> HashSet<(BlockPlace, u64)> {
        let usual = self.usual.iter().filter(|packed| packed.attempt != 0);
        let usual = usual.filter_map(|packed| {
            let block = self.blocks.get(packed.block as usize)?;
            Some((block.place, u64::from(packed.offset)))
        });
        let others = self.others.values();
        let others = others.map(|(_, place)| (place.block, place.offset));
        usual.chain(others).collect()
    }

    /// The files in which results lie.
    pub(super) fn files(&self) -> impl Iterator<Item = u64> {
        let usual = self.usual.iter().filter(|packed| packed.attempt != 0);
        let usual = usual.filter_map(|packed| self.blocks.get(packed.block as usize));
        let others = self.others.values().map(|(_, place)| place.block.file);
        usual.map(|block| block.place.file).chain(others)
    }
}

impl Packed {
    fn of((_, attempt): Key, block: u32, place: StoredPlace) -> Option<Self> {
        let fits = attempt.0 != 0 && block != u32::MAX;
        Some(Self {
            attempt: attempt.0,
            block,
            offset: u32::try_from(place.offset).ok()?,
            length: u32::try_from(place.length).ok()?,
        })
        .filter(|_| fits)
    }
}

/// What tells one state of an index from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IndexSum {
    /// The length in bytes.
    pub(super) length: u64,
    crc32: u32,
}

impl IndexSum {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self {
            length: bytes.len() as u64,
            crc32: crc32fast::hash(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(offset: u64) -> StoredPlace {
        let block = BlockPlace {
            file: 0,
            offset,
            length: 10,
        };
        StoredPlace {
            block,
            offset: 512,
            length: u64::MAX,
        }
    }

    #[test]
    fn records_that_are_damaged_are_left_out_and_never_written_over() {
        let keys = [0, 1, 2].map(|n| (SubjobId(n), Attempt(n + 7)));
        let records = [0, 10, 20].map(place);
        let bytes: Vec<u8> = keys
            .iter()
            .zip(&records)
            .flat_map(|(key, place)| encode(*key, *place))
            .collect();
        let whole = Index::read(&bytes, 30);
        let found = |index: &Index| {
            let found = keys.iter().filter(|key| index.find(**key).is_some());
            found.count()
        };
        assert_eq!(
            (found(&whole), whole.blocks_end, whole.num_unread),
            (3, 30, 0)
        );
        assert_eq!(whole.find(keys[1]).unwrap().place, records[1]);
        let mut flipped = bytes.clone();
        flipped[RECORD + 9] ^= 4;
        let mut last_flipped = bytes.clone();
        last_flipped[3 * RECORD - 1] ^= 4;
        let torn = bytes[..3 * RECORD - 1].to_vec();
        for (damaged, blocks, num_found, length, end) in [
            (flipped, 30, 2, 3, 30),
            (last_flipped, 30, 2, 3, 30),
            // Half a record says nothing.
            (torn, 30, 2, 2, 30),
            // Nor does one of what is not there; but nothing else comes to lie there.
            (bytes, 29, 2, 2, 30),
        ] {
            let index = Index::read(&damaged, blocks);
            let found = (found(&index), index.length, index.blocks_end);
            assert_eq!(found, (num_found, length * RECORD as u64, end));
        }
    }

    fn numbers() -> impl Strategy<Value = u32> {
        prop_oneof![0..6_u32, 65_530..65_545_u32, Just(u32::MAX)]
    }

    fn sizes() -> impl Strategy<Value = u64> {
        prop_oneof![0..5000_u64, any::<u64>()]
    }

    proptest! {
        #[test]
        fn it_knows_what_a_plain_map_knows(
            blocks in prop::collection::vec(
                (prop_oneof![Just(0), any::<u64>()], prop::collection::vec(
                    (numbers(), 0..4_u32, sizes(), sizes()), 1..4)),
                0..20),
        ) {
            let (mut index, mut plain) = (Index::default(), HashMap::new());
            let mut keys = Vec::new();
            for (number, (file, results)) in (0..).zip(&blocks) {
                let block = BlockPlace { file: *file, offset: number * 10, length: 10 };
                for (subjob, attempt, offset, length) in results {
                    let key = (SubjobId(*subjob), Attempt(*attempt));
                    let place = StoredPlace { block, offset: *offset, length: *length };
                    index.add(key, place);
                    plain.insert(key, Found { place, in_block: results.len() });
                    keys.push(key);
                    keys.push((SubjobId(*subjob), Attempt(*attempt + 1)));
                }
            }
            for key in keys {
                prop_assert_eq!(index.find(key), plain.get(&key).copied());
            }
            let files: HashSet<u64> = index.files().collect();
            let expected: HashSet<u64> = plain.values().map(|found| found.place.block.file).collect();
            prop_assert_eq!(files, expected);
        }
    }
}
