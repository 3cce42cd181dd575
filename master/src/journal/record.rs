//! Texts of any length as values that are small enough for the engine, each with its checksum.

use super::JournalError;
use sled::{Batch, IVec, Tree};
use std::ops::Bound;

/// sled keeps what it writes at once, which is some twenty values, in its synced log up to a quarter of a
/// segment. Texts are cut into pieces of at most this size.
pub(super) const MAX_PIECE: usize = 12 << 10;

/// The first byte of every piece: how the rest is written. 1: CRC-32 (big-endian) of what follows,
/// number of pieces of the text (2 bytes, big-endian), piece of the text.
const FORMAT: u8 = 1;
const HEAD: usize = 1 + 4 + 2;

/// The end of every key: the number of the piece.
const PIECE: usize = 2;

/// Adds a text under `key` to a batch; how many bytes that takes.
pub(super) fn put(batch: &mut Batch, key: &[u8], text: &[u8]) -> Result<usize, JournalError> {
    let pieces =
        u16::try_from(text.chunks(MAX_PIECE).count()).map_err(|_| JournalError::TooLarge)?;
    for (index, piece) in (0..pieces).zip(text.chunks(MAX_PIECE)) {
        batch.insert(piece_key(key, index), write_piece(pieces, piece));
    }
    Ok(text.len() + usize::from(pieces) * (HEAD + PIECE + key.len()))
}

/// Key and value of a text that is one piece.
pub(super) fn only_piece(key: &[u8], text: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let is_one = !text.is_empty() && text.len() <= MAX_PIECE;
    is_one.then(|| (piece_key(key, 0), write_piece(1, text)))
}

/// The key of one piece of a record.
pub(super) fn piece_key(key: &[u8], piece: u16) -> Vec<u8> {
    [key, &piece.to_be_bytes()].concat()
}

fn write_piece(pieces: u16, content: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + content.len());
    record.push(FORMAT);
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&pieces.to_be_bytes());
    record.extend_from_slice(content);
    let checksum = crc32fast::hash(&record[5..]);
    record[1..5].copy_from_slice(&checksum.to_be_bytes());
    record
}

fn read_piece(record: &[u8]) -> Result<(u16, &[u8]), &'static str> {
    let (head, content) = record
        .split_first_chunk::<HEAD>()
        .ok_or("it is too short")?;
    if head[0] != FORMAT {
        return Err("its format is unknown to this version");
    }
    let checksum = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if crc32fast::hash(&record[5..]) != checksum {
        return Err("its checksum does not fit");
    }
    Ok((u16::from_be_bytes([head[5], head[6]]), content))
}

/// A text with its key.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) text: Vec<u8>,
}

/// A record that can not be read.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) key: Vec<u8>,
    pub(super) what: &'static str,
    /// It is the last one and its end was never written: nobody was told that it is there.
    pub(super) is_torn: bool,
}

/// The records of a tree in the order of their keys; after a damaged one it goes on with the next.
pub(super) struct Records {
    pieces: sled::Iter,
    /// The first piece of the next record, read already.
    ahead: Option<(IVec, IVec)>,
}

impl Records {
    /// All from `first` on.
    pub(super) fn from(tree: &Tree, first: &[u8]) -> Self {
        let range = (Bound::Included(first.to_vec()), Bound::Unbounded);
        Self {
            pieces: tree.range::<Vec<u8>, _>(range),
            ahead: None,
        }
    }

    /// Those whose keys begin with `prefix`.
    pub(super) fn below(tree: &Tree, prefix: &[u8]) -> Self {
        Self {
            pieces: tree.scan_prefix(prefix),
            ahead: None,
        }
    }

    fn next_piece(&mut self) -> Result<Option<(IVec, IVec)>, JournalError> {
        match self.ahead.take() {
            Some(piece) => Ok(Some(piece)),
            None => self.pieces.next().transpose().map_err(JournalError::Read),
        }
    }

    fn read(&mut self) -> Result<Option<Result<Record, Damage>>, JournalError> {
        let Some((first, value)) = self.next_piece()? else {
            return Ok(None);
        };
        let Some(key) = first.len().checked_sub(PIECE).map(|end| &first[..end]) else {
            let key = first.to_vec();
            let what = "its key is too short";
            return Ok(Some(Err(damage(key, what))));
        };
        let mut text = Vec::new();
        let mut wrong = None;
        let mut expected = 1;
        let (mut number, mut value) = (piece_number(&first), value);
        let mut seen: u16 = 0;
        loop {
            match read_piece(&value) {
                Ok((pieces, content)) => {
                    expected = pieces;
                    text.extend_from_slice(content);
                }
                Err(what) => wrong = wrong.or(Some(what)),
            }
            if number != seen {
                wrong = wrong.or(Some("a piece of it is missing"));
            }
            seen = number.saturating_add(1);
            match self.next_piece()? {
                Some((next, following)) if next.len() == first.len() && next.starts_with(key) => {
                    (number, value) = (piece_number(&next), following);
                }
                next => {
                    self.ahead = next;
                    break;
                }
            }
        }
        let is_short = wrong.is_none() && seen < expected;
        if is_short {
            wrong = Some("its end is missing");
        } else if seen > expected {
            wrong = wrong.or(Some("it has too many pieces"));
        }
        let key = key.to_vec();
        Ok(Some(match wrong {
            None => Ok(Record { key, text }),
            Some(what) => Err(Damage {
                is_torn: is_short && self.ahead.is_none(),
                ..damage(key, what)
            }),
        }))
    }
}

fn damage(key: Vec<u8>, what: &'static str) -> Damage {
    Damage {
        key,
        what,
        is_torn: false,
    }
}

fn piece_number(key: &[u8]) -> u16 {
    key.last_chunk::<PIECE>()
        .map_or(0, |piece| u16::from_be_bytes(*piece))
}

impl Iterator for Records {
    type Item = Result<Result<Record, Damage>, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// A number at the beginning of a key.
pub(super) fn leading(key: &[u8]) -> Option<u64> {
    key.first_chunk::<8>().map(|n| u64::from_be_bytes(*n))
}
