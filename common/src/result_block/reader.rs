//! Reading blocks: the master's side. Nothing in them is believed.

use super::gzip::Gzip;
use super::member::RECORD;
use super::{ROOT, stays_inside};
use crate::artifact::{EXIT_CODE_FILE, TIME_FILE, directory_name, parse_directory_name};
use crate::ids::{AtomId, SubjobId};
use flate2::bufread::GzDecoder;
use std::collections::BTreeSet;
use std::io::{self, BufRead, Read, Write};
use std::path::{Component, Path};
use tar::{Archive, EntryType};

/// How much is read of a file that holds a number.
const MAX_NUMBER: u64 = 64;

/// What is wrong with a block. The text goes to the slave and into the log.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// It is not one whole gzip member with members of a tar archive.
    #[error("not a gzip-compressed piece of a tar archive: {0}")]
    NotAnArchive(#[source] io::Error),
    /// A member lies outside the directories of its atoms, or is of a kind that archives must not
    /// have.
    #[error("the member '{0}' does not belong there")]
    StrayMember(String),
    /// An atom's exit code is missing or no number.
    #[error("{directory}/{EXIT_CODE_FILE} is missing or holds no number")]
    NoExitCode {
        /// The atom's directory.
        directory: String,
    },
    /// Something comes after the end.
    #[error("it has more than its results")]
    TooLong,
}

impl BlockError {
    /// An atom that must have an exit code has none.
    #[must_use]
    pub fn no_exit_code(subjob: SubjobId, atom: AtomId) -> Self {
        let directory = directory_name(subjob, atom);
        Self::NoExitCode { directory }
    }
}

/// What a block holds of one subjob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedResult {
    /// Whose.
    pub subjob: SubjobId,
    /// Where it begins, in bytes of the uncompressed block.
    pub offset: u64,
    /// How long it is, in the same bytes.
    pub length: u64,
    /// Its atoms, from 0 on.
    pub atoms: Vec<CheckedAtom>,
}

/// A result in a block that may be of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundResult {
    result: CheckedResult,
    /// The first of its atoms without an exit code.
    no_exit_code: Option<AtomId>,
}

impl FoundResult {
    /// Whose it is.
    #[must_use]
    pub fn subjob(&self) -> SubjobId {
        self.result.subjob
    }

    /// The result, if all of its atoms have an exit code.
    ///
    /// # Errors
    /// One has none.
    pub fn checked(self) -> Result<CheckedResult, BlockError> {
        match self.no_exit_code {
            None => Ok(self.result),
            Some(atom) => Err(BlockError::no_exit_code(self.result.subjob, atom)),
        }
    }
}

/// What a block says of one atom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedAtom {
    /// Its exit code.
    pub exit_code: i32,
    /// How long it took; 0 if that is not said.
    pub duration_ms: u64,
}

/// Reads a block through and says what is in it, in its order. Each subjob comes once, its atoms
/// from 0 on, each with an exit code; nothing lies outside the atoms' directories or leads out of
/// them, and nothing follows the last result.
///
/// # Errors
/// See [`BlockError`].
pub fn check_block(block: impl BufRead) -> Result<Vec<CheckedResult>, BlockError> {
    let results = check_results(block)?.into_iter();
    results.map(FoundResult::checked).collect()
}

/// As [`check_block`], but a result with an atom that has no exit code spoils itself only.
///
/// # Errors
/// See [`BlockError`].
pub fn check_results(block: impl BufRead) -> Result<Vec<FoundResult>, BlockError> {
    let broken = BlockError::NotAnArchive;
    let mut archive = Archive::new(Counting {
        inner: GzDecoder::new(block),
        read: 0,
    });
    let mut walk = Walk::default();
    // In bytes of the uncompressed block.
    let mut end = 0;
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let begin = end;
        end = entry.raw_file_position() + entry.size().next_multiple_of(RECORD);
        let path = entry.path().map_err(broken)?.into_owned();
        let stray = || BlockError::StrayMember(path.display().to_string());
        let (owner, inside) = atom_of(&path).ok_or_else(stray)?;
        let is_right = match entry.header().entry_type() {
            EntryType::Directory | EntryType::Regular => true,
            EntryType::Symlink => {
                let target = entry.link_name().map_err(broken)?;
                target.is_some_and(|target| stays_inside(inside, &target))
            }
            _ => false,
        };
        if !is_right || !walk.enter(owner, begin) {
            return Err(stray());
        }
        if inside == Path::new(EXIT_CODE_FILE) && walk.exit_code.is_none() {
            walk.exit_code = number(&mut entry);
            if walk.exit_code.is_none() {
                walk.note_no_exit_code();
            }
        } else if inside == Path::new(TIME_FILE) {
            walk.duration_ms = number(&mut entry).map_or(0, milliseconds);
        }
        walk.end = end;
    }
    let results = walk.finish();
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(broken)?;
    let mut block = rest.inner.into_inner();
    if rest.read != end || !block.fill_buf().map_err(broken)?.is_empty() {
        return Err(BlockError::TooLong);
    }
    Ok(results)
}

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
    let mut block = GzDecoder::new(block);
    io::copy(&mut (&mut block).take(offset), &mut io::sink())?;
    let mut archive = Archive::new(block.take(length));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?;
        if path.strip_prefix(ROOT).unwrap_or(&path) == Path::new(name) {
            drop(path);
            return read(&mut entry);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Makes a block of some results of another: `parts` are their offsets and lengths in bytes of the
/// uncompressed block, in its order. Returns the offsets that they have in the new one.
///
/// # Errors
/// The block can not be read, or the new one not be written.
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
    out.finish()?;
    Ok(offsets)
}

