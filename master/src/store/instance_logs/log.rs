//! The log of one instance: files of records, numbered by the place in the text at which each begins.

use super::record::{Record, records, size};
use crate::store::log_files::{LogFile, LogFiles};
use clusterrunner_common::api::instances::LogPiece;
use clusterrunner_common::ids::Generation;
use std::cmp::Ordering;
use std::io;
use std::path::PathBuf;

/// Of how many files a full log consists at least.
const FILES: u64 = 4;

/// The most bytes of a file: a reader of a part reads all of it.
const MOST_OF_FILE: u64 = 4 << 20;

/// The most bytes that are read of one file: a full one, and a piece that was begun in it.
const MOST_READ: u64 = 64 << 20;

/// A part of the text of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogText {
    /// The place in the text at which it begins: the one that was asked for, or a later one if what was there is not
    /// kept any more.
    pub offset: u64,
    /// The text.
    pub text: String,
    /// The place at which the next part begins.
    pub next: u64,
}

/// The log of one instance.
#[derive(Debug)]
pub(super) struct Log {
    files: LogFiles,
    /// The latest placement of which there is output; 0 before the first.
    generation: Generation,
    /// How many bytes of its output are there.
    end: u64,
    /// How long the text is, with what is not kept any more.
    length: u64,
}

impl Log {
    /// The log in a directory, which need not be there.
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        let mut log = Self {
            files: LogFiles::open(directory, MOST_READ)?,
            generation: Generation(0),
            end: 0,
            length: 0,
        };
        log.find_end()?;
        Ok(log)
    }

    /// Reads how far it goes off its last record.
    fn find_end(&mut self) -> io::Result<()> {
        let mut is_last = true;
        let files: Vec<LogFile> = self.files.iter().collect();
        for file in files.into_iter().rev() {
            let content = self.files.content(file)?;
            let (mut bytes, mut length, mut last) = (0, file.start, None);
            for record in records(&content) {
                bytes += size(&record);
                length += record.text.len() as u64;
                last = Some((record.generation, record.end));
            }
            if is_last {
                // What was written last may not have come to its end.
                self.files.correct(LogFile { bytes, ..file });
                self.length = length;
                is_last = false;
            }
            if let Some((generation, end)) = last {
                (self.generation, self.end) = (generation, end);
                break;
            }
        }
        Ok(())
    }

    /// The latest placement of which there is output, and how many bytes of its output are there.
    pub(super) fn end(&self) -> (Generation, u64) {
        (self.generation, self.end)
    }

    /// How long the text is, with what is not kept any more.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Stores a piece, unless it is there already; as [`super::InstanceLogs::add`].
    pub(super) fn take(&mut self, piece: &LogPiece, max_bytes: u64) -> io::Result<Option<u64>> {
        let mut text = String::new();
        let end = match piece.generation.cmp(&self.generation) {
            Ordering::Less => return Ok(None),
            Ordering::Equal => self.end,
            Ordering::Greater => {
                if self.length > 0 {
                    let number = piece.generation;
                    text = format!("[ClusterRunner: placement {number} of this instance begins]\n");
                }
                0
            }
        };
        let is_new = piece.generation > self.generation;
        if piece.offset < end || (piece.length == 0 && !is_new) {
            return Ok(Some(end));
        }
        if piece.offset > end {
            let missing = piece.offset - end;
            text += &format!("[ClusterRunner: {missing} bytes of output are not kept here]\n");
        }
        text += &piece.text;
        let end = piece.offset.saturating_add(piece.length);
        let record = Record {
            generation: piece.generation,
            end,
            text: &text,
        };
        self.append(&record, max_bytes)?;
        Ok(Some(end))
    }

    fn append(&mut self, record: &Record<'_>, max_bytes: u64) -> io::Result<()> {
        let bytes = record.encode().ok_or(io::ErrorKind::InvalidInput)?;
        let added = bytes.len() as u64;
        let is_full = |file: LogFile| {
            let most = (max_bytes / FILES).min(MOST_OF_FILE);
            file.bytes > 0 && file.bytes.saturating_add(added) > most
        };
        if self.files.newest().is_none_or(is_full) {
            self.files.begin(self.length)?;
        }
        self.files.write(&bytes)?;
        (self.generation, self.end) = (record.generation, record.end);
        self.length += record.text.len() as u64;
        self.shrink(max_bytes)
    }

    /// Removes the oldest of more bytes than this.
    pub(super) fn shrink(&mut self, max_bytes: u64) -> io::Result<()> {
        self.files.shrink(max_bytes)
    }

    /// As [`super::InstanceLogs::read`].
    pub(super) fn read(&self, offset: u64, most: usize) -> io::Result<LogText> {
        let kept = self.files.start(self.length);
        let mut found = LogText {
            offset: offset.clamp(kept, self.length),
            ..LogText::default()
        };
        found.next = found.offset;
        for (index, file) in self.files.iter().enumerate() {
            let end = self.files.end_of(index, self.length);
            if end <= found.next {
                continue;
            }
            let mut place = file.start;
            for record in records(&self.files.content(file)?) {
                let text = record.text;
                let begin = place;
                place += text.len() as u64;
                if place <= found.next {
                    continue;
                }
                let skipped = usize::try_from(found.next.saturating_sub(begin));
                let from = ceil(text, skipped.unwrap_or(text.len()));
                let left = most - found.text.len();
                let to = text.floor_char_boundary(from.saturating_add(left));
                let taken = text.get(from..to).unwrap_or_default();
                if found.text.is_empty() {
                    found.offset = begin + from as u64;
                }
                found.text += taken;
                found.next = begin + to.max(from) as u64;
                if to < text.len() {
                    return Ok(found);
                }
            }
            // The rest of a damaged file is lost.
            found.next = found.next.max(end);
        }
        Ok(found)
    }
}

/// The first beginning of a character at this place or after it.
fn ceil(text: &str, place: usize) -> usize {
    text.ceil_char_boundary(place)
}
