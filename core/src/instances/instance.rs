//! What an instance is, and where it stands.

use crate::accounts::owner::Owner;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Generation, InstanceId, ProjectId, SlaveId, TemplateId};
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

/// What an instance is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A user launched it, and reaches it by its key.
    #[default]
    Launch,
    /// It is one of an app's, and is reached by the app's hosts.
    App {
        /// The project of the app.
        project: ProjectId,
        /// The version of the release that it runs.
        release: u64,
        /// The process type.
        process: String,
        /// Its number among those of the type.
        num: u32,
    },
    /// It runs one command of an app, and ends with it. It is never started again.
    Run {
        /// The project of the app.
        project: ProjectId,
        /// The version of the release that it runs.
        release: u64,
        /// Its number among the runs of the app.
        num: u32,
    },
}

impl Purpose {
    /// Whether a user launched it.
    #[must_use]
    pub fn is_launch(&self) -> bool {
        *self == Self::Launch
    }

    /// Whether it runs one command.
    #[must_use]
    pub fn is_run(&self) -> bool {
        matches!(self, Self::Run { .. })
    }

    /// The project of its app.
    #[must_use]
    pub fn project(&self) -> Option<ProjectId> {
        match self {
            Self::Launch => None,
            Self::App { project, .. } | Self::Run { project, .. } => Some(*project),
        }
    }

    /// The version of the release that it runs.
    #[must_use]
    pub fn release(&self) -> Option<u64> {
        match self {
            Self::Launch => None,
            Self::App { release, .. } | Self::Run { release, .. } => Some(*release),
        }
    }

    /// Whether it is the same process of the same app, of whatever release.
    #[must_use]
    pub fn is_place_of(&self, other: &Self) -> bool {
        let is_of_app = self.process().is_some() && self.project() == other.project();
        is_of_app && self.process() == other.process() && self.num() == other.num()
    }

    /// The number among the processes of one type, or among the runs.
    #[must_use]
    pub fn num(&self) -> Option<u32> {
        match self {
            Self::Launch => None,
            Self::App { num, .. } | Self::Run { num, .. } => Some(*num),
        }
    }

    /// The process type, of an app's.
    #[must_use]
    pub fn process(&self) -> Option<&str> {
        match self {
            Self::App { process, .. } => Some(process),
            Self::Launch | Self::Run { .. } => None,
        }
    }
}

/// What an instance or an app build runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runs {
    /// A template of the farm.
    Template(TemplateId),
    /// The reference of an image that its slave pulls.
    Image(String),
    /// Nothing can be run: why, for the user.
    Nothing(String),
}

/// An instance. It is stored: a new field needs `#[serde(default)]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its public id: 32 lower-case hexadecimal digits.
    pub key: String,
    /// The template that it runs; none where it runs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateId>,
    /// The reference of the image that it runs; none where it runs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The name of the template, as it was when the instance was asked for; of an app's what its app build names.
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
    /// Its weight when processes of its slave compete for processors, up to 1024; none for the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u32>,
    /// How long nobody may ask for it until it is ended, in milliseconds; none for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cull_after_ms: Option<u64>,
    /// What its slave is tagged with: `k` with `v` for a label `k=v`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Purpose::is_launch")]
    pub purpose: Purpose,
    /// Whether another one does its work from now on, or nobody wants it any more: it gets no new requests, and is stopped
    /// when those under way are answered. Only what is up is retired; what stops to be up then is stopped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
    /// With which code its command ended, if it is a run that ended: 128 and the signal where a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
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
    /// The slave that it left last, and how often in a row it left one before it answered there; none since it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<(SlaveId, u32)>,
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
    /// It was stopped, or its command has ended.
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
    /// What it runs.
    #[must_use]
    pub fn runs(&self) -> Runs {
        match (self.template, &self.image) {
            (Some(template), _) => Runs::Template(template),
            (None, Some(image)) => Runs::Image(image.clone()),
            (None, None) => Runs::Nothing(self.reason.clone().unwrap_or_default()),
        }
    }

    /// Whether nothing of it is worth remembering. An app's that can not be started is listed until it is replaced.
    pub(super) fn is_past(&self) -> bool {
        let is_listed = self.state == InstanceState::Error && self.purpose.process().is_some();
        self.is_over() && !is_listed
    }

    /// From when on it may be placed: one that leaves slave after slave without ever being up there waits in between.
    pub(super) fn placed_from(&self) -> Timestamp {
        let times = self.left.map_or(0, |(_, times)| times);
        let pause_ms = match times {
            0 | 1 => 0,
            more => (FIRST_PAUSE_MS << (more - 2).min(8)).min(LONGEST_PAUSE_MS),
        };
        Timestamp(self.changed.0.saturating_add(pause_ms))
    }

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

/// How long an instance waits that has left a second slave without being up there; each further time twice as long.
const FIRST_PAUSE_MS: u64 = 1_000;
const LONGEST_PAUSE_MS: u64 = 60_000;

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
