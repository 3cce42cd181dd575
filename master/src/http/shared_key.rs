//! Keys that several programs know. A caller that shows a key may use what the key is for.

use clusterrunner_common::auth::secret::Secret;
use sha2::{Digest as _, Sha256};

/// The digest of a key: enough to know it again.
#[derive(Clone, Debug)]
pub(crate) struct SharedKey([u8; 32]);

impl SharedKey {
    /// The key of this text.
    #[must_use]
    pub(crate) fn new(key: &Secret) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Whether a text is the key. How long that takes tells nothing of the key: digests are compared.
    #[must_use]
    pub(crate) fn is(&self, text: &str) -> bool {
        <[u8; 32]>::from(Sha256::digest(text)) == self.0
    }
}
