//! What a slave is, as the master sees it, and where it stands.

use crate::beside::Beside;
use crate::scheduling::load::Load;
use crate::scheduling::quick_setups::QuickSetups;
use crate::slaves::record::Record;
use crate::templates::template::Template;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, PublicKey, SessionId, SlaveId, SubjobId};
use clusterrunner_common::text::slave_address;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A slave's registration. It is stored: a new field needs `#[serde(default)]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slave {
    /// Its id.
    pub id: SlaveId,
    /// `host:port` at which it is called.
    pub url: String,
    /// The life of its process.
    pub session: SessionId,
    /// How many subjobs it runs at a time.
    pub num_executors: u32,
    /// Whether it speaks as the original's slaves do: one build at a time, no attempts.
    pub is_legacy: bool,
    /// What builds may ask for in a slave.
    pub labels: BTreeSet<String>,
    /// Whether it is counted on.
    pub presence: Presence,
    /// The builds it was set up for, and how far that is. Several builds share its executors.
    pub builds: BTreeMap<BuildId, BuildOnSlave>,
    /// What it has been given: what it runs, and what waits there for its executors.
    pub running: BTreeSet<(BuildId, SubjobId)>,
    /// Whether its address is drained: it takes no new work.
    pub is_drained: bool,
    /// Why it is sick, if it is: it takes no new work then.
    pub quarantine: Option<String>,
    /// Since when it is.
    pub quarantined_at: Option<Timestamp>,
    /// How often it was quarantined since it was well for a while.
    pub relapses: u32,
    /// How many subjobs it may have at a time while its failed results are doubted.
    pub limit: Option<u32>,
    /// The build whose suspect subjobs it is kept free for, one after the other.
    pub reserved_for: Option<BuildId>,
    /// What speaks against it.
    pub record: Record,
    /// Subjobs whose results it kept from an earlier life and is to deliver. Delivery needs neither an executor nor a
    /// set-up.
    pub delivering: BTreeSet<(BuildId, SubjobId)>,
    /// When it was registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<Timestamp>,
    /// Which instances it runs; none until it has reported those that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosting: Option<Hosting>,
    /// The digests of the snapshots of templates that it has whole.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub snapshots: BTreeSet<String>,
    /// The key that it signs with; none of a slave that has but the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
    /// What is derived from what it runs and from its builds.
    #[serde(skip)]
    pub(crate) load: Load,
    /// Which jobs it sets up in no time.
    #[serde(skip)]
    pub(crate) quick_setups: Beside<QuickSetups>,
}

/// Which instances a slave runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hosting {
    /// How many at a time.
    pub max_instances: u32,
    /// Whether those of images, too.
    pub runs_images: bool,
}

/// Whether a slave is counted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It gives signs of life.
    Alive,
    /// It gives signs of life, finishes its running atoms and takes nothing new.
    ShuttingDown,
    /// It is told to end and has not said yet that it heard. It is not listed any more.
    Ending,
    /// It was shut down, or lost after that was asked for; kept since results name it.
    ShutDown,
    /// It gave no sign of life for too long, was given up, or announced its end.
    Lost {
        /// Why it was given up.
        reason: String,
        /// Since when.
        at: Timestamp,
        /// Whether another life of it was there then, which has not connected yet.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_started_again: bool,
        /// Whether it said itself that it ends.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_stopped: bool,
    },
    /// Another registration has its address now; kept since results name it.
    Replaced,
}

/// How far a build is on a slave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildOnSlave {
    /// It was asked to set the build up; its executors count from this `BUILD_EXECUTOR_INDEX`.
    SettingUp {
        /// Of its executor 0.
        start_index: u32,
        /// How many of its executors the build counts on.
        executors: usize,
        /// Since when.
        since: Option<Timestamp>,
    },
    /// It takes subjobs.
    Ready,
    /// It was asked to clear the build away.
    TearingDown,
}

