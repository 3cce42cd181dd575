//! `artifacts.tar.gz` as a stream: pieces of the store's files, as they lie there.

use super::archive::Archive;
use super::build_store::BuildStore;
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use std::io::{self, Cursor, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

const CHUNK: usize = 1 << 17;

/// A part of the archive.
enum Part {
    Memory(Vec<u8>),
    File(PathBuf, Range<u64>),
}

/// The bytes of the archive in `range`, which lies inside it.
pub(super) fn stream(
    store: &BuildStore,
    archive: &Archive,
    range: Range<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let pieces = archive.pieces.iter().map(|piece| {
        let bytes = piece.offset..piece.offset + piece.length;
        Part::File(store.file(piece.file), bytes)
    });
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
    stream::iter(wanted).then(open).try_flatten()
}

impl Part {
    fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, range) => range.end - range.start,
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
            Self::File(path, range) => Self::File(path, range.start + from..range.start + to),
        }
    }
}

type Chunks = stream::BoxStream<'static, io::Result<Bytes>>;

async fn open(part: Part) -> io::Result<Chunks> {
    Ok(match part {
        Part::Memory(bytes) => ReaderStream::new(Cursor::new(bytes)).boxed(),
        Part::File(path, range) => {
            let mut file = tokio::fs::File::open(path).await?;
            file.seek(SeekFrom::Start(range.start)).await?;
            let file = file.take(range.end - range.start);
            ReaderStream::with_capacity(file, CHUNK).boxed()
        }
    })
}
