//! The key of the master itself, in a file of its data directory: slaves know their master by it.

use clusterrunner_common::auth::keys::OwnKey;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::{regular_file, whole_file};
use std::io;
use std::path::Path;

/// The file. It lies beside the journal, so that slaves know a master whose journal was lost or restored.
pub(crate) const FILE: &str = "master.key";

/// No key is longer.
const LONGEST: u64 = 4096;

/// A key, and where it comes from.
#[derive(Debug)]
pub(crate) enum Kept {
    /// It was there.
    Known(OwnKey),
    /// It was made just now, and is on the disk.
    Made(OwnKey),
}

/// The key that is kept in a directory; made, and kept there for the owner alone, if there is none. Blocks.
///
/// # Errors
/// The file can not be read or written, or has no key in it.
pub(crate) fn ensure(directory: &Path) -> io::Result<Kept> {
    let file = directory.join(FILE);
    match regular_file::read_to_string(&file, LONGEST) {
        Ok(text) => {
            let key = OwnKey::from_text(&text);
            let key = key.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            return Ok(Kept::Known(key));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let key = OwnKey::from_random(random_bytes());
    whole_file::replace(&file, format!("{}\n", key.to_text()).as_bytes())?;
    Ok(Kept::Made(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let made = match ensure(directory.path()).unwrap() {
            Kept::Made(key) => key,
            Kept::Known(_) => panic!("there was none"),
        };
        let file = directory.path().join(FILE);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        match ensure(directory.path()).unwrap() {
            Kept::Known(key) => assert_eq!(key.public(), made.public()),
            Kept::Made(_) => panic!("there was one"),
        }
        std::fs::write(&file, "\n").unwrap();
        let error = ensure(directory.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
