//! The core of the master: every build, every slave, and what is decided about them. Pure: no I/O, no clock, no
//! randomness, so that the same code runs live, in replay and in tests.
//!
//! [`Cluster::decide`] turns a command into events, [`Cluster::follow_up`] says what follows from
//! the state as it stands, [`Cluster::apply`] is the only function that changes it, and
//! [`Cluster::effects`] says what the world must be asked to do.

pub mod access;
pub mod accounts;
pub mod actor;
pub mod apps;
pub mod builds;
pub mod command;
pub mod effect;
pub mod event;
pub mod forecast;
pub mod histogram;
pub mod history;
pub mod hunting;
pub mod instances;
pub mod lifetime;
pub mod measures;
pub mod pools;
pub mod refusal;
pub mod scheduling;
pub mod slaves;
pub mod templates;

mod apply;
mod beside;
mod check;
mod decide;
mod effects;
mod follow_up;
#[cfg(test)]
mod tests;

pub use builds::mishaps::Mishaps;
pub use check::Inconsistency;

use accounts::all_projects::Projects;
use accounts::bookmarks::Bookmarks;
use accounts::users::Accounts;
use apps::all_apps::Apps;
use beside::Beside;
use builds::build::{Build, Preparation};
use builds::describing::AllDetails;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId, SlaveId};
use instances::all_instances::Instances;
use lifetime::delete::Deletions;
use lifetime::incarnation::Lineage;
use measures::Measures;
use scheduling::build_queue::BuildQueue;
use scheduling::dirty::DirtySet;
use serde::{Deserialize, Serialize};
use slaves::doubts::Failures;
use slaves::keys::SlaveKeys;
use slaves::slave::Slave;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use templates::all_templates::Templates;

/// How often a subjob may come back without a result from slaves that are there before its build is
/// given up: a build must end.
pub const MAX_ATTEMPTS: u32 = 5;

/// How often a subjob is handed out at all before its build fails: slaves that users stop are nobody's fault, but a
/// build must end. After five prefetches that never ran, only idle executors get the subjob. After a prefetch on a slave
/// that died, too: so a subjob cannot become suspect by waiting.
pub const MAX_HAND_OUTS: u32 = 25;

/// How often slaves at one address may fail to set a build up, each after a restart, before the
/// address is not asked any more.
pub const MAX_SETUPS: u32 = 3;

/// How long a build waits for a slave that was lost to come back, where no other can set it up.
pub const SLAVE_RETURN: Duration = Duration::from_secs(60);

/// How many builds are prepared at a time.
pub const MAX_PREPARATIONS: usize = 8;

/// How often the master may die while it prepares a build. Atomizers and git run in a process of their own, which the
/// master survives; but they run as the same user, and can kill that, too.
pub const MAX_DEATHS: u32 = 2;

/// An archived build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When it was archived.
    pub at: Timestamp,
    /// The project that it is of.
    pub project: ProjectId,
    /// The first and the last build that its matrix was split into; those between are its, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children: Option<(BuildId, BuildId)>,
}

/// How many builds are forgotten at a time: the disk is to keep up.
pub const FORGOTTEN_AT_A_TIME: usize = 64;

/// How long slaves keep what they have set up of a build after its end, to hunt for flakes while nothing else is to do.
pub const HUNT_AFTER_END: Duration = Duration::from_secs(120);

/// How long a slave is listed that was lost.
pub const LOST_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How many slaves that were shut down are remembered: one that comes back in the same life is told
/// to end again.
pub const SHUT_DOWN_KEPT: usize = 1000;

