//! The files that an atom left, as `/v2/builds/BUILD/subjobs/SUBJOB/atoms/ATOM/artifacts` lists them. All of it is ours.

use serde::{Deserialize, Serialize};

/// `{"artifacts": [...], "total": N}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactsBody {
    /// Some of the files, in the order in which they are stored.
    pub artifacts: Vec<ArtifactView>,
    /// How many files the atom left in all.
    pub total: u64,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactView {
    /// Its path in the atom's artifact directory, with U+FFFD for what is no UTF-8.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}
