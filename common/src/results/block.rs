//! Blocks: the form in which results travel from slave to master, and in which they are kept.
//!
//! A block is one gzip member that holds a piece of a tar archive: for each of its results the
//! directories of the atoms, as they are in `artifacts.tar.gz`. Members of gzip may simply follow
//! each other (RFC 1952, 2.2), so the archive of a build is its blocks one after the other, and an
//! [`ending`]: nothing is ever unpacked and packed again. Many small results
//! share a block, which is what makes them cheap; a large one has its own.

mod below;
mod checking;
mod convert;
mod gzip;
mod member;
mod reader;
#[cfg(test)]
mod tests;
pub(crate) mod tree;
mod writer;

pub use below::head_below;
pub use checking::{
    BlockError, CheckedAtom, CheckedResult, FoundResult, check_block, check_results, is_ours,
};
pub use convert::convert_archive;
pub use reader::{
    FileFacts, OpenedFile, checked_content_of, checked_files_of, content_of, copy_renamed,
    copy_results, file_facts, open_file,
};
pub use writer::{AtomResult, BlockWriter, Console, PackError, ResultPlace};

use crate::results::artifact::{
    COMMAND_FILE, CONSOLE_FILE, EXIT_CODE_FILE, FAILURES_FILE, JUNIT_FILE, TESTS_FILE, TIME_FILE,
};
use crate::results::tar_reader::END_OF_TAR;
use flate2::Compression;
use gzip::Gzip;
use member::write_member;
use std::io::{self, Read, Write};
use tar::{EntryType, Header};

/// Speed counts here, not size: the way to the master is short.
const LEVEL: Compression = Compression::new(1);

/// Modes of files and directories that we make ourselves.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Names that belong to us in an atom's directory, whatever the atom put there.
const OURS: [&str; 5] = [
    CONSOLE_FILE,
    COMMAND_FILE,
    EXIT_CODE_FILE,
    TIME_FILE,
    TESTS_FILE,
];

/// What every name in an archive begins with, as in the original's.
const ROOT: &str = "./";

/// The gzip member that comes after the blocks of a build: the list of the directories of failed
/// atoms, if there are any, and the end of the archive. `made_at` is in seconds since 1970.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn ending(failures: &[String], made_at: u64) -> io::Result<Vec<u8>> {
    let mut out = Gzip::new(Vec::new());
    if !failures.is_empty() {
        let text = failures.join("\n");
        let name = format!("{ROOT}{FAILURES_FILE}");
        let header = file_header(text.len() as u64, made_at);
        write_member(&mut out, header, name.as_bytes(), None, text.as_bytes())?;
    }
    out.write_all(&END_OF_TAR)?;
    out.finish()
}

/// A gzip member with a report of all tests of a build, of so many bytes: it may come between the blocks and the ending.
///
/// # Errors
/// It can not be read, or not be written to `out`.
pub fn whole_report(
    report: impl Read,
    length: u64,
    made_at: u64,
    out: impl Write,
) -> io::Result<()> {
    let mut out = Gzip::new(out);
    let name = format!("{ROOT}{JUNIT_FILE}");
    write_member(
        &mut out,
        file_header(length, made_at),
        name.as_bytes(),
        None,
        report,
    )?;
    out.finish().map(drop)
}

fn file_header(length: u64, mtime: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(FILE_MODE);
    header.set_mtime(mtime);
    header.set_size(length);
    header
}

fn directory_header(mtime: u64) -> Header {
    let mut header = file_header(0, mtime);
    header.set_entry_type(EntryType::Directory);
    header.set_mode(DIRECTORY_MODE);
    header
}
