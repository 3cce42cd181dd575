//! The secrets of projects, by their names. Their values are with the master alone, sealed: nothing here has them.

use crate::actor::Actor;
use clusterrunner_common::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Names a sealed value: 128 random bits in hex, never used again. So whatever becomes of ids of projects, a value is only
/// ever that of the secret it was set for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedId(String);

impl SealedId {
    /// From random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// As a file name: hex digits alone, whatever a journal says.
    #[must_use]
    pub fn as_file_name(&self) -> Option<&str> {
        let is_hex = self.0.bytes().all(|byte| byte.is_ascii_hexdigit());
        (self.0.len() == 32 && is_hex).then_some(&self.0)
    }
}

impl fmt::Display for SealedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is said of a secret that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSecret {
    /// Its sealed value.
    pub sealed: SealedId,
    /// Whether builds get a file with it, and its path in the variable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_file: bool,
    /// Whether builds of forks get it, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_forks: bool,
    /// Who has set it.
    pub by: Actor,
}

/// A secret of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedSecret {
    /// As it was set.
    #[serde(flatten)]
    pub set: NewSecret,
    /// When.
    pub at: Timestamp,
    /// Where the project's builds came from then, as in its `source`: what is elsewhere does not get it. None where that was not
    /// noted and has not changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl NamedSecret {
    /// Whether it was set for a project whose builds come from there.
    #[must_use]
    pub fn is_for(&self, source: &str) -> bool {
        self.source.as_deref().is_none_or(|own| own == source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_stored_before_sources_were_noted_is_read() {
        let stored = json!({
            "sealed": "00000000000000000000000000000001",
            "allow_forks": true,
            "by": Actor::SecretHolder,
            "at": 7,
        });
        let secret: NamedSecret = serde_json::from_value(stored.clone()).unwrap();
        assert!(secret.set.allow_forks && !secret.set.as_file);
        assert!(secret.is_for("git anywhere"));
        assert_eq!(serde_json::to_value(&secret).unwrap(), stored);
        let noted = NamedSecret {
            source: Some("git here".to_owned()),
            ..secret
        };
        assert!(noted.is_for("git here") && !noted.is_for("git there"));
    }
}
