//! Reading what blocks hold, which were checked: contents of files, and parts as blocks of their own.

use super::gzip::Gzip;
use super::member::{Counted, write_member};
use super::{ROOT, file_header};
use crate::results::tar_reader::{Member, TarReader};
use flate2::bufread::GzDecoder;
use std::ffi::OsString;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use tar::EntryType;

/// Reads the content of one file of a block, `name` being its path in the archive, such as
/// `artifact_3_0/clusterrunner_console_output`. The result begins at `offset` and is `length` long,
/// in bytes of the uncompressed block. `read` gets the content as a stream.
///
/// # Errors
/// The block can not be read, or there is no such file (`NotFound`).
pub fn content_of<T>(
    block: impl BufRead,
    offset: u64,
    length: u64,
    name: &str,
    read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
) -> io::Result<T> {
    find_content(block, offset, length, name, read).map(|(content, _)| content)
}

/// As [`content_of`], but reads the block to its end, where its checksum is: what is given is as it was written.
///
/// # Errors
/// As [`content_of`], or the checksum does not fit.
pub fn checked_content_of<T>(
    block: impl BufRead,
    offset: u64,
    length: u64,
    name: &str,
    read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
) -> io::Result<T> {
    let (content, mut rest) = find_content(block, offset, length, name, read)?;
    io::copy(&mut rest, &mut io::sink())?;
    Ok(content)
}

