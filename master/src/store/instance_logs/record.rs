//! The form of a log on the disk: records one after the other, each with a piece of text.

use clusterrunner_common::ids::Generation;

/// What a record has before its text: a CRC-32 of the rest, the placement, the end in bytes of its output, the length of
/// the text.
const HEAD: usize = 4 + 4 + 8 + 4;

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// The placement whose output it is.
    pub(super) generation: Generation,
    /// How many bytes of that output are there with this record.
    pub(super) end: u64,
    pub(super) text: &'a str,
}

impl Record<'_> {
    /// Its bytes; nothing for a text that is too long for any record.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let length = u32::try_from(self.text.len()).ok()?;
        let mut bytes = vec![0; 4];
        bytes.extend(self.generation.0.to_le_bytes());
        bytes.extend(self.end.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.text.as_bytes());
        let (sum, rest) = bytes.split_at_mut(4);
        sum.copy_from_slice(&crc32fast::hash(rest).to_le_bytes());
        Some(bytes)
    }
}

/// The records at the beginning of a file, up to where it is no more as it was written.
pub(super) fn records(mut bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (record, rest) = first(bytes)?;
        bytes = rest;
        Some(record)
    })
}

/// How many bytes a record takes.
pub(super) fn size(record: &Record<'_>) -> u64 {
    (HEAD + record.text.len()) as u64
}

fn first(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (sum, checked) = bytes.split_first_chunk()?;
    let (generation, rest) = checked.split_first_chunk()?;
    let (end, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    let checked = checked.get(..HEAD - 4 + length)?;
    if crc32fast::hash(checked) != u32::from_le_bytes(*sum) {
        return None;
    }
    let record = Record {
        generation: Generation(u32::from_le_bytes(*generation)),
        end: u64::from_le_bytes(*end),
        text: std::str::from_utf8(text).ok()?,
    };
    Some((record, rest))
}
