//! Digests of bodies: under the secret, the original's proof of who sends one, and plain, for a signature to cover.

use crate::auth::secret::Secret;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha512};
use std::io::{self, Read};

/// How much is read at a time.
const PIECE: usize = 64 << 10;

/// Header of the body digest. Header names are compared without regard to case.
pub const BODY_DIGEST_HEADER: &str = "clusterrunner-message-authentication-digest";
/// Header that states the SHA-512 of a body before the body is sent (lower-case hex), so that a
/// large upload can be refused before its first byte. The signature covers it.
pub const CONTENT_DIGEST_HEADER: &str = "clusterrunner-content-sha512";

/// The length of a SHA-512 in hexadecimal.
const DIGEST_DIGITS: usize = 128;

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
pub(super) fn keyed(secret: &Secret) -> Hmac<Sha512> {
    <Hmac<Sha512> as hmac::KeyInit>::new_from_slice(secret.as_bytes())
        .expect("HMAC takes a key of any length")
}

/// The body digest of `body`: 128 lower-case hex digits.
#[must_use]
pub fn body_digest(secret: &Secret, body: &[u8]) -> String {
    let mut mac = keyed(secret);
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

/// Whether `given` has the form of a body digest; upper-case hex is refused as in the original.
#[must_use]
pub(crate) fn is_body_digest(given: &str) -> bool {
    given.len() == DIGEST_DIGITS && is_lower_hex(given)
}

pub(super) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether `given` is the body digest of `body`; in constant time.
#[must_use]
pub(crate) fn body_digest_matches(secret: &Secret, body: &[u8], given: &str) -> bool {
    if !is_body_digest(given) {
        return false;
    }
    let mut mac = keyed(secret);
    mac.update(body);
    hex::decode(given).is_ok_and(|digest| mac.verify_slice(&digest).is_ok())
}

/// Lower-case hex SHA-512 of a body, the form in which a bound signature covers it.
#[must_use]
pub fn content_digest(body: &[u8]) -> String {
    hex::encode(Sha512::digest(body))
}

/// [`content_digest`] of what is read.
///
/// # Errors
/// It can not be read.
pub fn content_digest_of(mut body: impl Read) -> io::Result<String> {
    let mut digest = Sha512::new();
    let mut piece = vec![0; PIECE];
    loop {
        match body.read(&mut piece)? {
            0 => return Ok(hex::encode(digest.finalize())),
            read => digest.update(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_digests_are_those_of_the_original() {
        for (secret, body, hex) in [
            (
                "testsecret",
                "{}",
                "d7525986257a8dcdde3940443dfba2f0ee8d581348eb7e8dd9e5e38dca802e9516fca7f0d10a08a3e0a6dfbb850b4c1d031465b19d5991db5b41c4e8d20c99d6",
            ),
            (
                "testsecret",
                "",
                "2a4aa3be854966255e44e594a0e651a42980739c3e66249eea9e0707d87b9d7efff7ead17cdcaade6c780a3b80daf3c59b3c0fff78e0889a8ac38335a4fc180d",
            ),
            (
                "pässwört-é",
                "{\"n\": \"ü\\u00fc\"}",
                "f20469e5bc3b4e7882fc74ef2e71674781bcd80f5223073228fae38e1415a46af5c78e4a1d43af849025b1b57766b34cd257270255a63ceb880c930c3375b610",
            ),
        ] {
            let secret = Secret::of_the_original(secret.to_owned()).unwrap();
            assert_eq!(body_digest(&secret, body.as_bytes()), hex);
            assert!(body_digest_matches(&secret, body.as_bytes(), hex));
            assert!(!body_digest_matches(
                &secret,
                body.as_bytes(),
                &hex.to_uppercase()
            ));
            assert!(!body_digest_matches(&secret, b"{ }", hex));
        }
    }
}
