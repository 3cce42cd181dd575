//! Trees of git repositories.

use clusterrunner_common::git::try_trees;

/// A tree is refused, or laid out below its directory, with nothing changed elsewhere.
///
/// # Panics
/// Something else was changed.
pub fn git_trees(bytes: &[u8]) {
    try_trees(bytes);
}
