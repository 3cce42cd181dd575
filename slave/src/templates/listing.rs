//! What was unpacked, entry by entry, to find out later whether all of it is still there and as it was.

use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// The longest list that is read: some millions of entries.
const LONGEST: u64 = 1 << 30;

/// The entries of a tree, without its directories.
#[derive(Debug, Default)]
pub(super) struct Listing {
    bytes: Vec<u8>,
    /// How much all files have.
    pub(super) size: u64,
}

impl Listing {
    /// Adds a file or a link that was just made below `root`.
    pub(super) fn add(&mut self, root: &Path, path: &Path) -> io::Result<()> {
        let (size, mtime) = look(root, path)?;
        self.size += size;
        self.bytes
            .extend_from_slice(format!("{size} {mtime} ").as_bytes());
        self.bytes.extend_from_slice(path.as_os_str().as_bytes());
        self.bytes.push(0);
        Ok(())
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut written = format!("{}\0", self.size).into_bytes();
        written.extend_from_slice(&self.bytes);
        std::fs::write(path, written)
    }
}

/// Size and time of an entry.
fn look(root: &Path, path: &Path) -> io::Result<(u64, i64)> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::symlink_metadata(root.join(path))?;
    Ok((found.len(), found.mtime()))
}

/// How much the files of a listed tree have.
pub(super) fn listed_size(listing: &Path) -> Option<u64> {
    use std::io::Read as _;
    let mut first = [0; 24];
    let file = clusterrunner_common::disk::regular_file::open_itself(listing).ok()?;
    let mut begin = Vec::new();
    file.take(first.len() as u64).read_to_end(&mut begin).ok()?;
    first
        .get_mut(..begin.len())?
        .copy_from_slice(begin.as_slice());
    let end = first.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(first.get(..end)?).ok()?.parse().ok()
}

/// The first entry that is not as it was listed; none if all are. What came to it does not matter: a Python
/// that may write there leaves what it compiled. Blocks.
pub(super) fn first_damage(root: &Path, listing: &Path) -> io::Result<Option<PathBuf>> {
    let listed = clusterrunner_common::disk::regular_file::read(listing, LONGEST)?;
    let mut entries = listed.split(|byte| *byte == 0);
    if entries.next().is_none() || listed.last() != Some(&0) {
        return Ok(Some(PathBuf::new()));
    }
    for entry in entries.filter(|entry| !entry.is_empty()) {
        let mut fields = entry.splitn(3, |byte| *byte == b' ');
        let mut number = || {
            std::str::from_utf8(fields.next()?)
                .ok()?
                .parse::<i64>()
                .ok()
        };
        let (size, mtime) = (number(), number());
        let Some(path) = fields.next() else {
            return Ok(Some(PathBuf::new()));
        };
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
        let is_as_it_was = look(root, &path).is_ok_and(|(found, time)| {
            size.and_then(|size| u64::try_from(size).ok()) == Some(found) && mtime == Some(time)
        });
        if !is_as_it_was {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
