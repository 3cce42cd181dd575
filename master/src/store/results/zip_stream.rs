//! `artifacts.zip` as a stream: made from the store piece by piece, as its reader takes it.
//!
//! Written here and not by a library, which would remember each member until the list of them comes
//! at the end: half a kilobyte and more for each, and less than ten bytes here. And no thread waits for a slow
//! reader: between two pieces an archive is but what is known of it.

mod directory;
mod records;
#[cfg(test)]
mod tests;
mod time;
mod writer;

use super::archive::{Archive, Piece};
use super::archive_files::ArchiveFiles;
use super::piece_stream::{self, Pieces};
use bytes::Bytes;
use clusterrunner_common::results::block::file_facts;
use clusterrunner_common::results::tar_reader::TarReader;
use clusterrunner_common::turns::Turns;
use directory::Records;
use flate2::bufread::GzDecoder;
use futures_util::Stream;
use std::io::{self, BufRead, BufReader, Cursor, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use writer::ZipWriter;

/// How much is made at a time.
const CHUNK: usize = 1 << 16;

/// The zip archive with the regular files of the tar archive. It ends in an error, not in an end,
/// if something can not be read. Each piece takes its turn.
pub(super) fn stream(
    files: ArchiveFiles,
    archive: Archive,
    turns: Turns,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let maker = Maker::new(files, archive);
    piece_stream::stream(maker, turns)
}

/// What a piece of the tar archive, or its ending, is read from.
type Source = Box<dyn BufRead + Send>;

/// An archive on its way.
struct Maker {
    files: ArchiveFiles,
    pieces: std::vec::IntoIter<Piece>,
    ending: Option<Vec<u8>>,
    zip: ZipWriter,
    state: State,
}

/// What is being read.
enum State {
    /// Nothing: the next piece is to be opened.
    Piece,
    /// A piece, which is many blocks; each is a gzip member.
    Block(Source),
    /// The members of a block.
    Members(TarReader<GzDecoder<Source>>),
    /// The content of a regular file.
    Content(TarReader<GzDecoder<Source>>),
    /// What comes after the files.
    Records(Box<Records>),
    End,
}

impl Pieces for Maker {
    fn piece(&mut self) -> io::Result<Option<Bytes>> {
        while self.zip.made() < CHUNK {
            self.state = match std::mem::replace(&mut self.state, State::End) {
                State::End => break,
                state => self.step(state)?,
            };
        }
        let made = self.zip.take();
        Ok((!made.is_empty()).then(|| made.into()))
    }
}

impl Maker {
    fn new(files: ArchiveFiles, archive: Archive) -> Self {
        Self {
            files,
            pieces: archive.pieces.into_iter(),
            ending: Some(archive.ending),
            zip: ZipWriter::new(),
            state: State::Piece,
        }
    }

    fn step(&mut self, state: State) -> io::Result<State> {
        Ok(match state {
            State::Piece => match self.next_source()? {
                Some(source) => State::Block(source),
                None => State::Records(Box::new(self.zip.records()?)),
            },
            State::Block(mut source) => match source.fill_buf()?.is_empty() {
                true => State::Piece,
                false => State::Members(TarReader::new(GzDecoder::new(source))),
            },
            State::Members(mut members) => match members.next_member()? {
                Some(member) => match file_facts(&member)? {
                    Some((path, facts)) => {
                        self.zip.begin(&unicode(path), facts)?;
                        State::Content(members)
                    }
                    None => State::Members(members),
                },
                None => {
                    let mut block = members.into_inner();
                    io::copy(&mut block, &mut io::sink())?;
                    State::Block(block.into_inner())
                }
            },
            State::Content(mut members) => match self.zip.feed(&mut members)? {
                true => State::Content(members),
                false => State::Members(members),
            },
            State::Records(mut records) => match self.zip.write(&mut records)? {
                true => State::Records(records),
                false => State::End,
            },
            State::End => State::End,
        })
    }

    fn next_source(&mut self) -> io::Result<Option<Source>> {
        if let Some(piece) = self.pieces.next() {
            let file = self.files.at(piece)?.take(piece.length);
            return Ok(Some(Box::new(BufReader::new(file))));
        }
        let ending = self.ending.take();
        Ok(ending.map(|ending| Box::new(Cursor::new(ending)) as Source))
    }
}

/// A name that all readers understand. What is no UTF-8 in it stands there as its bytes in hexadecimal, each behind a
/// replacement character, so that two names stay two.
fn unicode(path: &Path) -> String {
    let mut name = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        name.push_str(chunk.valid());
        for byte in chunk.invalid() {
            name.push_str(&format!("\u{fffd}{byte:02X}"));
        }
    }
    name
}
