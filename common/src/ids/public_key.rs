//! The public half of a key that a daemon has for itself.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// How many hexadecimal digits people are shown of a key.
const SHOWN: usize = 16;

/// The public half of an Ed25519 key, which names its holder: 64 hexadecimal digits in lower case. Nothing says that
/// these bytes are a point of the curve: whoever verifies with it finds out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// A text is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public key is 64 hexadecimal digits in lower case")]
pub struct NoPublicKey;

impl PublicKey {
    /// Its beginning, by which people tell keys apart.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut text = hex::encode(self.0);
        text.truncate(SHOWN);
        text
    }
}

impl FromStr for PublicKey {
    type Err = NoPublicKey;

    fn from_str(text: &str) -> Result<Self, NoPublicKey> {
        let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let mut bytes = [0; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if is_lower => Ok(Self(bytes)),
            _ => Err(NoPublicKey),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}..)", self.fingerprint())
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_spelling() {
        let key = PublicKey([0xab; 32]);
        assert_eq!(key.to_string(), "ab".repeat(32));
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key.fingerprint(), "ab".repeat(8));
        for wrong in [
            "",
            "ab",
            &"AB".repeat(32),
            &"ab".repeat(33),
            &"xy".repeat(32),
        ] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(NoPublicKey), "{wrong}");
        }
    }
}
