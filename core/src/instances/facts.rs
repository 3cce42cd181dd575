//! What happens to instances.

use super::instance::Purpose;
use crate::accounts::owner::Owner;
use clusterrunner_common::ids::{Generation, SlaveId, TemplateId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What happens to an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceFact {
    /// It was asked for, under a new id.
    Launched(Box<Launch>),
    /// A slave is to run it.
    Placed {
        /// The slave.
        slave: SlaveId,
        /// The number of the placement.
        generation: Generation,
    },
    /// Its slave was started again and still runs it under the same placement: it is the slave's new registration's.
    Adopted {
        /// The new registration.
        slave: SlaveId,
    },
    /// Its slave does not run it any more, or is not there: it waits for another one.
    Displaced {
        /// The slave that had it.
        slave: SlaveId,
        /// The number of the latest placement from now on. Where it is the one before, the slave may come back with it.
        generation: Generation,
        /// Why, for the user.
        reason: String,
    },
    /// It answers.
    Up {
        /// The port, on its slave.
        port: u16,
        /// Whether it wants to see paths as they were asked for.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keeps_prefix: bool,
        /// How often its process was started again.
        #[serde(default)]
        restarts: u32,
    },
    /// Its process ended, and is started again after a pause.
    Crashed {
        /// How it ended, for the user.
        reason: String,
        /// How often its process was started again before.
        #[serde(default)]
        restarts: u32,
    },
    /// It can not be started, or its restarts are used up.
    Failed {
        /// Why, for the user.
        reason: String,
    },
    /// It was stopped.
    Stopped,
    /// Another one does its work, or nobody wants it any more: it gets no new requests, and still runs.
    Retired,
    /// The command of a run has ended.
    Exited {
        /// With which code: 128 and the signal where a signal ended it.
        code: i32,
    },
    /// Nobody asked for it for too long: it is ended.
    Culled {
        /// For how long, in milliseconds.
        idle_ms: u64,
    },
    /// It was over long ago, and leaves memory with its log.
    Forgotten,
}

/// What an instance was asked to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Its public id.
    pub key: String,
    /// The template that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateId>,
    /// The reference of the image that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The name of the template, or what the app build names.
    pub template_name: String,
    /// The owner.
    pub owner: Owner,
    /// The command; empty for the default start of the template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Variables beside those of the template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The most memory that it may have, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_bytes: Option<u64>,
    /// Its weight when processes of its slave compete for processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u32>,
    /// How long nobody may ask for it until it is ended, in milliseconds; none for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cull_after_ms: Option<u64>,
    /// What its slave is tagged with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Purpose::is_launch")]
    pub purpose: Purpose,
}

impl fmt::Display for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.purpose {
            Purpose::Launch => {}
            Purpose::App {
                project,
                release,
                process,
                num,
            } => write!(f, "{process}.{num} of project {project} v{release}: ")?,
            Purpose::Run {
                project,
                release,
                num,
            } => write!(f, "run {num} of project {project} v{release}: ")?,
        }
        let name = &self.template_name;
        match (self.template, &self.image) {
            (Some(template), _) => write!(f, "{name}, template {template}"),
            (None, Some(image)) => write!(f, "image {image}"),
            (None, None) => write!(f, "{name}, which can not be run"),
        }
    }
}

impl InstanceFact {
    /// The slave that has to do with it, if the fact names one.
    #[must_use]
    pub fn slave(&self) -> Option<SlaveId> {
        match self {
            Self::Placed { slave, .. }
            | Self::Adopted { slave }
            | Self::Displaced { slave, .. } => Some(*slave),
            Self::Launched(_)
            | Self::Up { .. }
            | Self::Crashed { .. }
            | Self::Failed { .. }
            | Self::Stopped
            | Self::Retired
            | Self::Exited { .. }
            | Self::Culled { .. }
            | Self::Forgotten => None,
        }
    }
}

impl fmt::Display for InstanceFact {
    /// What comes after the instance's id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launched(launch) => write!(f, " launched: {launch}"),
            Self::Placed { slave, generation } => {
                write!(f, " to slave {slave}, generation {generation}")
            }
            Self::Adopted { slave } => write!(f, " still runs, now on slave {slave}"),
            Self::Displaced { slave, reason, .. } => write!(f, " off slave {slave}: {reason}"),
            Self::Up { port, restarts, .. } => {
                write!(f, " up at port {port}, restarts: {restarts}")
            }
            Self::Crashed { reason, restarts } => {
                write!(f, " crashed, restarts: {restarts}: {reason}")
            }
            Self::Failed { reason } => write!(f, " failed: {reason}"),
            Self::Stopped => f.write_str(" stopped"),
            Self::Retired => f.write_str(" retired: it gets no new requests"),
            Self::Exited { code } => write!(f, " exited with code {code}"),
            Self::Culled { idle_ms } => write!(f, " culled: nobody asked for it for {idle_ms} ms"),
            Self::Forgotten => f.write_str(" forgotten"),
        }
    }
}
