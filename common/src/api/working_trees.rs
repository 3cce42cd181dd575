//! What is said when a client sends its working tree.

use crate::git::{CommitId, ObjectId, SentName};
use serde::{Deserialize, Serialize};

/// The most bytes of [`MissingRequest`]: some 400,000 objects.
pub const MAX_MISSING_BODY: usize = 16 << 20;

/// Which objects of a working tree are there already?
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingRequest {
    /// The repository that it is on top of, as the build will name it.
    pub url: String,
    /// Its commit.
    pub commit: CommitId,
    /// All objects that are to be sent.
    pub objects: Vec<ObjectId>,
}

/// What is to be sent of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingAnswer {
    /// Whether the working tree is there: nothing is to be sent.
    pub is_here: bool,
    /// How many bytes a pack may have.
    pub max_bytes: u64,
    /// The pack that was sent before and has the other objects: to be named with the pack of the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<SentName>,
    /// The objects that are missing; nothing where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<ObjectId>>,
}

/// The answer to a working tree that was kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkingTreeKept {
    /// `SUCCESS`.
    pub status: String,
    /// How many objects came.
    pub objects: u64,
}
