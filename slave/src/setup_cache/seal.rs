//! The seal of an entry: its last bytes, which only who has the farm's secret can make. What comes over the network, or
//! from a disk that is not this slave's, is believed for its seal alone.

use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::disk::kept_entries::EntryKey;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fs::File;
use std::io::{self, Read as _, Write as _};

/// How many bytes it has.
const LENGTH: u64 = 32;

/// So that no other signature of the farm is one.
const MEANING: &[u8] = b"entry of the set-up cache\0";

/// Puts a seal behind what is written whole to a file that is open at its beginning for reading and writing. Blocks.
///
/// # Errors
/// The disk refuses.
pub(super) fn seal(secret: &Secret, key: &EntryKey, file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let seal = of(secret, key, file, length)?.finalize().into_bytes();
    file.write_all(&seal)?;
    file.sync_all()
}

/// Whether a file that is open at its beginning has the seal of this entry. Blocks.
///
/// # Errors
/// The disk refuses.
pub(super) fn is_sealed(secret: &Secret, key: &EntryKey, file: &mut File) -> io::Result<bool> {
    let Some(length) = file.metadata()?.len().checked_sub(LENGTH) else {
        return Ok(false);
    };
    let expected = of(secret, key, file, length)?;
    let mut seal = Vec::new();
    file.read_to_end(&mut seal)?;
    Ok(expected.verify_slice(&seal).is_ok())
}

fn of(secret: &Secret, key: &EntryKey, file: &File, length: u64) -> io::Result<Hmac<Sha256>> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(MEANING);
    mac.update(key.as_str().as_bytes());
    let mut content = file.take(length);
    let mut piece = vec![0; super::PIECE];
    loop {
        match content.read(&mut piece)? {
            0 => return Ok(mac),
            read => mac.update(piece.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek as _;

    #[test]
    fn a_seal_is_good_for_one_entry_of_one_farm() {
        let secret = |whose: &str| Secret::new(format!("{whose} secret of many letters")).unwrap();
        let key = |digit: &str| EntryKey::parse(&digit.repeat(64)).unwrap();
        let (ours, a) = (secret("our"), key("a"));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"content").unwrap();
        file.rewind().unwrap();
        seal(&ours, &a, &mut file).unwrap();
        let mut check = |secret: &Secret, key: &EntryKey, expected: bool| {
            file.rewind().unwrap();
            assert_eq!(is_sealed(secret, key, &mut file).unwrap(), expected);
        };
        check(&ours, &a, true);
        check(&ours, &key("b"), false);
        check(&secret("their"), &a, false);
        file.rewind().unwrap();
        file.write_all(b"C").unwrap();
        file.rewind().unwrap();
        assert!(!is_sealed(&ours, &a, &mut file).unwrap());
        for length in [0, 31, 32, 38] {
            file.set_len(length).unwrap();
            file.rewind().unwrap();
            assert!(!is_sealed(&ours, &a, &mut file).unwrap(), "{length}");
        }
    }
}
