//! What an instance prints, in files of bounded size: `log/<offset of its first byte>`. The oldest go when there is too
//! much. Offsets count all bytes that the placement ever printed, so they stay what they are when a keeper is replaced.

use super::contact::Saying;
use super::log_directory;
use super::protocol::KeeperOrder;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clusterrunner_common::api::instances::{MAX_RUN_OUTPUT, OrderedPurpose};
use clusterrunner_common::disk::regular_file::open_itself;
use clusterrunner_common::lock::lock;
use clusterrunner_common::text::printable::plain;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;

/// Of how many files the output consists at most.
const FILES: u64 = 8;

/// The smallest file that is begun anew.
const SMALLEST_FILE: u64 = 4 << 10;

/// How much is read at a time.
const PIECE: usize = 64 << 10;

/// Where the instance's processes print to.
#[derive(Debug)]
pub(super) struct Output {
    files: Arc<Mutex<Files>>,
    said: Saying,
    /// The end of the pipe that processes get.
    writer: OwnedFd,
    reading: JoinHandle<()>,
}

impl Output {
    pub(super) fn open(order: &KeeperOrder, said: &Saying) -> io::Result<Self> {
        let max_bytes = match order.instance.purpose {
            // All of it is the answer to somebody.
            OrderedPurpose::Run => MAX_RUN_OUTPUT,
            OrderedPurpose::Launch | OrderedPurpose::App => order.rules.max_log_bytes,
        };
        let files = Files::open(&log_directory(&order.directory), max_bytes)?;
        said.has_printed(files.end());
        let files = Arc::new(Mutex::new(files));
        let (reader, writer) = io::pipe()?;
        let reader = Receiver::from_owned_fd(reader.into())?;
        let reading = tokio::spawn(read(reader, Arc::clone(&files), said.clone()));
        Ok(Self {
            files,
            said: said.clone(),
            writer: writer.into(),
            reading,
        })
    }

    /// For the standard output or error of a process.
    pub(super) fn for_process(&self) -> io::Result<OwnedFd> {
        self.writer.try_clone()
    }

    /// Adds a line of our own.
    pub(super) fn note(&self, text: &str) {
        let line = format!("[clusterrunner] {}\n", plain(text));
        let mut files = lock(&self.files);
        files.add(line.as_bytes());
        self.said.has_printed(files.end());
    }

    /// Takes what is left in the pipe. To be called when nobody writes to it any more. Returns how many bytes were
    /// printed in all.
    pub(super) async fn finish(self) -> u64 {
        drop(self.writer);
        // It fails only where it was aborted.
        self.reading.await.ok();
        lock(&self.files).end()
    }
}

async fn read(mut reader: Receiver, files: Arc<Mutex<Files>>, said: Saying) {
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece).await {
            Ok(0) => return,
            Ok(length) => {
                let mut files = lock(&files);
                files.add(piece.get(..length).unwrap_or_default());
                said.has_printed(files.end());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// The files that are there, the newest last.
#[derive(Debug)]
struct Files {
    directory: PathBuf,
    /// Where each begins.
    begins: Vec<u64>,
    newest: File,
    /// How much is in the newest.
    length: u64,
    each: u64,
}

impl Files {
    fn open(directory: &Path, max_bytes: u64) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let mut begins = begins(directory)?;
        // Never into a file of before: what was written of it last may be on no disk.
        let end = match begins.last() {
            Some(last) => last + std::fs::metadata(file(directory, *last))?.len(),
            None => 0,
        };
        if begins.last() != Some(&end) {
            begins.push(end);
        }
        Ok(Self {
            newest: File::create(file(directory, end))?,
            directory: directory.to_owned(),
            begins,
            length: 0,
            each: (max_bytes / FILES).max(SMALLEST_FILE),
        })
    }

    fn end(&self) -> u64 {
        self.begins.last().map_or(0, |begin| begin + self.length)
    }

    /// What can not be written is lost, but counted: the next reader sees a gap and not another text.
    fn add(&mut self, bytes: &[u8]) {
        let had = self.length;
        self.length += bytes.len() as u64;
        let is_written = self.newest.write_all(bytes).is_ok();
        if !is_written {
            // Of what did not fit, nothing: a later piece must not stand in its place.
            self.newest.set_len(had).ok();
        }
        if (self.length >= self.each || !is_written) && self.begin().is_err() {
            self.newest.seek(SeekFrom::Start(self.length)).ok();
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        let end = self.end();
        self.newest = File::create(file(&self.directory, end))?;
        if self.begins.last() != Some(&end) {
            self.begins.push(end);
        }
        self.length = 0;
        while self.begins.len() as u64 > FILES {
            let oldest = self.begins.remove(0);
            std::fs::remove_file(file(&self.directory, oldest)).ok();
        }
        Ok(())
    }
}

fn file(directory: &Path, begin: u64) -> PathBuf {
    directory.join(format!("{begin:020}"))
}

/// Where the files of a directory begin, in their order.
fn begins(directory: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// A piece of what an instance printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogPiece {
    /// Where it begins: behind the wanted offset where that part is gone.
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The piece at this offset, or the first that is there behind it: at most `most` bytes, none at the end. Blocks.
pub(crate) fn piece_of(directory: &Path, offset: u64, most: u64) -> io::Result<LogPiece> {
    for begin in begins(directory)? {
        // It may have gone since.
        let Ok(mut opened) = open_itself(&file(directory, begin)) else {
            continue;
        };
        if begin + opened.metadata()?.len() <= offset {
            continue;
        }
        let offset = offset.max(begin);
        opened.seek(SeekFrom::Start(offset - begin))?;
        let mut bytes = Vec::new();
        opened.take(most).read_to_end(&mut bytes)?;
        return Ok(LogPiece { offset, bytes });
    }
    Ok(LogPiece {
        offset,
        bytes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(directory: &Path, from: u64) -> (u64, String) {
        let first = piece_of(directory, from, 1 << 20).unwrap();
        let (begin, mut text) = (first.offset, first.bytes);
        loop {
            let end = begin + text.len() as u64;
            let next = piece_of(directory, end, 1 << 20).unwrap();
            if next.bytes.is_empty() {
                return (begin, String::from_utf8(text).unwrap());
            }
            assert_eq!(next.offset, end);
            text.extend(next.bytes);
        }
    }

    #[test]
    fn offsets_go_on_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut files = Files::open(path, 0).unwrap();
        files.add(b"one\n");
        files.add(b"two\n");
        drop(files);
        let mut files = Files::open(path, 0).unwrap();
        assert_eq!(files.end(), 8);
        files.add(b"three\n");
        assert_eq!(all(path, 0), (0, "one\ntwo\nthree\n".to_owned()));
        assert_eq!(all(path, 5), (5, "wo\nthree\n".to_owned()));
        assert_eq!(all(path, 14), (14, String::new()));
        let line = [b'x'; 1024];
        for _ in 0..100 {
            files.add(&line);
        }
        assert_eq!(files.end(), 14 + 100 * 1024);
        let (begin, text) = all(path, 0);
        assert!(begin > 14 && text.len() as u64 <= FILES * SMALLEST_FILE);
        assert_eq!(begin + text.len() as u64, files.end());
    }
}
