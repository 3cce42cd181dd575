//! The secret that master, slaves and clients share, as a value that can not be printed.
//!
//! Owns what a good secret is and how a new one is made. Signing with it belongs to `auth`, finding
//! and storing it to [`crate::settings`].

use std::fmt;

/// The fewest characters a secret may have, as in the original.
pub const SHORTEST_SECRET: usize = 8;

/// Hex SHA-512 of nothing. Old versions of the original wrote it into their settings instead of a
/// random secret, so everyone knows it.
const KNOWN_BAD: &str = concat!(
    "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce",
    "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
);

/// Random bytes in a generated secret: 256 bits.
const GENERATED_BYTES: usize = 32;

/// The shared secret. It never shows in `Debug` and has no `Display`; only [`Secret::as_bytes`]
/// gives it away.
#[derive(Clone)]
pub struct Secret(String);

/// Why a text is no secret. The messages never repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Fewer than [`SHORTEST_SECRET`] characters.
    #[error(
        "the secret has only {0} characters; use at least {SHORTEST_SECRET}, better 64 random hex digits (remove the \
         line and one is generated)"
    )]
    TooShort(usize),
    /// The digest of nothing that old versions of the original generated.
    #[error(
        "the secret is the one that old ClusterRunner versions wrote by mistake, which everyone knows; remove the \
         line and a new one is generated"
    )]
    KnownBad,
}

impl Secret {
    /// Takes a text as the secret.
    ///
    /// # Errors
    /// [`SecretError`] when it is shorter than [`SHORTEST_SECRET`] characters or publicly known.
    pub fn new(text: String) -> Result<Self, SecretError> {
        let characters = text.chars().count();
        if characters < SHORTEST_SECRET {
            return Err(SecretError::TooShort(characters));
        }
        if text.eq_ignore_ascii_case(KNOWN_BAD) {
            return Err(SecretError::KnownBad);
        }
        Ok(Self(text))
    }

    /// A new random secret of 256 bits, as 64 lower-case hex digits.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; GENERATED_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(hex::encode(bytes)))
    }

    /// The key for signing: the secret's UTF-8 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text, for writing it into the settings file and nowhere else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha512};

    #[test]
    fn refuses_short_and_known_secrets() {
        assert_eq!(
            Secret::new(String::new()).unwrap_err(),
            SecretError::TooShort(0)
        );
        assert_eq!(
            Secret::new("seven77".into()).unwrap_err(),
            SecretError::TooShort(7)
        );
        assert_eq!(
            Secret::new("None".into()).unwrap_err(),
            SecretError::TooShort(4)
        );
        assert_eq!(
            Secret::new(hex::encode(Sha512::digest(b""))).unwrap_err(),
            SecretError::KnownBad
        );
        assert_eq!(
            Secret::new("eight888".into()).unwrap().as_bytes(),
            b"eight888"
        );
    }

    #[test]
    fn counts_characters_not_bytes() {
        assert_eq!(
            Secret::new("äöüäöüä".into()).unwrap_err(),
            SecretError::TooShort(7)
        );
    }

    #[test]
    fn generated_secrets_are_64_hex_digits_and_differ() {
        let (one, other) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_eq!(one.as_bytes().len(), 64);
        assert!(one.as_bytes().iter().all(u8::is_ascii_hexdigit));
        assert_ne!(one.as_bytes(), other.as_bytes());
    }

    #[test]
    fn does_not_print() {
        let secret = Secret::new("do not print me".into()).unwrap();
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "Secret(***) Some(Secret(***))"
        );
    }
}
