//! Making blocks of whole archives: slaves of the original send their results as such.

use super::gzip::Gzip;
use super::member::{Counted, RECORD, write_member};
use super::reader::{BlockError, CheckedAtom, CheckedResult, in_directory, milliseconds, number};
use super::{ROOT, directory_header, file_header, stays_inside};
use crate::artifact::{EXIT_CODE_FILE, TIME_FILE};
use crate::ids::{AtomId, SubjobId};
use flate2::bufread::MultiGzDecoder;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use tar::{Archive, EntryType};

const PERMISSIONS: u32 = 0o777;
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Makes a block of a gzip-compressed tar archive with the result of `subjob`, whose members are in
/// any order and have no `./`. Files, directories and links that stay inside their atom's directory
/// are kept. Returns what is in the block, which [`super::check_block`] need not look at.
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
    let mut out = Counted {
        inner: Gzip::new(out),
        written: 0,
    };
    let mut exit_codes: BTreeMap<AtomId, i32> = BTreeMap::new();
    let mut durations: BTreeMap<AtomId, u64> = BTreeMap::new();
    let mut archive = Archive::new(MultiGzDecoder::new(archive));
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let stray = || BlockError::StrayMember(path.display().to_string());
        let ((of, atom), inside) = in_directory(&path).ok_or_else(stray)?;
        if of != subjob || atom.0 as usize >= num_atoms {
            return Err(stray());
        }
        let size = entry.size();
        let (mode, time) = {
            let header = entry.header();
            (header.mode().ok(), header.mtime().unwrap_or(0))
        };
        let mut name = [ROOT.as_bytes(), path.as_os_str().as_bytes()].concat();
        match entry.header().entry_type() {
            EntryType::Directory => {
                let mut header = directory_header(time);
                header.set_mode(mode.unwrap_or(DIRECTORY_MODE) & PERMISSIONS);
                if name.last() != Some(&b'/') {
                    name.push(b'/');
                }
                write_member(&mut out, header, &name, None, io::empty()).map_err(broken)?;
            }
            EntryType::Symlink => {
                let target = entry.link_name().map_err(broken)?.unwrap_or_default();
                if stays_inside(inside, &target) {
                    let mut header = file_header(0, time);
                    header.set_entry_type(EntryType::Symlink);
                    let target = Some(target.as_os_str());
                    write_member(&mut out, header, &name, target, io::empty()).map_err(broken)?;
                }
            }
            EntryType::Regular | EntryType::Continuous => {
                let mut header = file_header(size, time);
                header.set_mode(mode.unwrap_or(FILE_MODE) & PERMISSIONS);
                let mut number_file = Vec::new();
                let is_exit_code = inside == Path::new(EXIT_CODE_FILE);
                let is_time = inside == Path::new(TIME_FILE);
                if is_exit_code || is_time {
                    // Of what is longer, the beginning says as little as all of it.
                    let beginning = (&mut entry).take(RECORD).read_to_end(&mut number_file);
                    beginning.map_err(broken)?;
                }
                let content = number_file.as_slice().chain(&mut entry);
                write_member(&mut out, header, &name, None, content).map_err(broken)?;
                if is_exit_code {
                    let code = number(number_file.as_slice());
                    let code = code.ok_or_else(|| BlockError::no_exit_code(subjob, atom))?;
                    exit_codes.insert(atom, code);
                } else if is_time {
                    let seconds = number(number_file.as_slice());
                    durations.insert(atom, seconds.map_or(0, milliseconds));
                }
            }
            _ => {}
        }
    }
    // The checksum at the end is looked at only when the end is read.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    let atoms = (0..num_atoms)
        .filter_map(|index| u32::try_from(index).ok())
        .map(AtomId);
    let atoms = atoms.map(|atom| {
        let exit_code = exit_codes.get(&atom).copied();
        Ok(CheckedAtom {
            exit_code: exit_code.ok_or_else(|| BlockError::no_exit_code(subjob, atom))?,
            duration_ms: durations.get(&atom).copied().unwrap_or(0),
        })
    });
    let atoms = atoms.collect::<Result<_, BlockError>>()?;
    let length = out.written;
    out.inner.finish().map_err(broken)?;
    Ok(CheckedResult {
        subjob,
        offset: 0,
        length,
        atoms,
    })
}
