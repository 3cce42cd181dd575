//! What leaves memory: archived builds, and registrations of slaves that were replaced, shut down or lost long ago.

use crate::builds::build::Build;
use crate::event::{BuildFact, Fact, SlaveFact};
use crate::measures::Measures;
use crate::slaves::slave::{Presence, Slave};
use crate::{Cluster, Ended, LOST_KEPT, SHUT_DOWN_KEPT};

use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Cluster {
    /// Builds that can be archived: they are over, and no slave has anything of them.
    pub fn retirable(&self) -> impl Iterator<Item = &Build> {
        let held: BTreeSet<BuildId> = self
            .slaves
            .values()
            .flat_map(|slave| {
                let delivering = slave.delivering.iter().map(|(build, _)| *build);
                slave.builds.keys().copied().chain(delivering)
            })
            .collect();
        let builds = self.builds.values();
        let builds = builds.map(Arc::as_ref);
        builds.filter(move |build| build.is_over() && !held.contains(&build.id))
    }

    /// Whether a build is archived.
    #[must_use]
    pub fn is_ended(&self, id: BuildId) -> bool {
        self.ended.contains_key(&id)
    }

    /// Whether there was such a build, but nothing of it is kept any more.
    #[must_use]
    pub fn is_forgotten(&self, id: BuildId) -> bool {
        let existed = (1..=self.last_build).contains(&id.0);
        existed && !self.builds.contains_key(&id) && !self.is_ended(id)
    }

    /// All builds that are kept; see [`Cluster::all_builds_from`].
    pub fn all_builds(&self) -> impl Iterator<Item = (BuildId, Option<&Build>)> {
        self.all_builds_from(BuildId(0))
    }

    /// All builds that are kept and not deleted from this id on, in the order of their ids; `None` for an archived build.
    pub fn all_builds_from(
        &self,
        first: BuildId,
    ) -> impl Iterator<Item = (BuildId, Option<&Build>)> {
        let live = self.builds.range(first..);
        let mut live = live.filter(|(id, _)| !self.is_deleted(**id)).peekable();
        let ended = self.ended.range(first..).map(|(id, _)| id);
        let mut ended = ended.filter(|id| !self.is_deleted(**id)).peekable();
        std::iter::from_fn(move || match (live.peek(), ended.peek()) {
            (Some((id, _)), Some(other)) if *other < *id => ended.next().map(|id| (*id, None)),
            (Some(_), _) => live.next().map(|(id, build)| (*id, Some(build.as_ref()))),
            (None, _) => ended.next().map(|id| (*id, None)),
        })
    }

    /// As [`Cluster::all_builds_from`], but up to this id, the newest first.
    pub fn all_builds_until(
        &self,
        last: BuildId,
    ) -> impl Iterator<Item = (BuildId, Option<&Build>)> {
        let live = self.builds.range(..=last).rev();
        let mut live = live.filter(|(id, _)| !self.is_deleted(**id)).peekable();
        let ended = self.ended.range(..=last).rev().map(|(id, _)| id);
        let mut ended = ended.filter(|id| !self.is_deleted(**id)).peekable();
        std::iter::from_fn(move || match (live.peek(), ended.peek()) {
            (Some((id, _)), Some(other)) if *other > *id => ended.next().map(|id| (*id, None)),
            (Some(_), _) => live.next().map(|(id, build)| (*id, Some(build.as_ref()))),
            (None, _) => ended.next().map(|id| (*id, None)),
        })
    }

    /// What was measured of archived builds.
    #[must_use]
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    pub(crate) fn retired(&self, builds: &[BuildId]) -> Vec<Fact> {
        let wanted: BTreeSet<BuildId> = builds.iter().copied().collect();
        let retirable = self.retirable().map(|build| build.id);
        let retired = retirable.filter(|build| wanted.contains(build));
        retired
            .map(|build| Fact::Build(build, BuildFact::Retired))
            .collect()
    }

    /// Slaves that are of no use to anybody any more.
    pub(crate) fn forgotten_slaves(&self, at: Timestamp) -> Vec<Fact> {
        // The next life of a slave may still have results of this one.
        let needed = self.working.iter().filter_map(|id| self.builds.get(id));
        let needed = needed.flat_map(|build| build.slave_urls.keys().copied());
        let needed: BTreeSet<SlaveId> = needed.chain(self.slaves_with_instances()).collect();
        let is_old = |slave: &&Slave| match &slave.presence {
            Presence::Replaced => !needed.contains(&slave.id),
            Presence::Lost { at: since, .. } => since.until(at) >= LOST_KEPT,
            Presence::Alive | Presence::ShuttingDown | Presence::Ending | Presence::ShutDown => {
                false
            }
        };
        let slaves = self.slaves.values();
        let old = slaves.clone().filter(is_old);
        let shut_down = slaves.rev().filter(|s| s.presence == Presence::ShutDown);
        let forgotten = old.chain(shut_down.skip(SHUT_DOWN_KEPT));
        forgotten
            .map(|slave| Fact::Slave(slave.id, SlaveFact::Forgotten))
            .collect()
    }

    pub(crate) fn retire(&mut self, id: BuildId, at: Timestamp) {
        if let Some(build) = self.builds.remove(&id) {
            self.measures.observe(&build);
            let ended = Ended {
                at,
                project: build.project,
                children: build.first_and_last_child(),
            };
            self.ended.insert(id, ended);
            self.settle_deletion(id);
        }
    }

    pub(crate) fn forget_slave(&mut self, id: SlaveId) {
        self.slaves.remove(&id);
    }
}
