//! The shared secret of a farm.

use std::fmt;

/// The shared secret. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a text cannot be a secret.
#[derive(Debug, thiserror::Error)]
#[error("the secret is too short")]
pub struct SecretError;

impl Secret {
    /// A secret.
    ///
    /// # Errors
    /// When the text is too short.
    pub fn new(text: String) -> Result<Self, SecretError> {
        if text.len() < 8 {
            Err(SecretError)
        } else {
            Ok(Self(text))
        }
    }

    /// The key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
