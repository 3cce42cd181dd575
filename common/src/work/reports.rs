//! What slaves say of hand-outs and instances.

use crate::ids::{Attempt, BuildId, Incarnation, SessionId, SubjobId};
use serde::{Deserialize, Serialize};

/// A hand-out whose result outlived the process of the slave that ran it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedAttempt {
    /// Of which build.
    pub build_id: BuildId,
    /// The subjob.
    pub subjob_id: SubjobId,
    /// The number that it was handed out under.
    pub attempt: Attempt,
    /// The life that ran it.
    pub session_id: SessionId,
    /// The incarnation of the master that handed it out. Without one it counts for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
}

/// Where an instance stands on its slave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportedState {
    /// The snapshot is fetched, or the process has started and does not answer yet.
    Starting,
    /// Its port answers.
    Up {
        /// The port, on the slave's own host.
        port: u16,
        /// Whether it wants to see paths as they were asked for, with `/user/<key>` in front.
        #[serde(default)]
        keeps_prefix: bool,
    },
    /// Its process ended, and is started again after a pause.
    Crashed {
        /// How it ended, for the user.
        reason: String,
    },
    /// It can not be started, or its restarts are used up. Nothing of it runs any more.
    Failed {
        /// Why, for the user.
        reason: String,
    },
    /// A run came to its end by itself. Nothing of it runs any more.
    Exited {
        /// The exit code of its process; 128 + n where signal n ended that.
        code: i32,
        /// How many bytes it printed in all. The last of them may come after this.
        printed: u64,
    },
    /// It was ended as ordered. Nothing of it runs any more.
    Ended,
    /// This slave has no room for it, and another one may have. Nothing of it runs.
    NoRoom {
        /// Why, for the user.
        reason: String,
    },
}

impl ReportedState {
    /// Whether nothing of the instance runs any more, or ever will.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(
            self,
            Self::Failed { .. } | Self::Exited { .. } | Self::Ended | Self::NoRoom { .. }
        )
    }
}
