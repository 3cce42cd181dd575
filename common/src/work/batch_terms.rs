//! What a slave is told of a subjob that may run in one process with others.

use serde::{Deserialize, Serialize};

/// The terms of a subjob of a build that has a [`SetupJob::batch_command`](super::SetupJob::batch_command).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchTerms {
    /// How long the subjob is expected to take; absent where nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<u64>,
}
