//! The log of one app: files of records, numbered by their first line.

use super::Output;
use super::record::{Record, Source, records};
use crate::store::log_files::{LogFile, LogFiles};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::InstanceId;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;

/// Of how many files a full log consists.
const FILES: u64 = 4;

/// The most bytes that are read of one file: a full one, and what was begun in it.
const MOST_READ: u64 = 256 << 20;

/// The longest line. What is longer is shown as several.
const LONGEST_LINE: usize = 16 << 10;

/// How many processes are remembered; of more, the runs and those that were heard longest ago are forgotten.
const MOST_SOURCES: usize = 512;

/// How many bytes of a run are for the log of its app: what asked for the run gets all of it.
pub(super) const MOST_OF_RUN: u64 = 1 << 20;

/// What a line takes in memory besides its text.
const LINE: usize = 64;

/// Whom a line is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The master, about the app.
    Controller,
    /// A process, such as `web.1`.
    Process(String),
}

/// A line of an app's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppLine {
    /// When the master got it.
    pub at: Timestamp,
    /// Whom it is from.
    pub from: Origin,
    /// The line, without its end. It may have any characters.
    pub text: String,
}

/// Lines of an app's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AppLines {
    /// The number of the first one: the one that was asked for, or a later one if that is not kept any more.
    pub first: u64,
    /// The lines.
    pub lines: Vec<AppLine>,
    /// The number of the line after them.
    pub next: u64,
}

/// The log of one app.
#[derive(Debug)]
pub(super) struct Log {
    max_bytes: u64,
    files: LogFiles,
    sources: BTreeMap<InstanceId, Source>,
    /// How many lines there were, with those that are not kept any more.
    num_lines: u64,
}

impl Log {
    /// The log in a directory, which need not be there.
    pub(super) fn open(directory: PathBuf, max_bytes: u64) -> io::Result<Self> {
        let mut log = Self {
            max_bytes,
            files: LogFiles::open(directory, MOST_READ)?,
            sources: BTreeMap::new(),
            num_lines: 0,
        };
        let files: Vec<LogFile> = log.files.iter().collect();
        for file in files {
            log.take_in(file)?;
        }
        Ok(log)
    }

    /// Takes in what a file of before says.
    fn take_in(&mut self, mut file: LogFile) -> io::Result<()> {
        let content = self.files.content(file)?;
        // What was written last may not have come to its end.
        file.bytes = 0;
        self.num_lines = file.start;
        for (record, length) in records(&content) {
            if file.bytes == 0 && matches!(record, Record::Sources(_)) {
                file.head = length;
            }
            file.bytes += length;
            self.num_lines += record.num_lines();
            match record {
                Record::Sources(sources) => self.sources = sources,
                Record::Output {
                    instance, source, ..
                } => {
                    self.sources.insert(instance, source);
                }
                Record::Controller { .. } => {}
            }
        }
        self.files.correct(file);
        Ok(())
    }

    /// How many lines there were, with those that are not kept any more.
    pub(super) fn num_lines(&self) -> u64 {
        self.num_lines
    }

    pub(super) fn add_controller_lines(
        &mut self,
        at: Timestamp,
        lines: Vec<String>,
    ) -> io::Result<()> {
        let lines = lines.iter().flat_map(|text| cut(text)).collect();
        self.append(&Record::Controller { at, lines })
    }

    /// As [`super::AppLogs::add_output`].
    pub(super) fn add_output(
        &mut self,
        at: Timestamp,
        output: Output<'_>,
    ) -> io::Result<Option<u64>> {
        let piece = output.piece;
        let known = self.sources.get(&piece.id);
        let mut lines = Vec::new();
        let mut source = match known {
            Some(known) if piece.generation < known.generation => return Ok(None),
            Some(known) if piece.generation == known.generation => known.clone(),
            Some(_) | None => {
                // The last line of an earlier placement has no end.
                let begun = known.map(|known| known.begun.clone());
                lines.extend(begun.filter(|begun| !begun.is_empty()));
                Source {
                    process: output.process.to_owned(),
                    generation: piece.generation,
                    // What is not known may have been forgotten.
                    end: if known.is_none() { output.before } else { 0 },
                    begun: String::new(),
                    heard: at,
                    left: output.is_run.then_some(MOST_OF_RUN),
                }
            }
        };
        if piece.offset < source.end || piece.length == 0 {
            return Ok(Some(source.end));
        }
        let missing = piece.offset - source.end;
        if missing > 0 {
            lines.extend(Some(std::mem::take(&mut source.begun)).filter(|begun| !begun.is_empty()));
            lines.push(format!(
                "[ClusterRunner: {missing} bytes of output are not kept here]"
            ));
        }
        source.take_text(&piece.text, piece.length, &mut lines);
        source.end = piece.offset.saturating_add(piece.length);
        source.heard = at;
        let end = source.end;
        self.append(&Record::Output {
            at,
            instance: piece.id,
            source: source.clone(),
            lines,
        })?;
        self.sources.insert(piece.id, source);
        self.forget_sources();
        Ok(Some(end))
    }

