//! The key of the Binder API that the master has made for itself, in a file of its data directory.

use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::disk::{regular_file, whole_file};
use std::io;
use std::path::Path;

/// The file.
pub(crate) const FILE: &str = "binder_api_key";

/// No key is longer.
const LONGEST: u64 = 4096;

/// A key, and where it comes from.
#[derive(Debug)]
pub(crate) enum Kept {
    /// It was there.
    Known(Secret),
    /// It was made just now, and is on the disk.
    Made(Secret),
}

/// The key that is kept in a directory; made, and kept there for the owner alone, if there is none.
///
/// # Errors
/// The file can not be read or written, or has no key in it.
pub(crate) fn ensure(directory: &Path) -> io::Result<Kept> {
    let file = directory.join(FILE);
    match regular_file::read_to_string(&file, LONGEST) {
        Ok(text) => {
            let key = Secret::new(text.trim().to_owned());
            let key = key.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            return Ok(Kept::Known(key));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let key = Secret::generate().map_err(io::Error::other)?;
    whole_file::replace(&file, &[key.as_bytes(), b"\n"].concat())?;
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
        let mode = std::fs::metadata(directory.path().join(FILE)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        match ensure(directory.path()).unwrap() {
            Kept::Known(key) => assert_eq!(key.as_bytes(), made.as_bytes()),
            Kept::Made(_) => panic!("there was one"),
        }
        let files = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(files, 1);
    }

    #[test]
    fn a_file_without_a_key_is_no_key() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "\n").unwrap();
        let error = ensure(directory.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
