//! The statuses of a build: which there are, what callers may post, and what is kept of them.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::SlaveId;
use serde::{Deserialize, Serialize};

/// How many statuses callers may post of a build: among the notes of its statuses, outages keep room.
pub(super) const MAX_POSTED: usize = 50;

/// Where a build stands, in few words that hold for whatever is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is accepted.
    Created,
    /// A slave is chosen.
    Scheduled,
    /// The slave fetches the source and prepares the workspace.
    Building,
    /// Its commands run.
    Running,
    /// All its commands ended well.
    Succeeded,
    /// A command failed, or the build could not be run.
    Failed,
    /// A caller stopped it.
    Stopped,
    /// No slave that has it can be reached.
    Unknown,
}

impl Status {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Stopped => true,
            Self::Created | Self::Scheduled | Self::Building | Self::Running | Self::Unknown => {
                false
            }
        }
    }

    /// Whether it may come directly after `before`.
    #[must_use]
    pub fn may_follow(self, before: Self) -> bool {
        use Status::{Building, Created, Failed, Running, Scheduled, Stopped, Succeeded, Unknown};
        match self {
            Created => false,
            Scheduled => matches!(before, Created | Building),
            Building => matches!(before, Created | Scheduled),
            Running => matches!(before, Created | Scheduled | Building | Unknown),
            Succeeded | Failed | Stopped => !before.is_final(),
            Unknown => before != Unknown && !before.is_final(),
        }
    }
}

/// A status that a caller has posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedStatus {
    /// The status.
    pub status: Status,
    /// A sentence of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where the caller's program failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
}

/// Why a status can not be posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusRefusal {
    /// It may not come now.
    #[error("a build can not be {status:?} after {before:?}")]
    NotAfter {
        /// The status before it; `None` for an archived build, which has its final one.
        before: Option<Status>,
        /// The status that can not come.
        status: Status,
    },
    /// Enough were posted for this build.
    #[error("{MAX_POSTED} statuses of a build are kept that callers post")]
    TooMany,
}

/// What matters for the statuses of a build, and when it happened. In the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusNote {
    pub(super) at: Timestamp,
    pub(super) what: Noted,
}

/// What is kept for the statuses of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Noted {
    /// A first slave was chosen. Kept only behind other notes: before all of them, the times of the build say it.
    SlaveChosen,
    /// A slave is ready to run it, and none was before.
    SlaveReady(SlaveId),
    /// The last slave that had it is lost.
    SlavesLost(Box<str>),
    /// A caller has posted a status.
    Posted(Box<PostedStatus>),
}
