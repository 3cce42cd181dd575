//! The files of one bounded log: records one after the other, in files that are named by the number of what they begin
//! with. The oldest goes when there are too many bytes. What the numbers count, and what the records are, is for the
//! log to say.

use clusterrunner_common::disk::regular_file;
use std::collections::VecDeque;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

/// The files of a log.
#[derive(Debug)]
pub(super) struct LogFiles {
    directory: PathBuf,
    /// The most bytes that are read of one file.
    most_read: u64,
    /// The oldest first.
    files: VecDeque<LogFile>,
}

/// A file.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogFile {
    /// The number of what the file begins with.
    pub(super) start: u64,
    /// How many of its bytes count.
    pub(super) bytes: u64,
    /// How many of them repeat what earlier files say, so that those can go. They do not fill the log.
    pub(super) head: u64,
}

impl LogFile {
    /// How many bytes fill the log.
    pub(super) fn own_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.head)
    }
}

impl LogFiles {
    /// The files in a directory, which need not be there. All of their bytes count.
    pub(super) fn open(directory: PathBuf, most_read: u64) -> io::Result<Self> {
        let mut found = Self {
            directory,
            most_read,
            files: VecDeque::new(),
        };
        let entries = match std::fs::read_dir(&found.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            read => read?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let start = name
                .to_str()
                .and_then(|name| u64::from_str_radix(name, 16).ok());
            if let Some(start) = start {
                found.files.push_back(LogFile {
                    start,
                    bytes: entry.metadata()?.len(),
                    head: 0,
                });
            }
        }
        found.files.make_contiguous().sort_by_key(|file| file.start);
        Ok(found)
    }

    /// The files, the oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = LogFile> + ExactSizeIterator {
        self.files.iter().copied()
    }

    /// The file that is written to.
    pub(super) fn newest(&self) -> Option<LogFile> {
        self.files.back().copied()
    }

    /// The number of the oldest that is there; `end` if nothing is.
    pub(super) fn start(&self, end: u64) -> u64 {
        self.files.front().map_or(end, |file| file.start)
    }

    /// The number at which the file with this index ends; `end` is that at which the log ends.
    pub(super) fn end_of(&self, index: usize, end: u64) -> u64 {
        self.files.get(index + 1).map_or(end, |next| next.start)
    }

    /// Says of a file how many of its bytes count, and how many are its head: what was written last may not have come
    /// to its end.
    pub(super) fn correct(&mut self, corrected: LogFile) {
        let mut files = self.files.iter_mut();
        if let Some(file) = files.find(|file| file.start == corrected.start) {
            *file = corrected;
        }
    }

    /// Begins a file. A newest one that begins with the same number goes on.
    pub(super) fn begin(&mut self, start: u64) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        if self.newest().is_none_or(|file| file.start < start) {
            self.files.push_back(LogFile {
                start,
                bytes: 0,
                head: 0,
            });
        }
        Ok(())
    }

    /// Writes to the end of the newest file.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(newest) = self.newest() else {
            return Ok(());
        };
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.path(newest))?;
        if file.metadata()?.len() > newest.bytes {
            file.set_len(newest.bytes)?;
        }
        file.write_all_at(bytes, newest.bytes)?;
        let bytes = newest.bytes + bytes.len() as u64;
        self.correct(LogFile { bytes, ..newest });
        Ok(())
    }

    /// Removes the oldest files while there are more bytes than these. The newest stays.
    pub(super) fn shrink(&mut self, max_bytes: u64) -> io::Result<()> {
        let total = |files: &VecDeque<LogFile>| files.iter().map(LogFile::own_bytes).sum::<u64>();
        while self.files.len() > 1 && total(&self.files) > max_bytes {
            if let Some(oldest) = self.files.pop_front() {
                std::fs::remove_file(self.path(oldest))?;
            }
        }
        Ok(())
    }

    /// The bytes of a file that count.
    pub(super) fn content(&self, file: LogFile) -> io::Result<Vec<u8>> {
        let mut content = regular_file::read(&self.path(file), self.most_read)?;
        content.truncate(usize::try_from(file.bytes).unwrap_or(usize::MAX));
        Ok(content)
    }

    fn path(&self, file: LogFile) -> PathBuf {
        self.directory.join(format!("{:016x}", file.start))
    }
}
