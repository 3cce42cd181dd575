//! Completes a cluster that was read from a snapshot: computes what is derived and not stored.

use crate::accounts::projects::Project;
use crate::builds::build::{Build, BuildState};
use crate::slaves::doubts::is_in_doubt;
use crate::slaves::quarantine::is_quarantined;
use crate::slaves::slave::{BuildOnSlave, Presence};
use crate::{Cluster, Ended};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SlaveId, SubjobId};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Cluster {
    /// Gives a cluster as it was stored its builds back, and makes anew what is derived.
    #[must_use]
    pub fn restore(mut self, builds: impl IntoIterator<Item = Build>) -> Self {
        self.builds = builds
            .into_iter()
            .map(|build| (build.id, Arc::new(build)))
            .collect();
        for build in self.builds.values_mut() {
            let build = Arc::make_mut(build);
            build.order_unstarted();
            if build.waiting_suspect().is_some() {
                self.suspicious.insert(build.id);
            }
            match build.state {
                BuildState::Queued => {
                    if build.preparations.deaths > 0 {
                        self.deadly.insert(build.id);
                    }
                    let queue = self.queued.entry(build.project);
                    queue.or_default().insert(build.id);
                }
                BuildState::Preparing => {
                    if build.preparations.deaths > 0 {
                        self.deadly.insert(build.id);
                    }
                    self.preparing.insert(build.preparation(), build.id);
                }
                BuildState::Prepared | BuildState::Building(_) => {
                    self.working.insert(build.id);
                }
                BuildState::Split
                | BuildState::Archiving
                | BuildState::Finished
                | BuildState::Error { .. }
                | BuildState::Canceled => {}
            }
        }
        for slave in self.slaves.values() {
            if slave.presence == Presence::ShuttingDown {
                self.shutting_down.insert(slave.id);
            }
            if slave.withdraws() {
                self.withdrawing.insert(slave.id);
            }
            if is_quarantined(slave) {
                self.quarantined.insert(slave.id);
            }
            if is_in_doubt(slave) {
                self.doubted.insert(slave.id);
            }
            if let Some(build) = slave.reserved_for {
                self.reserved.insert(build, slave.id);
            }
            for (build, place) in &slave.builds {
                if !self.working.contains(build) && *place != BuildOnSlave::TearingDown {
                    self.leftover.insert((slave.id, *build));
                }
            }
        }
        self.ripe = self.derived_ripe();
        self.failed_enough = self.derived_failed_enough();
        self.restore_deletions();
        self.restore_details();
        self.projects = self.derived_projects([]);
        self.accounts = self.accounts.restored();
        self.restore_bookmarks();
        self.templates = self.templates.restored();
        self.instances = self.instances.restored();
        self.apps = self.apps.restored();
        self.attend_to_instances();
        self.attend_to_apps();
        self.derive_shares();
        self
    }

    /// As [`Cluster::restore`] where some builds may be missing. No slave keeps what it had: it
    /// connects anew, and what it ran goes back to the queues.
    #[must_use]
    pub fn restore_damaged(mut self, builds: impl IntoIterator<Item = Build>) -> Self {
        self.slaves.clear();
        self.sick.clear();
        let mut cluster = self.restore(builds);
        for build in cluster.builds.values_mut() {
            let build = Arc::make_mut(build);
            let running: Vec<SlaveId> = build
                .progress()
                .into_iter()
                .flat_map(|progress| progress.running.values().map(|(slave, _)| *slave))
                .collect();
            let kept = build.progress().into_iter();
            let kept: Vec<SubjobId> = kept.flat_map(|p| p.kept.keys().copied()).collect();
            let reason = "the master's journal was repaired";
            for slave in running {
                build.take_back(slave, reason);
            }
            for subjob in kept {
                build.return_subjob(subjob, reason);
            }
            cluster.last_build = cluster.last_build.max(build.id.0);
            let slaves = build.slave_urls.last_key_value().map_or(0, |(id, _)| id.0);
            cluster.last_slave = cluster.last_slave.max(slaves);
        }
        cluster.lose_children();
        // What the lost end of the journal said of placements is voided when the incarnation begins.
        cluster.lift_instances(0);
        cluster.adopt_projects();
        let working: Vec<BuildId> = cluster.working.iter().copied().collect();
        for build in working {
            cluster.settle(build);
        }
        cluster
    }

    /// Never gives a build an id up to `last` again.
    pub fn reserve_ids(&mut self, last: BuildId) {
        self.last_build = self.last_build.max(last.0);
    }

    /// Makes the list of archived builds match a repaired journal: the builds in `whole` that are not in memory.
    /// `whole` says when each was over.
    pub fn have_ended(&mut self, whole: &BTreeMap<BuildId, (Timestamp, Project)>) {
        self.ended.retain(|id, _| whole.contains_key(id));
        for (id, (at, project)) in whole {
            if !self.builds.contains_key(id) && !self.forgotten.contains(id) {
                let ended = Ended {
                    at: *at,
                    project: project.id,
                    children: None,
                };
                self.ended.entry(*id).or_insert(ended);
            }
        }
        self.restore_deletions();
        self.restore_details();
        self.projects = self.derived_projects(whole.values().map(|(_, project)| project));
        self.adopt_projects();
        self.restore_bookmarks();
    }
}
