//! What a slave needs of a job.

use crate::job::isolation::IsolationWish;
use crate::job::reports::Patterns;
use crate::job::setup_cache::SetupCache;
use crate::templates::NamedTemplate;
use crate::work::Worker;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// The parts of a job that a slave needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupJob {
    /// Its name.
    pub name: String,
    /// Joined command, run once before the first subjob.
    #[serde(default)]
    pub setup_build: Option<String>,
    /// Joined command, run once at the end.
    #[serde(default)]
    pub teardown_build: Option<String>,
    /// How long `setup_build` may run; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_timeout_s: Option<u64>,
    /// How long `teardown_build` may run; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teardown_timeout_s: Option<u64>,
    /// How many of its subjobs a slave runs at a time, however many it was handed out; absent for no
    /// limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_executors: Option<NonZeroU32>,
    /// Which builds it shares the slave's executors with by weight: those of the same priority.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub priority: i32,
    /// How large its share of the slave's executors is beside those; absent for 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<NonZeroU32>,
    /// The image of the containers that its commands run in; absent for no container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The templates that the build takes, by the words that name them: its image, or what its template is based on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<NamedTemplate>,
    /// Which files that atoms leave are reports of tests; absent for those of the usual names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub junit: Option<Patterns>,
    /// Joined command that runs many atoms in one process; absent where each atom has a process of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_command: Option<String>,
    /// What of its set-up is kept for later builds; absent for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<SetupCache>,
    /// Whether `setup_build` is left out where what is kept of it is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub setup_once: bool,
    /// What runs one atom after the other; absent where each atom has a process of its own.
    #[serde(
        default,
        deserialize_with = "Worker::known",
        skip_serializing_if = "Option::is_none"
    )]
    pub worker: Option<Worker>,
    /// How far its commands are to be kept apart from their machine.
    #[serde(default, skip_serializing_if = "IsolationWish::is_empty")]
    pub isolation: IsolationWish,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_usual(priority: &i32) -> bool {
    *priority == 0
}