/// Goes through the regular files of an uncompressed block, or of the ending of an archive: `each`
/// gets a file's path in the archive without the `./`, its mode, its size and its content. Gives
/// back what it read from, at the end of the block.
///
/// # Errors
/// The block can not be read, or `each` failed.
pub fn members<R: Read>(
    block: R,
    mut each: impl FnMut(&Path, u32, u64, &mut dyn Read) -> io::Result<()>,
) -> io::Result<R> {
    let mut archive = Archive::new(block);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type() == EntryType::Regular {
            let mode = entry.header().mode()? & 0o777;
            let path = entry.path()?.into_owned();
            let size = entry.size();
            each(
                path.strip_prefix(ROOT).unwrap_or(&path),
                mode,
                size,
                &mut entry,
            )?;
        }
    }
    let mut block = archive.into_inner();
    io::copy(&mut block, &mut io::sink())?;
    Ok(block)
}

/// A file that holds one number.
pub(super) fn number<T: std::str::FromStr>(file: impl Read) -> Option<T> {
    let mut text = String::new();
    file.take(MAX_NUMBER).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and a wrong duration does no harm"
)]
pub(super) fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

/// Where a reading of a block stands.
#[derive(Default)]
struct Walk {
    results: Vec<FoundResult>,
    seen: BTreeSet<SubjobId>,
    /// Whose directory it is in.
    atom: Option<(SubjobId, AtomId)>,
    exit_code: Option<i32>,
    duration_ms: u64,
    end: u64,
}

impl Walk {
    /// Comes to a member of an atom; false if that one can not come here.
    fn enter(&mut self, owner: (SubjobId, AtomId), begin: u64) -> bool {
        if self.atom == Some(owner) {
            return true;
        }
        self.leave_atom();
        let (subjob, atom) = owner;
        let last = self.atom.filter(|(last, _)| *last == subjob);
        let expected = last.map_or(0, |(_, AtomId(last))| last + 1);
        if atom != AtomId(expected) {
            return false;
        }
        if last.is_none() {
            if !self.seen.insert(subjob) {
                return false;
            }
            self.leave_result();
            let result = CheckedResult {
                subjob,
                offset: begin,
                length: 0,
                atoms: Vec::new(),
            };
            self.results.push(FoundResult {
                result,
                no_exit_code: None,
            });
        }
        self.atom = Some(owner);
        true
    }

    /// Leaves the atom that it is in, which should have all that it needs.
    fn leave_atom(&mut self) {
        if self.atom.is_some() && self.exit_code.is_none() {
            self.note_no_exit_code();
        }
        let exit_code = self.exit_code.take().unwrap_or_default();
        let duration_ms = std::mem::take(&mut self.duration_ms);
        if let Some(FoundResult { result, .. }) = self.results.last_mut() {
            result.atoms.push(CheckedAtom {
                exit_code,
                duration_ms,
            });
        }
    }

    fn leave_result(&mut self) {
        if let Some(FoundResult { result, .. }) = self.results.last_mut() {
            result.length = self.end - result.offset;
        }
    }

    fn note_no_exit_code(&mut self) {
        if let (Some((_, atom)), Some(found)) = (self.atom, self.results.last_mut()) {
            found.no_exit_code.get_or_insert(atom);
        }
    }

    fn finish(mut self) -> Vec<FoundResult> {
        self.leave_atom();
        self.leave_result();
        self.results
    }
}

/// Whose file a member of a block is, and its path inside that atom's directory. `None` for a path
/// that is absolute, climbs, or does not begin with an artifact directory.
fn atom_of(path: &Path) -> Option<((SubjobId, AtomId), &Path)> {
    in_directory(path.strip_prefix(ROOT).ok()?)
}

/// The same for a path without the `./`.
pub(super) fn in_directory(path: &Path) -> Option<((SubjobId, AtomId), &Path)> {
    let is_plain = |part| matches!(part, Component::Normal(_));
    if !path.components().all(is_plain) {
        return None;
    }
    let directory = path.components().next()?;
    let owner = parse_directory_name(directory.as_os_str().to_str()?)?;
    Some((owner, path.strip_prefix(directory).ok()?))
}

struct Counting<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}
