//! Files that are there whole or not at all, also after a power cut.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Puts `content` into the place of a file, for the owner alone (mode 0600): a reader sees the old content or the new one,
/// each whole. Returns when that is on the disk. Blocks.
///
/// # Errors
/// The disk refuses, or the directory is not there.
pub fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    // Created with mode 0600.
    let mut new = tempfile::Builder::new()
        .prefix(".new.")
        .tempfile_in(directory)?;
    new.write_all(content)?;
    new.as_file().sync_all()?;
    new.persist(file).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_new_content_stands_in_the_place_of_the_old_one_and_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        for content in ["a long old content", "new"] {
            replace(&file, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
        }
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
