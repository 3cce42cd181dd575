//! What a child does with a pack that a client has sent: it looks at it, and writes it where it can be kept.

use clusterrunner_common::child::{self, Inside, MemoryLimit};
use clusterrunner_common::git::{CommitId, GitLimits, SentPack, SentPackError, check_sent_pack};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::ExitCode;

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) pack: PathBuf,
    pub(super) commit: CommitId,
    /// The indexes of packs that it comes after.
    pub(super) after: Vec<PathBuf>,
    /// An empty directory.
    pub(super) into: PathBuf,
    pub(super) limits: GitLimits,
    pub(super) max_memory_bytes: u64,
}

/// Why it was not done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    Refused(String),
    TooLarge(String),
    Failed(String),
}

impl From<SentPackError> for Failure {
    fn from(error: SentPackError) -> Self {
        match error {
            SentPackError::Refused(reason) => Self::Refused(reason),
            SentPackError::TooLarge(reason) => Self::TooLarge(reason),
            SentPackError::Canceled | SentPackError::Failed(_) => Self::Failed(error.to_string()),
        }
    }
}

/// Is a process that looks at one pack, as its parent says. To be called from `main`, before anything else.
#[must_use]
pub fn look_at_pack() -> ExitCode {
    child::serve(|order: Order, inside| async move {
        let looked = tokio::task::spawn_blocking(move || look(order, &inside)).await;
        looked.unwrap_or_else(|error| Err(Failure::Failed(error.to_string())))
    })
}

fn look(order: Order, inside: &Inside) -> Result<SentPack, Failure> {
    let _memory = MemoryLimit::set(order.max_memory_bytes);
    let Order {
        pack,
        commit,
        after,
        into,
        limits,
        ..
    } = order;
    Ok(check_sent_pack(
        &pack,
        &commit,
        (&after, &into),
        limits,
        &inside.stop,
    )?)
}
