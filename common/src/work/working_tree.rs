//! What is said of a build whose code is a client's working tree: a commit that no server has, with what differs from one
//! that others know.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Characters of a commit's id that are shown.
const SHOWN: usize = 7;

/// A working tree as its sender describes it. Nothing depends on it but what readers are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkingTree {
    /// The newest commit below it, as a full id; none where there was no commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// How many files differ from that commit; 0 where the commit itself was sent.
    pub files: u64,
    /// Who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl fmt::Display for WorkingTree {
    /// `working tree of 1a2b3c4 + 3 files`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = match self.files {
            1 => "1 file".to_owned(),
            more => format!("{more} files"),
        };
        let base = self.base.as_deref();
        match base.map(|base| base.get(..SHOWN).unwrap_or(base)) {
            None => write!(formatter, "working tree of {files}"),
            Some(base) if self.files == 0 => write!(formatter, "unpushed commit {base}"),
            Some(base) => write!(formatter, "working tree of {base} + {files}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_named_by_its_commit_and_what_differs() {
        let shown = |base: Option<&str>, files| {
            let base = base.map(str::to_owned);
            let by = None;
            WorkingTree { base, files, by }.to_string()
        };
        let commit = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d";
        assert_eq!(shown(Some(commit), 3), "working tree of 1a2b3c4 + 3 files");
        assert_eq!(shown(Some(commit), 1), "working tree of 1a2b3c4 + 1 file");
        assert_eq!(shown(Some(commit), 0), "unpushed commit 1a2b3c4");
        assert_eq!(shown(None, 12), "working tree of 12 files");
    }
}
