//! Keys that the master makes for itself at its first start, each in a file of its data directory.

use clusterrunner_common::auth::keys::OwnKey;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::{regular_file, whole_file};
use std::error::Error;
use std::io;
use std::path::Path;

/// The file of the key of the Binder API.
pub(crate) const BINDER_KEY: &str = "binder_api_key";

/// The file of the master's own key. It lies beside the journal, so that slaves know a master whose journal was lost or
/// restored.
pub(crate) const MASTER_KEY: &str = "master.key";

/// No key is longer, in bytes.
const LONGEST: u64 = 4096;

/// A key, and where it comes from.
#[derive(Debug)]
pub(crate) enum Kept<K> {
    /// It was there.
    Known(K),
    /// It was made just now, and is on the disk.
    Made(K),
}

/// The key of the Binder API that is kept in a directory; made, and kept there for the owner alone, if there is none. Blocks.
///
/// # Errors
/// The file can not be read or written, or has no key in it.
pub(crate) fn binder_key(directory: &Path) -> io::Result<Kept<Secret>> {
    let read = |text: &str| Secret::new(text.trim().to_owned());
    ensure(&directory.join(BINDER_KEY), read, || {
        let key = Secret::generate().map_err(io::Error::other)?;
        let text = [key.as_bytes(), b"\n"].concat();
        Ok((key, text))
    })
}

/// The same for the key that slaves know their master by.
///
/// # Errors
/// The file can not be read or written, is open to others, or has no key in it.
pub(crate) fn master_key(directory: &Path) -> io::Result<Kept<OwnKey>> {
    ensure(&directory.join(MASTER_KEY), OwnKey::from_text, || {
        let key = OwnKey::from_random(random_bytes());
        let text = format!("{}\n", key.to_text()).into_bytes();
        Ok((key, text))
    })
}

fn ensure<K, E: Into<Box<dyn Error + Send + Sync>>>(
    file: &Path,
    read: impl FnOnce(&str) -> Result<K, E>,
    make: impl FnOnce() -> io::Result<(K, Vec<u8>)>,
) -> io::Result<Kept<K>> {
    match regular_file::read_secret(file, LONGEST) {
        Ok(text) => {
            let key = read(&text);
            let key = key.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            return Ok(Kept::Known(key));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let (key, text) = make()?;
    whole_file::replace(file, &text)?;
    Ok(Kept::Made(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// Checks that a key is made once, for its owner alone, and that a file without a key is none.
    fn check<K>(name: &str, ensure: fn(&Path) -> io::Result<Kept<K>>, text: fn(&K) -> Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let Kept::Made(made) = ensure(directory.path()).unwrap() else {
            panic!("there was none");
        };
        let file = directory.path().join(name);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let Kept::Known(known) = ensure(directory.path()).unwrap() else {
            panic!("there was one");
        };
        assert_eq!(text(&known), text(&made));
        let files = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(files, 1);
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&file, open).unwrap();
        let Err(error) = ensure(directory.path()) else {
            panic!("others can read it");
        };
        assert!(error.to_string().contains("chmod 600"), "{error}");
        let closed = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&file, closed).unwrap();
        std::fs::write(&file, "\n").unwrap();
        let Err(error) = ensure(directory.path()) else {
            panic!("a file without a key is no key");
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn keys_are_made_once_and_for_their_owner_alone() {
        check(BINDER_KEY, binder_key, |key| key.as_bytes().to_vec());
        check(MASTER_KEY, master_key, |key| {
            key.to_text().as_bytes().to_vec()
        });
    }
}
