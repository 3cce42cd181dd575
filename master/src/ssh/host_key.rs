//! The key by which clients know this master again. It is made once, and stays with the data directory.

use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::{regular_file, whole_file};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use std::io;
use std::path::{Path, PathBuf};

/// The longest file that is read.
const LONGEST: u64 = 64 << 10;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The disk refuses.
    #[error("could not read or make the SSH host key {}: {source}", .path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file has no key.
    #[error(
        "{} is not an OpenSSH private key without a passphrase: {source}. Put the right file back; or remove this one, and \
         a new key is made, which the users' ssh will warn of",
        .path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: russh::keys::ssh_key::Error,
    },
}

/// The key in a file, which is made if it is not there. Blocks.
///
/// # Errors
/// See [`HostKeyError`].
pub(crate) fn host_key(path: &Path) -> Result<PrivateKey, HostKeyError> {
    let disk = |source| HostKeyError::Disk {
        path: path.to_owned(),
        source,
    };
    let no_key = |source| HostKeyError::NoKey {
        path: path.to_owned(),
        source,
    };
    match regular_file::read(path, LONGEST) {
        Ok(text) => {
            let key = PrivateKey::from_openssh(text).map_err(no_key)?;
            match key.is_encrypted() {
                true => Err(no_key(russh::keys::ssh_key::Error::Encrypted)),
                false => Ok(key),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let pair = Ed25519Keypair::from_seed(&random_bytes());
            let key = PrivateKey::new(KeypairData::Ed25519(pair), "clusterrunner");
            let key = key.map_err(no_key)?;
            let text = key.to_openssh(LineEnding::LF).map_err(no_key)?;
            whole_file::replace(path, text.as_bytes()).map_err(disk)?;
            Ok(key)
        }
        Err(error) => Err(disk(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_is_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ssh_host_ed25519_key");
        let made = host_key(&path).unwrap();
        let read = host_key(&path).unwrap();
        assert_eq!(made.public_key(), read.public_key());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = host_key(&folder.path().join("other")).unwrap();
        assert_ne!(made.public_key(), other.public_key());
    }

    #[test]
    fn a_file_without_a_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "no key").unwrap();
        let error = host_key(&path).unwrap_err().to_string();
        assert!(error.contains("remove this one"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"no key");
    }
}