    fn forget_sources(&mut self) {
        while self.sources.len() > MOST_SOURCES {
            let oldest = self.sources.iter().min_by_key(|(_, source)| {
                let is_run = source.left.is_some();
                (!is_run, source.heard)
            });
            let Some(oldest) = oldest.map(|(id, _)| *id) else {
                return;
            };
            self.sources.remove(&oldest);
        }
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let bytes = record.encode().ok_or(io::ErrorKind::InvalidInput)?;
        let added = bytes.len() as u64;
        let is_full = |file: LogFile| {
            let own = file.own_bytes();
            own > 0 && own.saturating_add(added) > self.max_bytes / FILES
        };
        if self.files.newest().is_none_or(is_full) {
            self.begin_file()?;
        }
        self.files.write(&bytes)?;
        self.num_lines += record.num_lines();
        self.files.shrink(self.max_bytes)
    }

    fn begin_file(&mut self) -> io::Result<()> {
        // One that has no lines yet goes on.
        self.files.begin(self.num_lines)?;
        let head = Record::Sources(self.sources.clone());
        let head = head.encode().ok_or(io::ErrorKind::InvalidInput)?;
        self.files.write(&head)?;
        if let Some(newest) = self.files.newest() {
            let head = newest.bytes;
            self.files.correct(LogFile { head, ..newest });
        }
        Ok(())
    }

    /// As [`super::AppLogs::read`].
    pub(super) fn read(&self, first: u64, most_bytes: usize) -> io::Result<AppLines> {
        let first = first.clamp(self.files.start(self.num_lines), self.num_lines);
        let mut found = AppLines {
            first,
            lines: Vec::new(),
            next: first,
        };
        let mut bytes = 0;
        for (index, file) in self.files.iter().enumerate() {
            let end = self.files.end_of(index, self.num_lines);
            if end <= found.next {
                continue;
            }
            let skipped = found.next.saturating_sub(file.start);
            let lines = self.lines_of(file)?.into_iter();
            for line in lines.skip(usize::try_from(skipped).unwrap_or(usize::MAX)) {
                if bytes >= most_bytes {
                    return Ok(found);
                }
                bytes += line.text.len() + LINE;
                found.lines.push(line);
                found.next += 1;
            }
            // The rest of a damaged file is lost.
            found.next = found.next.max(end);
        }
        Ok(found)
    }

    /// As [`super::AppLogs::read_last`].
    pub(super) fn read_last(&self, most_lines: usize) -> io::Result<AppLines> {
        let mut lines = VecDeque::new();
        for file in self.files.iter().rev() {
            for line in self.lines_of(file)?.into_iter().rev() {
                if lines.len() < most_lines {
                    lines.push_front(line);
                }
            }
            if lines.len() >= most_lines {
                break;
            }
        }
        Ok(AppLines {
            first: self.num_lines.saturating_sub(lines.len() as u64),
            lines: lines.into(),
            next: self.num_lines,
        })
    }

    fn lines_of(&self, file: LogFile) -> io::Result<Vec<AppLine>> {
        let content = self.files.content(file)?;
        let mut found = Vec::new();
        for (record, _) in records(&content) {
            let (at, from, lines) = match record {
                Record::Sources(_) => continue,
                Record::Controller { at, lines } => (at, Origin::Controller, lines),
                Record::Output {
                    at, source, lines, ..
                } => (at, Origin::Process(source.process), lines),
            };
            found.extend(lines.into_iter().map(|text| AppLine {
                at,
                from: from.clone(),
                text,
            }));
        }
        Ok(found)
    }
}

impl Source {
    /// Takes text in that stands for so many bytes of output: what is whole of it goes to `lines`.
    fn take_text(&mut self, text: &str, length: u64, lines: &mut Vec<String>) {
        let mut taken = text;
        if let Some(left) = &mut self.left {
            let before = *left;
            *left = left.saturating_sub(length);
            if before < length {
                let most = usize::try_from(before).unwrap_or(usize::MAX);
                taken = text.get(..text.floor_char_boundary(most)).unwrap_or(text);
            }
            if before == 0 {
                return;
            }
        }
        self.begun.push_str(taken);
        let all = std::mem::take(&mut self.begun);
        let (whole, rest) = match all.rfind('\n') {
            Some(end) => all.split_at(end + 1),
            None => ("", all.as_str()),
        };
        for line in whole.lines() {
            lines.extend(cut(line));
        }
        let mut rest = cut(rest);
        // Of one that is too long already, all but the last part is a line.
        self.begun = rest.pop().unwrap_or_default();
        lines.extend(rest);
        if self.left == Some(0) {
            lines.extend(Some(std::mem::take(&mut self.begun)).filter(|begun| !begun.is_empty()));
            lines.push(format!(
                "[ClusterRunner: the log takes no more than {MOST_OF_RUN} bytes of one run]"
            ));
        }
    }
}

/// The parts of a line, none of which is too long.
fn cut(mut text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    while text.len() > LONGEST_LINE {
        let (part, rest) = text.split_at(text.floor_char_boundary(LONGEST_LINE));
        parts.push(part.to_owned());
        text = rest;
    }
    parts.push(text.to_owned());
    parts
}
