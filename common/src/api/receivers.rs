//! Those who are told of builds, and how it goes with them. Ours.

use crate::ids::BuildId;
use crate::work::BuildEvent;
use serde::{Deserialize, Serialize};

/// Answer to `GET /v2/receivers`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReceiversBody {
    /// In the order of the settings; the command `on_finish` comes last.
    pub receivers: Vec<ReceiverView>,
}

/// Someone who is told of builds. What is counted is counted from the start of the master on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReceiverView {
    /// The name of its section in the settings, or `on_finish`.
    pub name: String,
    /// `webhook`, `github`, `gitlab`, `gitea`, or `command`.
    pub kind: String,
    /// What it is told.
    pub events: Vec<BuildEvent>,
    /// Patterns of which a project must fit one; empty for all projects.
    pub projects: Vec<String>,
    /// How many notices wait.
    pub waiting: u64,
    /// In how many seconds the next one is tried; `None` where none waits.
    pub next_attempt_in: Option<f64>,
    /// How many it has taken.
    pub sent: u64,
    /// How many attempts failed.
    pub failed: u64,
    /// How many were of no use to it, such as the status of a commit that is not known.
    pub skipped: u64,
    /// How many were given up since it refused them again and again.
    pub refused: u64,
    /// How many were given up since they were too old, or too many waited.
    pub given_up: u64,
    /// The last one that it took.
    pub last_sent: Option<LastSentView>,
    /// The last attempt that failed.
    pub last_failure: Option<LastFailureView>,
}

/// A notice that a receiver took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastSentView {
    /// When, in seconds since 1970.
    pub at: f64,
    /// Of which build.
    pub build_id: BuildId,
    /// What the build had come to.
    pub event: BuildEvent,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastFailureView {
    /// When, in seconds since 1970.
    pub at: f64,
    /// Of which build.
    pub build_id: BuildId,
    /// What the build had come to.
    pub event: BuildEvent,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// Why it failed; what the receiver said is in the master's log alone.
    pub message: String,
}
