//! UUIDs that are made of what never changes about their bearers, so that none has to be stored.

use sha2::{Digest as _, Sha256};

/// The bytes of a UUID, of the version that an API promises and of the usual variant, as RFC 9562 says.
pub(super) fn derived(version: u8, named: &str) -> [u8; 16] {
    let digest = Sha256::digest(named.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    bytes
}
