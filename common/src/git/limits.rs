//! How large a repository may be. What is beyond a limit is refused before it costs memory, disk or stack.

use serde::{Deserialize, Serialize};

/// How deep directories may be nested: what git itself allows (`core.maxTreeDepth`), and what a path of 4,096 bytes can
/// hold. libgit2 walks trees by recursion, so no setting goes beyond it.
pub(crate) const MAXIMUM_TREE_DEPTH: u32 = 2048;

/// Submodules in submodules; more is a mistake, or an attack on the disk.
pub(super) const MAXIMUM_SUBMODULE_DEPTH: usize = 10;

/// What the settings say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitLimits {
    /// How many files and directories a commit may have, counted as they are written out.
    pub entries: u64,
    /// How deep its directories may be nested.
    pub depth: u32,
    /// How many bytes one file may have.
    pub file_bytes: u64,
    /// How many bytes all its files may have together, written out.
    pub work_tree_bytes: u64,
    /// How many bytes one fetch may bring.
    pub pack_bytes: u64,
    /// How many branches, tags and other refs the other side may have.
    pub refs: u64,
}

impl Default for GitLimits {
    /// As in the shipped settings: several times what the Linux kernel has.
    fn default() -> Self {
        Self {
            entries: 2_000_000,
            depth: MAXIMUM_TREE_DEPTH,
            file_bytes: 1 << 30,
            work_tree_bytes: 64 << 30,
            pack_bytes: 32 << 30,
            refs: 500_000,
        }
    }
}
