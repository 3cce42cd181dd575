//! Writes a zip archive from its first byte to its last, piece by piece; nothing is ever gone back to.

use super::directory::{Directory, Records};
use super::records::{Content, Member};
use clusterrunner_common::results::block::FileFacts;
use flate2::{Compress, Compression, FlushCompress, Status};
use std::io::{self, Read};

/// Fast: the network is mostly quicker than a thorough compressor.
const COMPRESSION: Compression = Compression::new(1);

/// How much is read, and how much compressed, at a time. One piece may be made for many readers side by side.
const CHUNK: usize = 1 << 15;

/// A zip archive on its way.
pub(super) struct ZipWriter {
    /// What is made and not taken yet.
    out: Vec<u8>,
    deflate: Deflate,
    directory: Directory,
    /// The file on its way.
    file: Option<(String, FileFacts)>,
}

impl ZipWriter {
    pub(super) fn new() -> Self {
        Self {
            out: Vec::new(),
            deflate: Deflate::new(),
            directory: Directory::new(),
            file: None,
        }
    }

    /// How many bytes are made and not taken yet.
    pub(super) fn made(&self) -> usize {
        self.out.len()
    }

    /// Takes what is made.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Begins a regular file, whose content is fed next. Names are not compared: two that are no Unicode may be
    /// the same once they are, and both belong into the archive.
    ///
    /// # Errors
    /// Its name is too long. The archive is of no use then.
    pub(super) fn begin(&mut self, name: &str, facts: FileFacts) -> io::Result<()> {
        Member::new(name, facts)?.local_header(&mut self.out);
        self.deflate.begin();
        self.file = Some((name.to_owned(), facts));
        Ok(())
    }

    /// Takes some of the content of the file. Whether there may be more; if not, the file is whole.
    ///
    /// # Errors
    /// It can not be read, or is not as long as was said. The archive is of no use then.
    pub(super) fn feed(&mut self, content: impl Read) -> io::Result<bool> {
        if self.deflate.feed(content, &mut self.out)? {
            return Ok(true);
        }
        let Some((name, facts)) = self.file.take() else {
            return Ok(false);
        };
        let (content, size) = (self.deflate.end(), facts.size);
        if content.size != size {
            let text = format!("{name}: {} bytes instead of {size}", content.size);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let member = Member::new(&name, facts)?;
        member.descriptor(&content, &mut self.out);
        self.directory.add(&member, &content)?;
        Ok(false)
    }

    /// What comes after all files.
    ///
    /// # Errors
    /// None in practice: it is in memory.
    pub(super) fn records(&mut self) -> io::Result<Records> {
        std::mem::replace(&mut self.directory, Directory::new()).records()
    }

    /// Writes some of that. Whether there is more.
    ///
    /// # Errors
    /// None in practice: it is in memory.
    pub(super) fn write(&mut self, records: &mut Records) -> io::Result<bool> {
        records.write_to(&mut self.out, CHUNK)
    }
}

/// One compressor for all members: to make one takes longer than to compress a small file.
struct Deflate {
    state: Compress,
    crc: crc32fast::Hasher,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Deflate {
    fn new() -> Self {
        Self {
            state: Compress::new(COMPRESSION, false),
            crc: crc32fast::Hasher::new(),
            input: vec![0; CHUNK],
            output: vec![0; CHUNK],
        }
    }

    fn begin(&mut self) {
        self.state.reset();
        self.crc = crc32fast::Hasher::new();
    }

    /// Compresses some of a content; false at its end.
    fn feed(&mut self, mut content: impl Read, out: &mut Vec<u8>) -> io::Result<bool> {
        let length = loop {
            match content.read(&mut self.input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                length => break length?,
            }
        };
        self.crc.update(&self.input[..length]);
        self.compress(length, out)?;
        Ok(length > 0)
    }

    fn end(&self) -> Content {
        Content {
            crc: self.crc.clone().finalize(),
            compressed: self.state.total_out(),
            size: self.state.total_in(),
        }
    }

    /// Compresses so much of the input; nothing means that this was all.
    fn compress(&mut self, length: usize, out: &mut Vec<u8>) -> io::Result<()> {
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
            out.extend_from_slice(&self.output[..written]);
            input = &input[read..];
            if status == Status::StreamEnd || (length > 0 && input.is_empty()) {
                return Ok(());
            }
        }
    }
}
