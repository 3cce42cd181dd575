//! `artifacts.tar.gz` as a stream: pieces of the store's files, as they lie there.

use super::archive::{Archive, Piece};
use super::archive_files::ArchiveFiles;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use std::io::{self, Cursor};
use std::ops::Range;
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

const CHUNK: usize = 1 << 17;

/// A part of the archive.
enum Part {
    Memory(Vec<u8>),
    File(Piece),
}

/// The bytes of the archive in `range`, which lies inside it.
pub(super) fn stream(
    files: ArchiveFiles,
    archive: &Archive,
    range: Range<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let pieces = archive.pieces.iter().map(|piece| Part::File(*piece));
    let parts = std::iter::once(Part::Memory(archive.beginning.clone()))
        .chain(pieces)
        .chain([Part::Memory(archive.ending.clone())]);
    let mut position = 0;
    let mut wanted = Vec::new();
    for part in parts {
        let begin = position;
        position += part.length();
        let from = range.start.clamp(begin, position) - begin;
        let to = range.end.clamp(begin, position) - begin;
        if from < to {
            wanted.push(part.cut(from, to));
        }
    }
    let files = Arc::new(files);
    stream::iter(wanted)
        .then(move |part| open(Arc::clone(&files), part))
        .try_flatten()
}

impl Part {
    fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(piece) => piece.length,
        }
    }

    fn cut(self, from: u64, to: u64) -> Self {
        match self {
            Self::Memory(bytes) => {
                let part = bytes
                    .into_iter()
                    .take(usize::try_from(to).unwrap_or(usize::MAX));
                Self::Memory(
                    part.skip(usize::try_from(from).unwrap_or(usize::MAX))
                        .collect(),
                )
            }
            Self::File(piece) => Self::File(Piece {
                offset: piece.offset + from,
                length: to - from,
                ..piece
            }),
        }
    }
}

type Chunks = stream::BoxStream<'static, io::Result<Bytes>>;

async fn open(files: Arc<ArchiveFiles>, part: Part) -> io::Result<Chunks> {
    Ok(match part {
        Part::Memory(bytes) => ReaderStream::new(Cursor::new(bytes)).boxed(),
        Part::File(piece) => {
            let opened = tokio::task::spawn_blocking(move || files.at(piece)).await;
            let file = opened.unwrap_or_else(|error| Err(io::Error::other(error)))?;
            let file = tokio::fs::File::from_std(file).take(piece.length);
            ReaderStream::with_capacity(file, CHUNK).boxed()
        }
    })
}
