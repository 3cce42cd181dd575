//! Slaves as the master shows them, and what users ask of them.

use super::{BuildOnSlaveState, lenient};
use crate::ids::{BuildId, SessionId, SlaveId};
use crate::work::IsolationLevel;
use serde::{Deserialize, Serialize};

/// A slave as the master sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaveView {
    /// Its address, exactly as it gave it.
    pub url: String,
    /// Its id.
    pub id: SlaveId,
    /// The life of its process.
    pub session_id: Option<SessionId>,
    /// How many executors it has.
    pub num_executors: u32,
    /// How many of them run a subjob.
    pub num_executors_in_use: u32,
    /// The build it is set up for; the oldest where there are several.
    pub current_build_id: Option<BuildId>,
    /// Ours: how far that build is on it.
    #[serde(default)]
    pub current_build_state: Option<BuildOnSlaveState>,
    /// Whether it gave a sign of life lately.
    pub is_alive: bool,
    /// Whether it takes no more work since it is to end.
    pub is_in_shutdown_mode: bool,
    /// Ours: what jobs may ask for in it.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Ours: whether it takes no new work until it is undrained.
    #[serde(default)]
    pub is_drained: bool,
    /// Ours: whether it takes no new work since it is sick.
    #[serde(default)]
    pub is_quarantined: bool,
    /// Ours: what makes it sick.
    #[serde(default)]
    pub quarantine_reason: Option<String>,
    /// Ours: when it is tried again, in seconds since 1970.
    #[serde(default)]
    pub next_probe_at: Option<f64>,
    /// Ours: whether it gets one atom at a time, since what failed on it passed elsewhere or may do so.
    #[serde(default)]
    pub is_in_doubt: bool,
    /// Ours: when the master last heard of it, in seconds since 1970. This field and the next six are in version 2 of lists
    /// and events only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heard_at: Option<f64>,
    /// Ours: why it is not counted on any more, such as `it was stopped`; none while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_reason: Option<String>,
    /// Ours: whether it is away since it said itself that it ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_stopped: bool,
    /// Ours: the version of its program, if it says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Ours: the share of its executors that worked in each minute of the last hour, the oldest first; none where it is not
    /// known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_of_last_hour: Vec<Option<f64>>,
    /// Ours: how far it keeps the commands of all builds apart from its machine, if it says so; in the same lists and events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<IsolationLevel>,
    /// Ours: whether it can run containers, once it has said so; in the same lists and events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_containers: Option<bool>,
    /// Ours: the beginning of the key that it signs with; none of a slave that has but the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Answer to `POST /v1/slave/<id>/drain` and `/undrain`. Ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrainAnswer {
    /// `SUCCESS`.
    pub status: String,
    /// The slave as it is now.
    pub slave: SlaveView,
    /// Whether it was quarantined and is not any more.
    #[serde(default)]
    pub is_released: bool,
}

/// `{"slave": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlaveBody {
    /// The slave.
    pub slave: SlaveView,
}

/// `{"slaves": [...]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlavesBody {
    /// In order of their ids.
    pub slaves: Vec<SlaveView>,
}

/// `POST /v1/slave/shutdown`: `{"shutdown_all": true}` or `{"slaves": [1, 2]}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownRequest {
    /// Whether all slaves are meant, whatever `slaves` says.
    #[serde(
        default,
        deserialize_with = "lenient::truth",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub shutdown_all: bool,
    /// Those that are meant; the original's client sends its ids as strings.
    #[serde(
        default,
        deserialize_with = "lenient::slaves",
        skip_serializing_if = "Option::is_none"
    )]
    pub slaves: Option<Vec<SlaveId>>,
}
