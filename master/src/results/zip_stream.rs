//! `artifacts.zip` as a stream: made from the store while it is sent.
//!
//! Written here and not by a library, which would remember each member until the list of them comes
//! at the end: half a kilobyte and more for each, and less than ten bytes here.

mod directory;
mod records;
#[cfg(test)]
mod tests;
mod time;
mod writer;

use super::archive::Archive;
use super::archive_files::ArchiveFiles;
use bytes::Bytes;
use clusterrunner_common::result_block::{FileFacts, members};
use flate2::bufread::GzDecoder;
use futures_util::Stream;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use tokio::sync::mpsc;
use writer::ZipWriter;

const CHUNK: usize = 1 << 16;
/// How many chunks may wait for a slow reader.
const WAITING: usize = 8;

/// The zip archive with the regular files of the tar archive. It ends in an error, not in an end,
/// if something can not be read.
pub(super) fn stream(
    files: ArchiveFiles,
    archive: Archive,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (out, failed) = (Chunks(sender.clone()), sender.clone());
    // A thread of its own: slow readers must not use up those that others wait for.
    let thread = std::thread::Builder::new().name("zip".to_owned());
    let started = thread.spawn(move || {
        if let Err(error) = write(&files, &archive, BufWriter::with_capacity(CHUNK, out)) {
            // Whoever reads may have left, which may be the error.
            failed.blocking_send(Err(error)).ok();
        }
    });
    if let Err(error) = started {
        // There is room for it: nothing was sent yet.
        sender.try_send(Err(error)).ok();
    }
    drop(sender);
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        Some((receiver.recv().await?, receiver))
    })
}

fn write(files: &ArchiveFiles, archive: &Archive, out: impl Write) -> io::Result<()> {
    let mut zip = ZipWriter::new(out);
    for piece in &archive.pieces {
        let mut bytes = BufReader::new(files.at(*piece)?.take(piece.length));
        // A piece is many blocks; each is a gzip member.
        while !io::BufRead::fill_buf(&mut bytes)?.is_empty() {
            let block = GzDecoder::new(bytes);
            let read = members(block, |path, facts, content| {
                add(&mut zip, path, facts, content)
            });
            bytes = read?.into_inner();
        }
    }
    let ending = GzDecoder::new(&*archive.ending);
    members(ending, |path, facts, content| {
        add(&mut zip, path, facts, content)
    })?;
    zip.finish()?.flush()
}

fn add(
    zip: &mut ZipWriter<impl Write>,
    path: &Path,
    facts: FileFacts,
    content: &mut dyn Read,
) -> io::Result<()> {
    // What is no Unicode can not be said so that all readers understand it.
    zip.add(&path.to_string_lossy(), facts, content)
}

/// Hands what is written to whoever reads.
struct Chunks(mpsc::Sender<io::Result<Bytes>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