impl Slave {
    /// Whether what it says counts.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        match self.presence {
            Presence::Alive | Presence::ShuttingDown => true,
            Presence::Ending | Presence::ShutDown | Presence::Lost { .. } | Presence::Replaced => {
                false
            }
        }
    }

    /// Whether it takes new work.
    #[must_use]
    pub fn takes_work(&self) -> bool {
        self.presence == Presence::Alive && !self.is_drained && self.quarantine.is_none()
    }

    /// Whether it gets instances. Those that it has it keeps while it is drained or quarantined.
    #[must_use]
    pub fn takes_instances(&self) -> bool {
        self.would_take_instances() && !self.polls()
    }

    /// Whether it would get instances if it could be called.
    #[must_use]
    pub fn would_take_instances(&self) -> bool {
        let has_slots = self
            .hosting
            .is_some_and(|hosting| hosting.max_instances > 0);
        has_slots && self.takes_work()
    }

    /// Whether it can not be called and polls for its calls. What runs on it can not be reached from the master either.
    #[must_use]
    pub fn polls(&self) -> bool {
        slave_address::polls(&self.url)
    }

    /// Whether it can run images.
    #[must_use]
    pub fn runs_images(&self) -> bool {
        self.hosting.is_some_and(|hosting| hosting.runs_images)
    }

    /// Whether it gets instances of a template.
    #[must_use]
    pub fn can_host(&self, template: &Template) -> bool {
        self.takes_instances() && (self.runs_images() || !template.is_image())
    }

    /// Whether it must tear its builds down although it stays: it is drained or quarantined.
    pub(crate) fn withdraws(&self) -> bool {
        let is_kept_out = self.is_drained || self.quarantine.is_some();
        self.is_alive() && is_kept_out && !self.builds.is_empty()
    }

    /// Whether the master still has something to say to it.
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.is_alive() || self.presence == Presence::Ending
    }

    /// Whether it is shown to users.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        match self.presence {
            Presence::Alive | Presence::ShuttingDown | Presence::Lost { .. } => true,
            Presence::Ending | Presence::ShutDown | Presence::Replaced => false,
        }
    }

    /// Whether this life of it is to end, or has ended, because a user shut it down.
    #[must_use]
    pub fn was_shut_down(&self) -> bool {
        match self.presence {
            Presence::ShuttingDown | Presence::Ending | Presence::ShutDown => true,
            Presence::Alive | Presence::Lost { .. } | Presence::Replaced => false,
        }
    }

    /// Whether it is to hear nothing more about a build yet: a slave of the original that is told to
    /// clear away what it still sets up would report the set-up later, as if of the next build.
    #[must_use]
    pub fn must_finish_setup(&self, build: BuildId) -> bool {
        let place = self.builds.get(&build);
        self.is_legacy && matches!(place, Some(BuildOnSlave::SettingUp { .. }))
    }

    /// Sorts slaves: by idle executors that no set-up is under way for, then by idle executors, then by id; the
    /// greatest gets work first.
    pub(crate) fn room(&self) -> (usize, usize, SlaveId) {
        let free = self.num_free();
        (free.saturating_sub(self.load.promised), free, self.id)
    }

    /// How many executors work.
    #[must_use]
    pub fn num_busy(&self) -> usize {
        self.running.len().min(self.num_executors as usize)
    }

    /// How many more subjobs it can run now.
    #[must_use]
    pub fn num_free(&self) -> usize {
        if self.takes_work() && self.reserved_for.is_none() {
            let most = self
                .limit
                .map_or(self.num_executors, |limit| limit.min(self.num_executors));
            (most as usize).saturating_sub(self.running.len())
        } else {
            0
        }
    }

    /// How many subjobs of one build it has.
    #[must_use]
    pub fn num_running(&self, build: BuildId) -> usize {
        self.load.of(build).map_or(0, |portion| portion.held)
    }
}
