//! Making blocks of whole archives: slaves of the original send their results as such.

use super::checking::{
    BlockError, CheckedAtom, CheckedResult, in_directory, is_ours, milliseconds, number,
};
use super::gzip::Gzip;
use super::member::{Counted, write_member};
use super::{ROOT, directory_header, file_header};
use crate::ids::{AtomId, SubjobId};
use crate::results::artifact::{EXIT_CODE_FILE, TIME_FILE};
use crate::results::links::{Links, Misplaced, Verdict};
use crate::results::tar_reader::{Member, RECORD, TarReader};
use flate2::bufread::MultiGzDecoder;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use tar::EntryType;

const PERMISSIONS: u32 = 0o777;
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Makes a block of a gzip-compressed tar archive with the result of `subjob`, whose members are in
/// any order and have no `./`. Files, directories and links that stay inside their atom's directory
/// are kept, the links at the end. Returns what is in the block, which [`super::check_block`] need
/// not look at.
///
/// # Errors
/// The archive is none, holds what is not of one of the `num_atoms` atoms, or lacks an exit code;
/// or the block can not be written (`NotAnArchive`, too).
pub fn convert_archive(
    archive: impl BufRead,
    subjob: SubjobId,
    num_atoms: usize,
    out: impl Write,
) -> Result<CheckedResult, BlockError> {
    let broken = BlockError::NotAnArchive;
    let mut archive = TarReader::new(MultiGzDecoder::new(archive));
    let mut conversion = Conversion {
        out: Counted {
            inner: Gzip::new(out),
            written: 0,
        },
        atoms: BTreeMap::new(),
    };
    while let Some(member) = archive.next_member().map_err(broken)? {
        let stray = || BlockError::StrayMember(member.path.display().to_string());
        let ((of, atom), inside) = in_directory(&member.path).ok_or_else(stray)?;
        if of != subjob || atom.0 as usize >= num_atoms {
            return Err(stray());
        }
        let met = conversion.atoms.entry(atom).or_default();
        let placed = match member.kind {
            EntryType::Directory => met.links.directory(inside),
            EntryType::Symlink => met.link(&member, inside),
            EntryType::Regular | EntryType::Continuous => met.links.file(inside),
            _ => continue,
        };
        placed.map_err(|Misplaced| stray())?;
        match member.kind {
            EntryType::Directory => conversion.directory(&member).map_err(broken)?,
            EntryType::Symlink => {}
            _ => {
                let number = conversion.file(&member, inside, &mut archive);
                let number = number.map_err(broken)?;
                conversion.note((subjob, atom), inside, &number)?;
            }
        }
    }
    // The checksum at the end is looked at only when the end is read.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    conversion.links().map_err(broken)?;
    conversion.finish(subjob, num_atoms)
}

/// What has been met of an atom.
#[derive(Default)]
struct MetAtom {
    exit_code: Option<i32>,
    duration_ms: u64,
    links: Links,
    /// Those that do not lead out by themselves.
    kept: Vec<Member>,
}

impl MetAtom {
    /// Comes to a link. One that leads out is left out; one named like a file of ours, too.
    fn link(&mut self, member: &Member, inside: &Path) -> Result<(), Misplaced> {
        let target = member.target.clone().unwrap_or_default();
        let verdict = self.links.link(inside, &target)?;
        if verdict != Verdict::Outside && !is_ours(inside) {
            self.kept.push(Member {
                path: member.path.clone(),
                target: Some(target),
                ..*member
            });
        }
        Ok(())
    }
}

/// A block that is being made of an archive.
struct Conversion<W: Write> {
    out: Counted<Gzip<W>>,
    atoms: BTreeMap<AtomId, MetAtom>,
}

impl<W: Write> Conversion<W> {
    fn directory(&mut self, member: &Member) -> io::Result<()> {
        let mut header = directory_header(member.mtime);
        header.set_mode(member.mode.unwrap_or(DIRECTORY_MODE) & PERMISSIONS);
        let mut name = name_in_block(&member.path);
        name.push(b'/');
        write_member(&mut self.out, header, &name, None, io::empty())
    }

    /// Copies a file; what it holds comes back if that is a number.
    fn file(
        &mut self,
        member: &Member,
        inside: &Path,
        content: &mut impl Read,
    ) -> io::Result<Vec<u8>> {
        let mut header = file_header(member.size, member.mtime);
        header.set_mode(member.mode.unwrap_or(FILE_MODE) & PERMISSIONS);
        let mut number = Vec::new();
        if inside == Path::new(EXIT_CODE_FILE) || inside == Path::new(TIME_FILE) {
            // Of what is longer, the beginning says as little as all of it.
            content.take(RECORD).read_to_end(&mut number)?;
        }
        let content = number.as_slice().chain(content);
        let name = name_in_block(&member.path);
        write_member(&mut self.out, header, &name, None, content)?;
        Ok(number)
    }

    fn note(
        &mut self,
        (subjob, atom): (SubjobId, AtomId),
        inside: &Path,
        text: &[u8],
    ) -> Result<(), BlockError> {
        let met = self.atoms.entry(atom).or_default();
        if inside == Path::new(EXIT_CODE_FILE) {
            let code = number(text).ok_or_else(|| BlockError::no_exit_code(subjob, atom))?;
            met.exit_code = Some(code);
        } else if inside == Path::new(TIME_FILE) {
            met.duration_ms = number(text).map_or(0, milliseconds);
        }
        Ok(())
    }

    /// Writes the links: only now all of them are known.
    fn links(&mut self) -> io::Result<()> {
        for met in self.atoms.values_mut() {
            let out = met.links.leading_out();
            for member in &met.kept {
                let inside = in_directory(&member.path).map(|(_, inside)| inside);
                if inside.is_some_and(|inside| out.contains(inside)) {
                    continue;
                }
                let mut header = file_header(0, member.mtime);
                header.set_entry_type(EntryType::Symlink);
                let target = member.target.as_deref().map(Path::as_os_str);
                let name = name_in_block(&member.path);
                write_member(&mut self.out, header, &name, target, io::empty())?;
            }
        }
        Ok(())
    }

    fn finish(self, subjob: SubjobId, num_atoms: usize) -> Result<CheckedResult, BlockError> {
        let ids = (0..num_atoms).filter_map(|index| u32::try_from(index).ok());
        let atoms = ids.map(AtomId).map(|atom| {
            let met = self.atoms.get(&atom);
            let exit_code = met.and_then(|met| met.exit_code);
            Ok(CheckedAtom {
                exit_code: exit_code.ok_or_else(|| BlockError::no_exit_code(subjob, atom))?,
                duration_ms: met.map_or(0, |met| met.duration_ms),
            })
        });
        let atoms = atoms.collect::<Result<_, BlockError>>()?;
        let length = self.out.written;
        let finished = self.out.inner.finish();
        finished.map_err(BlockError::NotAnArchive)?;
        Ok(CheckedResult {
            subjob,
            offset: 0,
            length,
            atoms,
            tests: Vec::new(),
        })
    }
}

/// Without the slash that a directory's name ends with.
fn name_in_block(path: &Path) -> Vec<u8> {
    let mut name = [ROOT.as_bytes(), path.as_os_str().as_bytes()].concat();
    while name.last() == Some(&b'/') {
        name.pop();
    }
    name
}
