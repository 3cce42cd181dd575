//! Members of an archive as members of a larger one, which has the archive in a folder.

use super::ROOT;
use super::file_header;
use super::member::write_names;
use crate::results::tar_reader::Member;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use tar::EntryType;

/// What stands in an archive before the content of a member that lies in `folder`. The content follows, filled up to
/// whole records of 512 bytes.
///
/// # Errors
/// Its mode is no number, or its name fits no archive.
pub fn head_below(member: &Member, folder: &str) -> io::Result<Vec<u8>> {
    let mut header = file_header(member.size, member.mtime);
    header.set_entry_type(member.kind);
    header.set_mode(member.mode.ok_or(io::ErrorKind::InvalidData)?);
    let name = below(&member.path, folder);
    let target = member.target.as_deref().map(|target| match member.kind {
        // A hard link names a member of the archive.
        EntryType::Link => OsString::from_vec(below(target, folder)),
        _ => target.as_os_str().to_owned(),
    });
    let mut head = Vec::new();
    let header = write_names(&mut head, header, &name, target.as_deref())?;
    head.extend_from_slice(header.as_bytes());
    Ok(head)
}

fn below(path: &Path, folder: &str) -> Vec<u8> {
    let path = path.as_os_str().as_bytes();
    let inside = path.strip_prefix(ROOT.as_bytes()).unwrap_or(path);
    [ROOT.as_bytes(), folder.as_bytes(), b"/", inside].concat()
}
