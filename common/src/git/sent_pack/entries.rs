//! The entries of a pack (gitformat-pack): how much they stand for, found by unpacking each of them once into nothing.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::ZlibDecoder;
use tokio_util::sync::CancellationToken;

use super::SentPackError;
use crate::git::GitLimits;

/// How packs begin; their version follows.
const MAGIC: &[u8] = b"PACK";

/// Kinds of entries.
const COMMIT: u8 = 1;
const TREE: u8 = 2;
const BLOB: u8 = 3;
const TAG: u8 = 4;
const OFFSET_DELTA: u8 = 6;
const NAMED_DELTA: u8 = 7;

/// The largest commit, tree or tag, which libgit2 has in memory.
const LARGEST_IN_MEMORY: u64 = 256 << 20;

/// The length of an object id.
const ID_LENGTH: u64 = 20;

/// How much is unpacked at a time.
const PIECE: usize = 64 << 10;

/// Why a pack is no good, before it is a sentence.
enum Flaw {
    Malformed(&'static str),
    Large {
        bytes: u64,
        most: u64,
        setting: &'static str,
    },
    Many {
        most: u64,
    },
    Canceled,
    Unreadable(io::Error),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Malformed("it is cut off"),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                Self::Malformed("an object of it can not be unpacked")
            }
            _ => Self::Unreadable(error),
        }
    }
}

impl From<Flaw> for SentPackError {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Malformed(why) => Self::Refused(format!("The pack is malformed: {why}.")),
            Flaw::Large {
                bytes,
                most,
                setting,
            } => Self::TooLarge(format!(
                "What is in the pack has {bytes} bytes or more, and {most} are allowed (setting {setting} of the master)."
            )),
            Flaw::Many { most } => Self::TooLarge(format!(
                "The pack has more than {most} objects (setting git_max_entries of the master)."
            )),
            Flaw::Canceled => Self::Canceled,
            Flaw::Unreadable(error) => Self::Failed(error.to_string()),
        }
    }
}

/// Unpacks all entries of a pack, and keeps nothing.
pub(super) fn check(
    pack: impl Read,
    limits: GitLimits,
    cancel: &CancellationToken,
) -> Result<(), SentPackError> {
    Ok(look(BufReader::with_capacity(PIECE, pack), limits, cancel)?)
}

fn look(mut pack: impl BufRead, limits: GitLimits, cancel: &CancellationToken) -> Result<(), Flaw> {
    let mut head = [0; 12];
    pack.read_exact(&mut head)?;
    let [version, count] = [&head[4..8], &head[8..]].map(|four| {
        let bytes = four.iter();
        bytes.fold(0, |number: u32, byte| number << 8 | u32::from(*byte))
    });
    if !head.starts_with(MAGIC) || ![2, 3].contains(&version) {
        return Err(Flaw::Malformed("it does not begin as a pack"));
    }
    if u64::from(count) > limits.entries {
        return Err(Flaw::Many {
            most: limits.entries,
        });
    }
    let mut total: u64 = 0;
    for _ in 0..count {
        if cancel.is_cancelled() {
            return Err(Flaw::Canceled);
        }
        total = total.saturating_add(entry(&mut pack, limits)?);
        if total > limits.work_tree_bytes {
            return Err(Flaw::Large {
                bytes: total,
                most: limits.work_tree_bytes,
                setting: "git_max_work_tree_bytes",
            });
        }
    }
    Ok(())
}

/// Unpacks the next entry; how many bytes its object has.
fn entry(pack: &mut impl BufRead, limits: GitLimits) -> Result<u64, Flaw> {
    let (kind, stated) = entry_head(pack)?;
    let most = match kind {
        COMMIT | TREE | TAG => LARGEST_IN_MEMORY.min(limits.file_bytes),
        BLOB | OFFSET_DELTA | NAMED_DELTA => limits.file_bytes,
        _ => return Err(Flaw::Malformed("an object of it is of no known kind")),
    };
    let bounded = |bytes: u64| match bytes > most {
        true => Err(Flaw::Large {
            bytes,
            most,
            setting: "git_max_file_bytes",
        }),
        false => Ok(bytes),
    };
    bounded(stated)?;
    let is_delta = kind == OFFSET_DELTA || kind == NAMED_DELTA;
    if kind == OFFSET_DELTA {
        while next(pack)? & 0x80 != 0 {}
    }
    if kind == NAMED_DELTA {
        io::copy(&mut pack.by_ref().take(ID_LENGTH), &mut io::sink())?;
    }
    // One byte more than it should have is enough to know.
    let mut unpacked = BufReader::new(ZlibDecoder::new(pack).take(stated + 1));
    let (mut bytes, mut stands_for) = (0, stated);
    if is_delta {
        let (length, _) = number(&mut unpacked)?;
        let (result_length, result) = number(&mut unpacked)?;
        bytes += length + result_length;
        stands_for = bounded(result)?;
    }
    bytes += io::copy(&mut unpacked, &mut io::sink())?;
    match bytes == stated {
        true => Ok(stands_for),
        false => Err(Flaw::Malformed("an object of it is not as long as it says")),
    }
}

/// The kind of an entry, and how long it is unpacked.
fn entry_head(pack: &mut impl Read) -> Result<(u8, u64), Flaw> {
    let mut byte = next(pack)?;
    let kind = byte >> 4 & 7;
    let mut length = u64::from(byte & 15);
    let mut shift = 4;
    while byte & 0x80 != 0 {
        byte = next(pack)?;
        length |= shifted(byte, shift)?;
        shift += 7;
    }
    Ok((kind, length))
}

/// A number at the beginning of a delta, and how many bytes it takes.
fn number(delta: &mut impl Read) -> Result<(u64, u64), Flaw> {
    let (mut length, mut value) = (0, 0);
    loop {
        let byte = next(delta)?;
        let shift = u32::try_from(length * 7).unwrap_or(u32::MAX);
        value |= shifted(byte, shift)?;
        length += 1;
        if byte & 0x80 == 0 {
            return Ok((length, value));
        }
    }
}

/// Seven bits of a number at their place.
fn shifted(byte: u8, shift: u32) -> Result<u64, Flaw> {
    let bits = u64::from(byte & 0x7f);
    let shifted = bits.checked_shl(shift).filter(|_| shift < 57);
    shifted.ok_or(Flaw::Malformed("a length in it is too long"))
}

fn next(from: &mut impl Read) -> Result<u8, Flaw> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}
