//! The archive of the parent of a matrix: those of its children, each in a folder, made while it is read.
//!
//! Nothing of it is kept: what the children have is enough, and mostly nobody asks for all of them in one. It costs what
//! unpacking and packing them costs, piece by piece, and no thread waits for a slow reader.

use super::archive::Piece;
use super::archive_files::ArchiveFiles;
use super::build_archive::BuildArchive;
use super::piece_stream::{self, Pieces};
use bytes::Bytes;
use clusterrunner_common::results::block::head_below;
use clusterrunner_common::results::tar_reader::{END_OF_TAR, TarReader};
use clusterrunner_common::turns::Turns;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use futures_util::Stream;
use std::io::{self, BufRead, BufReader, Cursor, Read as _, Write as _};
use std::time::SystemTime;

/// How much is made at a time.
const CHUNK: u64 = 1 << 16;

/// What a tar archive is made of.
const RECORD: u64 = 512;

/// The archives of the children of a parent.
#[derive(Debug)]
pub struct MatrixArchive {
    /// Each with the name of its folder.
    children: Vec<(String, BuildArchive)>,
}

impl MatrixArchive {
    /// An archive of these, each with the name of its folder.
    #[must_use]
    pub fn of(children: Vec<(String, BuildArchive)>) -> Self {
        Self { children }
    }

    /// When the last one of them was made.
    #[must_use]
    pub fn made_at(&self) -> SystemTime {
        let times = self.children.iter().map(|(_, archive)| archive.made_at());
        times.max().unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The length of all of them as they are kept, in bytes.
    #[must_use]
    pub fn length_of_parts(&self) -> u64 {
        let lengths = self
            .children
            .iter()
            .map(|(_, archive)| archive.tar_length());
        lengths.sum()
    }

    /// The bytes of its `artifacts.tar.gz`; each piece takes its turn. It ends in an error if something can not be read.
    pub fn tar(self, turns: Turns) -> impl Stream<Item = io::Result<Bytes>> + Send {
        let maker = Maker {
            children: self.children.into_iter(),
            folder: String::new(),
            source: None,
            out: GzEncoder::new(Vec::new(), Compression::fast()),
            state: State::Child,
        };
        piece_stream::stream(maker, turns)
    }
}

type Source = Box<dyn BufRead + Send>;

/// An archive on its way.
struct Maker {
    children: std::vec::IntoIter<(String, BuildArchive)>,
    /// The folder of the child that is read.
    folder: String,
    source: Option<ChildSource>,
    out: GzEncoder<Vec<u8>>,
    state: State,
}

/// What is left of the archive of a child.
struct ChildSource {
    files: ArchiveFiles,
    pieces: std::vec::IntoIter<Piece>,
    ending: Option<Vec<u8>>,
}

/// What is being read.
enum State {
    /// Nothing: the next child is to be opened.
    Child,
    /// Nothing: its next piece is to be opened.
    Piece,
    /// A piece, which is many blocks; each is a gzip member.
    Block(Source),
    /// The members of a block.
    Members(TarReader<GzDecoder<Source>>),
    /// The content of a member: how many bytes of the content are left, and how many fill its last record up.
    Content(TarReader<GzDecoder<Source>>, u64, u64),
    End,
}

impl Pieces for Maker {
    fn piece(&mut self) -> io::Result<Option<Bytes>> {
        while (self.out.get_ref().len() as u64) < CHUNK {
            self.state = match std::mem::replace(&mut self.state, State::End) {
                State::End => break,
                state => self.step(state)?,
            };
        }
        let made = std::mem::take(self.out.get_mut());
        Ok((!made.is_empty()).then(|| made.into()))
    }
}

impl Maker {
    fn step(&mut self, state: State) -> io::Result<State> {
        Ok(match state {
            State::Child => match self.children.next() {
                Some((folder, archive)) => {
                    let (files, archive) = archive.into_parts();
                    self.folder = folder;
                    self.source = Some(ChildSource {
                        files,
                        pieces: archive.pieces.into_iter(),
                        ending: Some(archive.ending),
                    });
                    State::Piece
                }
                None => {
                    self.out.write_all(&END_OF_TAR)?;
                    self.out.try_finish()?;
                    State::End
                }
            },
            State::Piece => match self.next_source()? {
                Some(source) => State::Block(source),
                None => State::Child,
            },
            State::Block(mut source) => match source.fill_buf()?.is_empty() {
                true => State::Piece,
                false => State::Members(TarReader::new(GzDecoder::new(source))),
            },
            State::Members(mut members) => match members.next_member()? {
                Some(member) => {
                    self.out.write_all(&head_below(&member, &self.folder)?)?;
                    let size = member.size;
                    State::Content(members, size, size.next_multiple_of(RECORD) - size)
                }
                None => {
                    // Its checksum comes last.
                    let mut block = members.into_inner();
                    io::copy(&mut block, &mut io::sink())?;
                    State::Block(block.into_inner())
                }
            },
            State::Content(members, 0, filling) => {
                io::copy(&mut io::repeat(0).take(filling), &mut self.out)?;
                State::Members(members)
            }
            State::Content(mut members, left, filling) => {
                let part = left.min(CHUNK);
                let copied = io::copy(&mut (&mut members).take(part), &mut self.out)?;
                if copied != part {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                State::Content(members, left - part, filling)
            }
            State::End => State::End,
        })
    }

    fn next_source(&mut self) -> io::Result<Option<Source>> {
        let Some(source) = &mut self.source else {
            return Ok(None);
        };
        if let Some(piece) = source.pieces.next() {
            let file = source.files.at(piece)?.take(piece.length);
            return Ok(Some(Box::new(BufReader::new(file))));
        }
        let ending = source.ending.take();
        Ok(ending.map(|ending| Box::new(Cursor::new(ending)) as Source))
    }
}
