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
    /// When.
    pub at: Timestamp,
}

impl NamedSecret {
    pub(super) fn of(new: NewSecret, at: Timestamp) -> Self {
        let NewSecret {
            sealed,
            as_file,
            allow_forks,
            by,
        } = new;
        Self {
            sealed,
            as_file,
            allow_forks,
            by,
            at,
        }
    }
}
