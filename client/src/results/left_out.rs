//! What of an archive could not be brought back.

use std::path::{Path, PathBuf};

/// How many are named; the others are counted.
const NAMED: usize = 10;

/// Members of an archive that were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many members were left out.
    pub count: u64,
    /// The first of them, and why.
    pub first: Vec<(PathBuf, String)>,
}

impl LeftOut {
    pub(super) fn add(&mut self, path: &Path, why: &str) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push((path.to_owned(), why.to_owned()));
        }
    }
}