/// Everything the master knows. What is not skipped is stored in snapshots, the builds apart from it:
/// see [`Cluster::restore`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Ids go on from here, whatever was forgotten since.
    last_build: u64,
    last_slave: u64,
    lineage: Lineage,
    /// Shared with copies of the cluster until they change, as their subjobs are: there may be very many.
    #[serde(skip)]
    builds: BTreeMap<BuildId, Arc<Build>>,
    slaves: BTreeMap<SlaveId, Slave>,
    /// Addresses whose slaves are to take no new work.
    drained: BTreeSet<String>,
    /// Atoms that failed lately, and whether they did on several slaves.
    failures: Failures,
    /// Archived builds: they are no longer in memory.
    ended: BTreeMap<BuildId, Ended>,
    /// Builds that are forgotten and whose files may still be there.
    forgotten: BTreeSet<BuildId>,
    /// Builds that users deleted and that are not forgotten yet.
    #[serde(skip_serializing_if = "Deletions::is_empty")]
    deletions: Deletions,
    /// What users said of builds, archived ones too.
    #[serde(skip_serializing_if = "AllDetails::is_empty")]
    details: AllDetails,
    /// What was measured of archived builds.
    measures: Measures,
    projects: Projects,
    accounts: Accounts,
    #[serde(skip_serializing_if = "Bookmarks::is_empty")]
    bookmarks: Bookmarks,
    #[serde(skip_serializing_if = "Templates::is_empty")]
    templates: Templates,
    #[serde(skip_serializing_if = "Instances::is_empty")]
    instances: Instances,
    #[serde(skip_serializing_if = "Apps::is_empty")]
    apps: Apps,
    #[serde(skip_serializing_if = "SlaveKeys::is_empty")]
    slave_keys: SlaveKeys,

    // What follows is derived from the above and kept for speed: `check` compares, `restore` makes
    // it anew.
    /// Builds that wait to be prepared, by project: there may be very many.
    #[serde(skip)]
    queued: BTreeMap<ProjectId, BTreeSet<BuildId>>,
    /// Builds that are being prepared: one at a time for each project that preparing changes.
    #[serde(skip)]
    preparing: BTreeMap<Preparation, BuildId>,
    /// Those of both that the master died over.
    #[serde(skip)]
    deadly: BTreeSet<BuildId>,
    /// Parents of builds of a matrix that are all over, and that are to end themselves.
    #[serde(skip)]
    ripe: BTreeSet<BuildId>,
    /// Parents of which so many atoms have failed that what is left of their matrix is not run.
    #[serde(skip)]
    failed_enough: BTreeSet<BuildId>,
    /// Builds that slaves may work on.
    #[serde(skip)]
    working: BTreeSet<BuildId>,
    /// Slaves that take work and have free executors, by how many no set-up is under way for, and by how
    /// many are free.
    #[serde(skip)]
    roomy: BTreeSet<(usize, usize, SlaveId)>,
    /// Builds that more executors could work on.
    #[serde(skip)]
    line: BuildQueue,
    /// How many executors the living slaves have.
    #[serde(skip)]
    num_executors: usize,
    /// How many living slaves are of the original.
    #[serde(skip)]
    num_legacy: usize,
    /// Builds on living slaves that slaves may not work on any more.
    #[serde(skip)]
    leftover: BTreeSet<(SlaveId, BuildId)>,
    /// Living slaves that are to end.
    #[serde(skip)]
    shutting_down: BTreeSet<SlaveId>,
    /// Living slaves that take no new work and still have builds.
    #[serde(skip)]
    withdrawing: BTreeSet<SlaveId>,
    /// Slaves that are kept free for suspects, by whose.
    #[serde(skip)]
    reserved: BTreeMap<BuildId, SlaveId>,
    /// Builds with suspects that wait.
    #[serde(skip)]
    suspicious: BTreeSet<BuildId>,
    /// Slaves that are found sick and not quarantined yet, and why. Empty when the cluster is at rest, but a snapshot may
    /// end between the evidence and the quarantine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sick: BTreeMap<SlaveId, String>,
    /// Living slaves that are quarantined.
    #[serde(skip)]
    quarantined: BTreeSet<SlaveId>,
    /// Living slaves whose failed results are doubted.
    #[serde(skip)]
    doubted: BTreeSet<SlaveId>,
    /// Builds that slaves could not set up.
    #[serde(skip)]
    troubled: BTreeSet<BuildId>,
    /// Who is to be looked at before the cluster is at rest.
    #[serde(skip)]
    dirty: Beside<DirtySet>,
}

impl Cluster {
    /// The users.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// A build.
    #[must_use]
    pub fn build(&self, id: BuildId) -> Option<&Build> {
        self.builds.get(&id).map(Arc::as_ref)
    }

    /// All builds that are not archived, in the order of their ids.
    pub fn builds(&self) -> impl DoubleEndedIterator<Item = &Build> {
        self.builds.values().map(Arc::as_ref)
    }

    /// The builds that slaves may work on, in the order of their ids.
    pub(crate) fn working(&self) -> impl Iterator<Item = &Build> {
        self.working.iter().filter_map(|id| self.build(*id))
    }

    /// As [`Cluster::builds`], without those before an id.
    pub fn builds_from(&self, first: BuildId) -> impl Iterator<Item = &Build> {
        self.builds.range(first..).map(|(_, build)| build.as_ref())
    }

    /// A slave, also one that is lost.
    #[must_use]
    pub fn slave(&self, id: SlaveId) -> Option<&Slave> {
        self.slaves.get(&id)
    }

    /// All slaves that were neither shut down nor replaced by a newer registration, in the order of
    /// their ids.
    pub fn slaves(&self) -> impl Iterator<Item = &Slave> {
        self.slaves.values().filter(|slave| slave.is_listed())
    }

    /// The slaves that the master still has something to say to, in the order of their ids.
    pub fn called_slaves(&self) -> impl Iterator<Item = &Slave> {
        self.slaves.values().filter(|slave| slave.is_called())
    }

    /// The living slave at an address.
    #[must_use]
    pub fn slave_at(&self, url: &str) -> Option<&Slave> {
        self.slaves()
            .find(|slave| slave.is_alive() && slave.url == url)
    }

    /// The latest registration of an address, whatever became of it.
    fn latest_at(&self, url: &str) -> Option<&Slave> {
        self.slaves.values().rev().find(|slave| slave.url == url)
    }

    fn next_build_id(&self) -> BuildId {
        BuildId(self.last_build + 1)
    }

    fn next_slave_id(&self) -> SlaveId {
        SlaveId(self.last_slave + 1)
    }
}
