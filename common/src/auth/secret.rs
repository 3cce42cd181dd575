//! The secret that master, slaves and clients share, as a value that can not be printed.
//!
//! Owns what a good secret is and how a new one is made. Signing with it belongs to `auth`, finding
//! and storing it to [`crate::settings`].

use std::collections::BTreeSet;
use std::fmt;

/// The fewest characters a secret may have.
pub(crate) const SHORTEST_SECRET: usize = 16;

/// The fewest that the original takes.
const SHORTEST_OF_THE_ORIGINAL: usize = 8;

/// The fewest different characters a secret may have.
pub(crate) const FEWEST_CHARACTERS: usize = 8;

/// Texts that are long enough and that anybody tries first. Compared in lower case.
const TRIED_FIRST: [&str; 7] = [
    "0123456789abcdef",
    "0123456789abcdef0123456789abcdef",
    "1234567890123456",
    "abcdefghijklmnop",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfgh",
    "correcthorsebatterystaple",
];

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
    /// Fewer than `SHORTEST_SECRET` characters.
    #[error(
        "the secret has only {0} characters; use at least {SHORTEST_SECRET}, better 64 random hex digits (remove the \
         line and one is generated; accept_legacy_peers = True takes 8 while machines of the original are there)"
    )]
    TooShort(usize),
    /// Fewer than `FEWEST_CHARACTERS` different characters.
    #[error(
        "the secret has only {0} different characters; use at least {FEWEST_CHARACTERS}, better 64 random hex digits \
         (remove the line and one is generated)"
    )]
    TooUniform(usize),
    /// It is one that anybody tries first.
    #[error(
        "the secret is easy to guess; use 64 random hex digits (remove the line and they are generated)"
    )]
    Guessable,
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
    /// [`SecretError`] when it is short, simple or publicly known.
    pub fn new(text: String) -> Result<Self, SecretError> {
        let secret = Self::of_the_original(text)?;
        match secret.weakness() {
            None => Ok(secret),
            Some(weakness) => Err(weakness),
        }
    }

    /// Takes a text that the original takes: it need only have 8 characters.
    ///
    /// # Errors
    /// [`SecretError`] when it is shorter, or the one that everyone knows.
    pub(crate) fn of_the_original(text: String) -> Result<Self, SecretError> {
        let characters = text.chars().count();
        if characters < SHORTEST_OF_THE_ORIGINAL {
            return Err(SecretError::TooShort(characters));
        }
        if text.eq_ignore_ascii_case(KNOWN_BAD) {
            return Err(SecretError::KnownBad);
        }
        Ok(Self(text))
    }

    /// Why it is not good enough, if it is not.
    #[must_use]
    pub(crate) fn weakness(&self) -> Option<SecretError> {
        let characters: Vec<char> = self.0.chars().collect();
        if characters.len() < SHORTEST_SECRET {
            return Some(SecretError::TooShort(characters.len()));
        }
        let different = characters.iter().collect::<BTreeSet<_>>().len();
        if different < FEWEST_CHARACTERS {
            return Some(SecretError::TooUniform(different));
        }
        let is_tried_first = TRIED_FIRST.contains(&self.0.to_lowercase().as_str());
        is_tried_first.then_some(SecretError::Guessable)
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
    fn refuses_short_simple_and_known_secrets() {
        let refusal = |text: &str| Secret::new(text.to_owned()).unwrap_err();
        assert_eq!(refusal(""), SecretError::TooShort(0));
        assert_eq!(refusal("None"), SecretError::TooShort(4));
        assert_eq!(refusal("password"), SecretError::TooShort(8));
        assert_eq!(refusal("        "), SecretError::TooShort(8));
        assert_eq!(refusal("fifteen15chars!"), SecretError::TooShort(15));
        assert_eq!(refusal(&" ".repeat(16)), SecretError::TooUniform(1));
        assert_eq!(refusal(&"abcdefg".repeat(9)), SecretError::TooUniform(7));
        let known = hex::encode(Sha512::digest(b""));
        assert_eq!(refusal(&known), SecretError::KnownBad);
        for guessed in ["0123456789ABCDEF", "1234567890123456"] {
            assert_eq!(refusal(guessed), SecretError::Guessable, "{guessed}");
        }
    }

    #[test]
    fn takes_random_texts_and_whole_sentences() {
        for good in [
            "a secret for tests only",
            "correct horse battery staple",
            "b7Qx-91kf-PzL2-nn0w",
            "9f86d081884c7d65",
            "öäüßéèêëôóòõšžłń",
        ] {
            assert_eq!(Secret::new(good.to_owned()).map(|_| ()), Ok(()), "{good}");
        }
        for _ in 0..1_000 {
            assert_eq!(Secret::generate().unwrap().weakness(), None);
        }
    }

    #[test]
    fn the_original_takes_more() {
        let original = |text: &str| Secret::of_the_original(text.to_owned()).map(|_| ());
        assert_eq!(original("eight888"), Ok(()));
        assert_eq!(original("seven77"), Err(SecretError::TooShort(7)));
        // Characters count, not bytes.
        assert_eq!(original("äöüäöüä"), Err(SecretError::TooShort(7)));
        let known = hex::encode(Sha512::digest(b""));
        assert_eq!(original(&known), Err(SecretError::KnownBad));
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
        let secret = Secret::new("do not print me, please".into()).unwrap();
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "Secret(***) Some(Secret(***))"
        );
    }
}
