//! Checking blocks: the master's side. Nothing in them is believed.

use super::{OURS, ROOT};
use crate::ids::{AtomId, SubjobId};
use crate::results::artifact::{
    EXIT_CODE_FILE, MAX_TESTS_FILE, TESTS_FILE, TIME_FILE, directory_name, parse_directory_name,
};
use crate::results::links::{Links, Verdict};
use crate::results::tar_reader::{Member, TarReader};
use flate2::bufread::GzDecoder;
use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};
use std::path::{Component, Path, PathBuf};
use tar::EntryType;

/// How many bytes of the tests of a block's atoms are held in memory.
const MAX_TESTS: usize = 4 * MAX_TESTS_FILE;

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
    /// The subjob that the result is of.
    pub subjob: SubjobId,
    /// Where it begins, in bytes of the uncompressed block.
    pub offset: u64,
    /// How long it is, in the same bytes.
    pub length: u64,
    /// Its atoms, from 0 on.
    pub atoms: Vec<CheckedAtom>,
    /// What those of its atoms that left reports say of their tests; not looked at, but of bounded size.
    pub tests: Vec<(AtomId, Vec<u8>)>,
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
    let mut archive = TarReader::new(GzDecoder::new(block));
    let mut walk = Walk::default();
    while let Some(member) = archive.next_member().map_err(broken)? {
        let stray = || BlockError::StrayMember(member.path.display().to_string());
        let (owner, inside) = atom_of(&member.path).ok_or_else(stray)?;
        if !walk.enter(owner)? || !walk.has_place(&member, inside) {
            return Err(stray());
        }
        if inside == Path::new(EXIT_CODE_FILE) && walk.exit_code.is_none() {
            walk.exit_code = number(&mut archive);
            if walk.exit_code.is_none() {
                walk.note_no_exit_code();
            }
        } else if inside == Path::new(TIME_FILE) {
            walk.duration_ms = number(&mut archive).map_or(0, milliseconds);
        } else if inside == Path::new(TESTS_FILE) && walk.has_room(member.size) {
            let mut tests = Vec::new();
            archive.read_to_end(&mut tests).map_err(broken)?;
            walk.add_tests(tests);
        }
        walk.end = member.end;
    }
    let end = walk.end;
    let results = walk.finish()?;
    let has_more = archive.position() != end;
    let mut rest = archive.into_inner();
    let more = io::copy(&mut rest, &mut io::sink()).map_err(broken)?;
    let mut block = rest.into_inner();
    if has_more || more > 0 || !block.fill_buf().map_err(broken)?.is_empty() {
        return Err(BlockError::TooLong);
    }
    Ok(results)
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
    links: Links,
    exit_code: Option<i32>,
    duration_ms: u64,
    /// How many bytes of tests there are.
    tests: usize,
    /// Where the member before ended, in bytes of the uncompressed block.
    end: u64,
}

impl Walk {
    /// Comes to a member of an atom; false if that one can not come here.
    ///
    /// # Errors
    /// The atom before has a link that leads out.
    fn enter(&mut self, owner: (SubjobId, AtomId)) -> Result<bool, BlockError> {
        if self.atom == Some(owner) {
            return Ok(true);
        }
        self.leave_atom()?;
        let (subjob, atom) = owner;
        let last = self.atom.filter(|(last, _)| *last == subjob);
        let expected = last.map_or(0, |(_, AtomId(last))| last + 1);
        if atom != AtomId(expected) {
            return Ok(false);
        }
        if last.is_none() {
            if !self.seen.insert(subjob) {
                return Ok(false);
            }
            self.leave_result();
            let result = CheckedResult {
                subjob,
                offset: self.end,
                length: 0,
                atoms: Vec::new(),
                tests: Vec::new(),
            };
            self.results.push(FoundResult {
                result,
                no_exit_code: None,
            });
        }
        self.atom = Some(owner);
        Ok(true)
    }

    /// Whether the atom may have such a member there. What readers of archives do not agree about is
    /// refused: a directory or link with content, and a file whose name ends like a directory's.
    fn has_place(&mut self, member: &Member, inside: &Path) -> bool {
        let is_named_as_directory = member.path.as_os_str().as_encoded_bytes().ends_with(b"/");
        let placed = match member.kind {
            EntryType::Regular if !is_named_as_directory => self.links.file(inside),
            EntryType::Directory if member.size == 0 => self.links.directory(inside),
            EntryType::Symlink if member.size == 0 && !is_ours(inside) => {
                let target = member.target.as_deref().unwrap_or(Path::new(""));
                match self.links.link(inside, target) {
                    Ok(Verdict::Outside) => return false,
                    placed => placed.map(drop),
                }
            }
            _ => return false,
        };
        placed.is_ok()
    }

    /// Leaves the atom that it is in, which should have all that it needs.
    fn leave_atom(&mut self) -> Result<(), BlockError> {
        let mut links = std::mem::take(&mut self.links);
        if let Some((subjob, atom)) = self.atom
            && let Some(link) = links.leading_out().into_iter().next()
        {
            let path: PathBuf = [
                Path::new(ROOT),
                directory_name(subjob, atom).as_ref(),
                &link,
            ]
            .iter()
            .collect();
            return Err(BlockError::StrayMember(path.display().to_string()));
        }
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
        Ok(())
    }

    /// Whether the tests of one atom more can be held.
    fn has_room(&self, size: u64) -> bool {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        size <= MAX_TESTS_FILE && size <= MAX_TESTS - self.tests
    }

    fn add_tests(&mut self, tests: Vec<u8>) {
        if let (Some((_, atom)), Some(found)) = (self.atom, self.results.last_mut()) {
            self.tests += tests.len();
            found.result.tests.push((atom, tests));
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

    fn finish(mut self) -> Result<Vec<FoundResult>, BlockError> {
        self.leave_atom()?;
        self.leave_result();
        Ok(self.results)
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
    let has_nul = path.as_os_str().as_encoded_bytes().contains(&0);
    if has_nul || !path.components().all(is_plain) {
        return None;
    }
    let directory = path.components().next()?;
    let owner = parse_directory_name(directory.as_os_str().to_str()?)?;
    Some((owner, path.strip_prefix(directory).ok()?))
}

/// Whether a path in an atom's directory is one of the files that we make ourselves.
#[must_use]
pub fn is_ours(inside: &Path) -> bool {
    OURS.iter().any(|ours| inside == Path::new(ours))
}