/// Gives `read` each regular file of a result: its path in the archive without the `./`, such as
/// `artifact_3_0/report.xml`, its length, and its content as a stream. The block is read to its end, where its checksum
/// is: where this returns without an error, what was given is as it was written.
///
/// # Errors
/// The block can not be read, its checksum does not fit, or `read` fails.
pub fn checked_files_of(
    block: impl BufRead,
    offset: u64,
    length: u64,
    mut read: impl FnMut(&Path, u64, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let mut block = GzDecoder::new(block);
    io::copy(&mut (&mut block).take(offset), &mut io::sink())?;
    let mut archive = TarReader::new(block.take(length));
    while let Some(member) = archive.next_member()? {
        if member.kind == EntryType::Regular {
            read(without_root(&member.path), member.size, &mut archive)?;
        }
    }
    let mut rest = archive.into_inner().into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    Ok(())
}

/// A regular file of a block, to be read piece by piece.
#[derive(Debug)]
pub struct OpenedFile<B> {
    archive: TarReader<io::Take<GzDecoder<B>>>,
    size: u64,
}

/// Opens a regular file of a block: `name` is its path in the archive without the `./`, with U+FFFD for what is no
/// UTF-8. The result begins at `offset` and is `length` long, in bytes of the uncompressed block.
///
/// # Errors
/// The block can not be read, or there is no such file (`NotFound`).
pub fn open_file<B: BufRead>(
    block: B,
    offset: u64,
    length: u64,
    name: &str,
) -> io::Result<OpenedFile<B>> {
    let mut block = GzDecoder::new(block);
    io::copy(&mut (&mut block).take(offset), &mut io::sink())?;
    let mut archive = TarReader::new(block.take(length));
    while let Some(member) = archive.next_member()? {
        let path = without_root(&member.path);
        if member.kind == EntryType::Regular && path.to_string_lossy() == name {
            let size = member.size;
            return Ok(OpenedFile { archive, size });
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

impl<B: BufRead> OpenedFile<B> {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads the block to its end, where its checksum is: where this returns without an error, all that was read is as it
    /// was written.
    ///
    /// # Errors
    /// The block can not be read, or its checksum does not fit.
    pub fn check(self) -> io::Result<()> {
        let mut rest = self.archive.into_inner().into_inner();
        io::copy(&mut rest, &mut io::sink())?;
        Ok(())
    }
}

impl<B: BufRead> Read for OpenedFile<B> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        self.archive.read(piece)
    }
}

/// The content, and the rest of the block.
fn find_content<T, B: BufRead>(
    block: B,
    offset: u64,
    length: u64,
    name: &str,
    read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
) -> io::Result<(T, GzDecoder<B>)> {
    let mut block = GzDecoder::new(block);
    io::copy(&mut (&mut block).take(offset), &mut io::sink())?;
    let mut archive = TarReader::new(block.take(length));
    while let Some(member) = archive.next_member()? {
        if without_root(&member.path) == Path::new(name) {
            let content = read(&mut archive)?;
            return Ok((content, archive.into_inner().into_inner()));
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Makes a block of some results of another: `parts` are their offsets and lengths in bytes of the
/// uncompressed block, in its order. Returns the offsets that they have in the new one.
///
/// # Errors
/// The block can not be read, is damaged, or the new one can not be written.
pub fn copy_results(
    block: impl BufRead,
    parts: impl Iterator<Item = (u64, u64)>,
    out: impl Write,
) -> io::Result<Vec<u64>> {
    let mut block = GzDecoder::new(block);
    let mut out = Gzip::new(out);
    let (mut position, mut written) = (0, 0);
    let mut offsets = Vec::new();
    for (offset, length) in parts {
        io::copy(&mut (&mut block).take(offset - position), &mut io::sink())?;
        io::copy(&mut (&mut block).take(length), &mut out)?;
        offsets.push(written);
        position = offset + length;
        written += length;
    }
    check_rest(block)?;
    out.finish()?;
    Ok(offsets)
}

/// Reads a block to its end, where its checksum is. A copy of a part has a checksum of its own, which would make damage
/// look sound.
fn check_rest(mut block: GzDecoder<impl BufRead>) -> io::Result<()> {
    io::copy(&mut block, &mut io::sink())?;
    Ok(())
}

/// Makes a block of one result of another, whose directories have other names: `suffix` is added to each. The result
/// begins at `offset` and is `length` long, in bytes of the uncompressed block. Returns how long it is in the new one.
///
/// # Errors
/// The block can not be read, is damaged, or the new one can not be written.
pub fn copy_renamed(
    block: impl BufRead,
    (offset, length): (u64, u64),
    suffix: &str,
    out: impl Write,
) -> io::Result<u64> {
    let mut block = GzDecoder::new(block);
    io::copy(&mut (&mut block).take(offset), &mut io::sink())?;
    let mut archive = TarReader::new(block.take(length));
    let mut out = Counted {
        inner: Gzip::new(out),
        written: 0,
    };
    while let Some(member) = archive.next_member()? {
        let mut header = file_header(member.size, member.mtime);
        header.set_entry_type(member.kind);
        header.set_mode(member.mode.ok_or(io::ErrorKind::InvalidData)?);
        let name = with_suffix(&member.path, suffix);
        let target = member.target.map(|target| match member.kind {
            // A hard link names a member of the archive.
            EntryType::Link => OsString::from_vec(with_suffix(&target, suffix)),
            _ => target.into_os_string(),
        });
        write_member(&mut out, header, &name, target.as_deref(), &mut archive)?;
    }
    check_rest(archive.into_inner().into_inner())?;
    let written = out.written;
    out.inner.finish()?;
    Ok(written)
}

/// The path of a member with something added to the name of its atom's directory.
fn with_suffix(path: &Path, suffix: &str) -> Vec<u8> {
    let path = path.as_os_str().as_bytes();
    let inside = path.strip_prefix(ROOT.as_bytes()).unwrap_or(path);
    let end = inside.iter().position(|byte| *byte == b'/');
    let (directory, rest) = inside.split_at(end.unwrap_or(inside.len()));
    [ROOT.as_bytes(), directory, suffix.as_bytes(), rest].concat()
}

/// What an archive says of a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Its permissions.
    pub mode: u32,
    /// When it was last changed, in seconds since 1970.
    pub modified_at: u64,
    /// Its length in bytes.
    pub size: u64,
}

/// The path of a regular file in an archive, without the `./`, and what is said of it; nothing for other members.
///
/// # Errors
/// Its mode is no number.
pub fn file_facts(member: &Member) -> io::Result<Option<(&Path, FileFacts)>> {
    if member.kind != EntryType::Regular {
        return Ok(None);
    }
    let facts = FileFacts {
        mode: member.mode.ok_or(io::ErrorKind::InvalidData)? & 0o777,
        modified_at: member.mtime,
        size: member.size,
    };
    Ok(Some((without_root(&member.path), facts)))
}

fn without_root(path: &Path) -> &Path {
    path.strip_prefix(ROOT).unwrap_or(path)
}
