//! What an instance is, and where it stands.

use crate::core::accounts::projects::Owner;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Generation, InstanceId, SlaveId, TemplateId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is asked for in an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewInstance {
    /// Its public id: 32 lower-case hexadecimal digits, made at random.
    pub key: String,
    /// The name of the template.
    pub template: String,
    /// The command; empty for the default start of the template.
    pub command: Vec<String>,
    /// Variables beside those of the template.
    pub environment: BTreeMap<String, String>,
    /// The most memory that it may have, in bytes.
    pub max_memory_bytes: Option<u64>,
    /// How long nobody may ask for it until it is ended, in milliseconds; none for ever.
    pub cull_after_ms: Option<u64>,
}

/// An instance. It is stored: a new field needs `#[serde(default)]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its public id: 32 lower-case hexadecimal digits.
    pub key: String,
    /// What it runs.
    pub template: TemplateId,
    /// The name of the template, as it was when the instance was asked for.
    pub template_name: String,
    /// The owner.
    pub owner: Owner,
    /// The command; empty for the default start of the template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Variables beside those of the template. Never shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The most memory that it may have, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_bytes: Option<u64>,
    /// How long nobody may ask for it until it is ended, in milliseconds; none for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cull_after_ms: Option<u64>,
    /// Where it stands.
    pub state: InstanceState,
    /// The slave that it is placed on, also one that is lost and may come back; of an instance that is over, the last
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slave: Option<SlaveId>,
    /// The number of its latest placement; 0 before the first.
    pub generation: Generation,
    /// The port on its slave and whether it wants to see paths whole, once it answered under its present placement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<(u16, bool)>,
    /// How often its process was started again under its present placement.
    #[serde(default)]
    pub restarts: u32,
    /// Why it stands where it stands, for the user; none where the state says all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it entered its state.
    pub changed: Timestamp,
    /// When it first answered; none if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Timestamp>,
}

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// It waits for a slave.
    Initialized,
    /// A slave starts it.
    Created,
    /// It answers.
    Up,
    /// Its process ended by itself and is started again.
    Crashed,
    /// Nobody asked for it for too long.
    Down,
    /// It can not be started, or its restarts are used up.
    Error,
    /// It was stopped.
    Destroyed,
}

impl InstanceState {
    /// All of them, in the order of an instance's life.
    pub const ALL: [Self; 7] = [
        Self::Initialized,
        Self::Created,
        Self::Up,
        Self::Crashed,
        Self::Down,
        Self::Error,
        Self::Destroyed,
    ];

    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Down | Self::Error | Self::Destroyed => true,
            Self::Initialized | Self::Created | Self::Up | Self::Crashed => false,
        }
    }

    /// Its name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Initialized => "initialized",
            Self::Created => "created",
            Self::Up => "up",
            Self::Crashed => "crashed",
            Self::Down => "down",
            Self::Error => "error",
            Self::Destroyed => "destroyed",
        }
    }
}

impl Instance {
    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state.is_final()
    }

    /// How far its process is under its present placement. Each start has a number, and a process answers before it
    /// ends: what a slave said earlier is less, so a late report changes nothing.
    pub(super) fn progress(&self) -> (u32, u8) {
        let step = match self.state {
            InstanceState::Up => ANSWERS,
            InstanceState::Crashed => ENDED,
            InstanceState::Initialized
            | InstanceState::Created
            | InstanceState::Down
            | InstanceState::Error
            | InstanceState::Destroyed => STARTS,
        };
        (self.restarts, step)
    }
}

/// The steps of one start of a process, in their order.
pub(super) const STARTS: u8 = 0;
pub(super) const ANSWERS: u8 = 1;
pub(super) const ENDED: u8 = 2;

/// Why an order about instances means nothing now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstanceRefusal {
    /// No such instance, or it was forgotten long after its end.
    #[error("instance {0} is unknown")]
    Unknown(InstanceId),
    /// The farm has as many instances as it may have.
    #[error("the farm has {0} instances, which is the most; stop one first")]
    TooMany(usize),
    /// Something that is asked for can not be.
    #[error("field '{field}' must be {expected}")]
    InvalidField {
        /// The field.
        field: &'static str,
        /// What is right.
        expected: &'static str,
    },
}
