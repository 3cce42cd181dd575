//! The name of a pack that a client has sent.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{CommitId, InvalidCommitId, ObjectId};

/// A commit, and the digest of the pack that has it: `<commit>-<pack>`. Packs with the same objects have the same digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SentName {
    /// The commit.
    pub commit: CommitId,
    /// The digest, as git names packs.
    pub pack: ObjectId,
}

impl fmt::Display for SentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.commit, self.pack)
    }
}

impl FromStr for SentName {
    type Err = InvalidCommitId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (commit, pack) = text.split_once('-').unwrap_or((text, ""));
        Ok(Self {
            commit: commit.parse()?,
            pack: pack.parse()?,
        })
    }
}

impl TryFrom<String> for SentName {
    type Error = InvalidCommitId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SentName> for String {
    fn from(name: SentName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_two_whole_ids() {
        let (commit, pack) = ("1".repeat(40), "a".repeat(40));
        let text = format!("{commit}-{pack}");
        let name: SentName = text.parse().unwrap();
        assert_eq!(
            (name.commit.as_str(), name.pack.as_str()),
            (&*commit, &*pack)
        );
        assert_eq!(name.to_string(), text);
        for wrong in [
            "",
            &commit,
            "-",
            &format!("{commit}-"),
            &format!("{text}-a"),
            "../x-y",
        ] {
            assert!(wrong.parse::<SentName>().is_err(), "{wrong}");
        }
    }
}
