//! The dirty set: slaves and builds that the scheduler looks at before the cluster is at rest.
//!
//! The scheduler has looked at all others and found nothing to do. So with a thousand slaves and hundreds of
//! builds it looks only at those that an event is about. Rare events make everything dirty that an idle executor
//! could matter to.

use crate::Cluster;
use crate::builds::build::Build;
use crate::event::{BuildFact, Fact, FarmFact, SlaveFact};
use crate::instances::placing::Attention;
use clusterrunner_common::ids::{BuildId, ProjectId, SlaveId};
use std::collections::BTreeSet;

/// What the scheduler has yet to look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct DirtySet {
    /// Slaves that may take a hand-out, the ones with most room last.
    pub(crate) slaves: BTreeSet<Room>,
    /// Slaves that take no hand-out, and may set another build up.
    pub(crate) slaves_to_set_up: BTreeSet<SlaveId>,
    /// Builds of which a subjob may go to a slave with idle executors.
    pub(crate) builds: BTreeSet<BuildId>,
    /// Builds that may need another slave.
    pub(crate) builds_to_set_up: BTreeSet<BuildId>,
    /// Builds whose work may be done.
    pub(crate) endings: BTreeSet<BuildId>,
    /// The slave and the build of the latest set-up request.
    pub(crate) set_up: Option<(SlaveId, BuildId)>,
    /// Whether instances are to be looked at.
    pub(crate) instances: Attention,
    /// Apps of which other instances may be wanted than there are.
    pub(crate) apps: BTreeSet<ProjectId>,
}

/// See [`crate::slaves::slave::Slave::room`].
pub(crate) type Room = (usize, usize, SlaveId);

impl Cluster {
    /// Marks what the scheduler has to look at because of an event that was just applied, beside the slave and the
    /// build that the event is about.
    pub(crate) fn attend(&mut self, fact: &Fact) {
        match fact {
            Fact::Build(build, fact) => return self.attend_to_build(*build, fact),
            Fact::App(project, _) => return self.attend_to_app(Some(*project)),
            Fact::Instance(id, _) => {
                let instance = self.instance(*id);
                let project = instance.and_then(|instance| instance.purpose.project());
                self.attend_to_app(project);
            }
            Fact::Farm(FarmFact::IncarnationBegun { .. }) => {
                self.attend_to_apps();
                self.attend_to_all();
            }
            Fact::Template(..)
            | Fact::Slave(_, SlaveFact::Hosts(_) | SlaveFact::HasSnapshots { .. }) => {}
            Fact::Account(..)
            | Fact::Project(..)
            | Fact::SlaveKey(_)
            | Fact::SignIn(_)
            | Fact::Farm(FarmFact::IdsReserved { .. })
            | Fact::Slave(_, SlaveFact::Forgotten | SlaveFact::Ended) => {}
            Fact::Farm(_) | Fact::Slave(..) => self.attend_to_all(),
        }
        self.attend_to_instances();
    }

    fn attend_to_build(&mut self, build: BuildId, fact: &BuildFact) {
        match fact {
            BuildFact::Queued { .. }
            | BuildFact::PreparationStarted { .. }
            | BuildFact::PreparationStopped
            | BuildFact::Split { .. }
            | BuildFact::Finished
            | BuildFact::Retired
            | BuildFact::Forgotten { .. }
            | BuildFact::Deleted
            | BuildFact::Cleared
            | BuildFact::Described { .. }
            | BuildFact::Warned { .. }
            | BuildFact::Hunted { .. }
            | BuildFact::HuntGoesOn { .. }
            | BuildFact::SubjobHandedOut { .. } => {}
            BuildFact::SetupRequested { slave, .. } => {
                self.dirty.set_up = Some((*slave, build));
            }
            BuildFact::Prepared { .. } => {
                self.dirty.endings.insert(build);
            }
            BuildFact::SubjobFinished { .. } => {
                let finished = self.builds.get(&build);
                if finished.is_some_and(|b| b.num_unstarted() == 0 || b.has_failed_enough()) {
                    self.dirty.endings.insert(build);
                }
                // While others worked on it, the rest was not worth a set-up.
                if finished.is_some_and(|b| b.num_executors() == 0) {
                    self.dirty.builds_to_set_up.insert(build);
                }
                // A slave that is kept for suspects counts among a build's executors.
                if !self.reserved.is_empty() || !self.suspicious.is_empty() {
                    self.attend_to_all();
                }
            }
            BuildFact::AttemptFailed { .. } => {
                // Another slave may take the subjob, or be set up for it.
                self.dirty.builds.insert(build);
                if !self.reserved.is_empty() || !self.suspicious.is_empty() {
                    self.attend_to_all();
                }
            }
            BuildFact::SetupCompleted { .. } => {
                // Other builds may have taken the executors that the set-up was for.
                self.dirty.builds_to_set_up.insert(build);
            }
            // A build is torn down on many slaves. That matters to this build only, and only while it is open.
            BuildFact::TeardownRequested { .. } | BuildFact::TeardownCompleted { .. } => {
                if self.working.contains(&build) {
                    self.dirty.builds.insert(build);
                    self.dirty.endings.insert(build);
                }
            }
            BuildFact::Failed { .. } | BuildFact::Canceled | BuildFact::ArchivingStarted => {
                if self.suspicious.is_empty() && self.reserved.is_empty() {
                    self.attend_to_shares();
                } else {
                    self.attend_to_all();
                }
            }
            _ => self.attend_to_all(),
        }
    }

    /// The share of all other builds grows. Idle executors already run what they can get: only slaves that had
    /// subjobs of the build that ended are looked at for hand-outs.
    fn attend_to_shares(&mut self) {
        self.dirty.builds_to_set_up.extend(self.line.iter());
    }

    pub(crate) fn attend_to_all(&mut self) {
        self.dirty.builds.extend(self.line.iter());
        self.dirty.endings.extend(&self.working);
        if !self.suspicious.is_empty() || !self.reserved.is_empty() {
            let working: Vec<BuildId> = self.working.iter().copied().collect();
            for build in working {
                self.settle(build);
            }
        }
    }
}

/// What `find` finds first in some builds, in the order of the queue; and the builds in which it found nothing, those
/// that are not in the queue among them.
pub(crate) fn first_of(
    cluster: &Cluster,
    builds: &BTreeSet<BuildId>,
    find: impl Fn(&Build) -> Option<Fact>,
) -> (Vec<BuildId>, Option<Fact>) {
    let place = |build: &Build| {
        let share = build.standing.in_line?;
        Some(cluster.line.place(build.priority(), share, build.id))
    };
    let builds = builds.iter();
    let mut builds: Vec<_> = builds
        .map(|id| (cluster.build(*id).and_then(place), *id))
        .collect();
    builds.sort_unstable();
    let mut looked_at = Vec::new();
    for (place, id) in builds {
        let in_line = place.and_then(|_| cluster.build(id));
        let found = in_line.and_then(&find);
        if found.is_some() {
            return (looked_at, found);
        }
        looked_at.push(id);
    }
    (looked_at, None)
}
