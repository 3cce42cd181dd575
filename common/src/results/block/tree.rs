//! The directory that an atom left, read so that nothing in it leads elsewhere: whatever becomes a
//! link or a pipe meanwhile, no link is followed and no pipe waited for.

use crate::disk::regular_file::{check_is_file, open_beneath};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use std::ffi::{CStr, OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// The directory itself.
#[derive(Debug)]
pub(crate) struct Tree(OwnedFd);

/// What is in a directory.
#[derive(Debug)]
pub(crate) enum TreeEntry {
    Directory,
    File(File, Metadata),
    Link {
        target: PathBuf,
        /// In seconds since 1970.
        mtime: u64,
    },
    /// A pipe, a socket or a device.
    Other,
}

impl Tree {
    /// Opens the directory, which may not be a link itself.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(root, flags, Mode::empty())?))
    }

    /// A directory in it and the names in that one.
    pub(crate) fn directory(
        &self,
        inside: &Path,
    ) -> io::Result<(File, impl Iterator<Item = io::Result<OsString>> + use<>)> {
        let inside = match inside.as_os_str().is_empty() {
            true => Path::new("."),
            false => inside,
        };
        let directory = open_beneath(&self.0, inside, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let names = Dir::read_from(&directory)?.filter_map(|entry| match entry {
            Ok(entry) => plain_name(entry.file_name()).map(Ok),
            Err(error) => Some(Err(error.into())),
        });
        Ok((File::from(directory), names))
    }
}

fn plain_name(name: &CStr) -> Option<OsString> {
    let name = OsStr::from_bytes(name.to_bytes());
    (name != "." && name != "..").then(|| name.to_owned())
}

/// What has this name in a directory.
pub(crate) fn tree_entry(directory: &File, name: &OsStr) -> io::Result<TreeEntry> {
    let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => TreeEntry::Directory,
        FileType::Symlink => {
            let target = readlinkat(directory, name, Vec::new())?.into_bytes();
            TreeEntry::Link {
                target: PathBuf::from(OsString::from_vec(target)),
                mtime: u64::try_from(found.st_mtime).unwrap_or(0),
            }
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(openat(directory, name, flags, Mode::empty())?);
            let metadata = check_is_file(&file)?;
            TreeEntry::File(file, metadata)
        }
        _ => TreeEntry::Other,
    })
}
