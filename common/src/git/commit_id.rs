//! The full name of a commit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many hexadecimal digits a full commit id has (SHA-1, the only kind libgit2 reads).
pub(super) const COMMIT_ID_LENGTH: usize = 40;

/// The full id of a commit: 40 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

/// A text that was to be a commit id and is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{}\" is not a full commit id (40 hexadecimal digits)", .text.escape_debug())]
pub struct InvalidCommitId {
    text: String,
}

impl CommitId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn from_oid(oid: git2::Oid) -> Self {
        Self(oid.to_string())
    }

    pub(super) fn to_oid(&self) -> Result<git2::Oid, git2::Error> {
        git2::Oid::from_str(&self.0)
    }
}

impl FromStr for CommitId {
    type Err = InvalidCommitId;

    /// Upper-case digits are accepted and made lower-case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == COMMIT_ID_LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(InvalidCommitId {
                text: text.to_owned(),
            })
        }
    }
}

impl TryFrom<String> for CommitId {
    type Error = InvalidCommitId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forty_hexadecimal_digits_are_an_id() {
        let id: CommitId = "0123456789ABCDEF0123456789abcdef01234567".parse().unwrap();
        assert_eq!(id.as_str(), "0123456789abcdef0123456789abcdef01234567");
        assert_eq!(
            serde_json::to_string(&id).unwrap(),
            "\"0123456789abcdef0123456789abcdef01234567\""
        );
        for wrong in [
            "",
            "0123",
            "g123456789abcdef0123456789abcdef01234567",
            "../../x",
        ] {
            assert!(wrong.parse::<CommitId>().is_err(), "{wrong}");
            assert!(
                serde_json::from_value::<CommitId>(wrong.into()).is_err(),
                "{wrong}"
            );
        }
    }
}
