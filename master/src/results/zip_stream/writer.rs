//! Writes a zip archive from its first byte to its last; nothing is ever gone back to.

use super::directory::Directory;
use super::records::{Content, Member};
use clusterrunner_common::result_block::FileFacts;
use flate2::{Compress, Compression, FlushCompress, Status};
use std::io::{self, Read, Write};

/// Fast: the network is mostly quicker than a thorough compressor.
const COMPRESSION: Compression = Compression::new(1);

/// How much is read, and how much compressed, at a time.
const CHUNK: usize = 1 << 16;

/// A zip archive on its way.
pub(super) struct ZipWriter<W> {
    out: W,
    deflate: Deflate,
    directory: Directory,
    /// A header on its way.
    record: Vec<u8>,
}

impl<W: Write> ZipWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            deflate: Deflate::new(),
            directory: Directory::new(),
            record: Vec::new(),
        }
    }

    /// Adds a regular file. Names are not compared: two that are no Unicode may be
    /// the same once they are, and both belong into the archive.
    ///
    /// # Errors
    /// It can not be read or written, its content is not as long as was said, or its name is too
    /// long. The archive is of no use then.
    pub(super) fn add(
        &mut self,
        name: &str,
        facts: FileFacts,
        content: impl Read,
    ) -> io::Result<()> {
        let size = facts.size;
        let member = Member::new(name, facts)?;
        self.record.clear();
        member.local_header(&mut self.record);
        self.out.write_all(&self.record)?;
        let content = self.deflate.copy(content, &mut self.out)?;
        if content.size != size {
            let text = format!("{name}: {} bytes instead of {size}", content.size);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.record.clear();
        member.descriptor(&content, &mut self.record);
        self.out.write_all(&self.record)?;
        self.directory.add(&member, &content)
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.directory.write(&mut self.out)?;
        Ok(self.out)
    }
}

/// One compressor for all members: to make one takes longer than to compress a small file.
struct Deflate {
    state: Compress,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Deflate {
    fn new() -> Self {
        Self {
            state: Compress::new(COMPRESSION, false),
            input: vec![0; CHUNK],
            output: vec![0; CHUNK],
        }
    }

    fn copy(&mut self, mut content: impl Read, out: &mut impl Write) -> io::Result<Content> {
        self.state.reset();
        let mut crc = crc32fast::Hasher::new();
        loop {
            let length = match content.read(&mut self.input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            crc.update(&self.input[..length]);
            self.compress(length, out)?;
            if length == 0 {
                return Ok(Content {
                    crc: crc.finalize(),
                    compressed: self.state.total_out(),
                    size: self.state.total_in(),
                });
            }
        }
    }

    /// Compresses so much of the input; nothing means that this was all.
    fn compress(&mut self, length: usize, out: &mut impl Write) -> io::Result<()> {
        let flush = match length {
            0 => FlushCompress::Finish,
            _ => FlushCompress::None,
        };
        let mut input = &self.input[..length];
        loop {
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self.state.compress(input, &mut self.output, flush)?;
            let count = |total: u64, before: u64| usize::try_from(total - before);
            let written = count(self.state.total_out(), written).map_err(io::Error::other)?;
            let read = count(self.state.total_in(), read).map_err(io::Error::other)?;
            out.write_all(&self.output[..written])?;
            input = &input[read..];
            if status == Status::StreamEnd || (length > 0 && input.is_empty()) {
                return Ok(());
            }
        }
    }
}
