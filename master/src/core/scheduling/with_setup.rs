//! Hand-outs that go to a slave together with the set-up of their build.
//!
//! A set-up is mostly a matter of milliseconds where a slave has had the job before. What its free executors
//! can begin with goes along then, so that it costs no call and no round trip of its own. Where the last set-up
//! of the job took its time, or there was none, executors are better kept for whoever is ready first.

use crate::core::Cluster;
use crate::core::builds::build::Build;
use crate::core::event::Fact;
use crate::core::scheduling::slave_allocator::{
    handed_out, next_subjob, num_allowed, runs_suspect,
};
use crate::core::slaves::slave::BuildOnSlave;
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// How long a set-up may take that is not worth keeping executors for others: as much as may wait for an
/// executor anyway, see [`crate::core::scheduling::prefetch`].
const QUICK_MS: u64 = 250;

/// Of how many jobs a slave's set-ups are remembered.
const REMEMBERED: usize = 64;

/// Jobs whose last set-up on a slave was quick. No part of the state: what is forgotten costs a round trip,
/// and two clusters that differ in it only are equal.
#[derive(Clone, Debug, Default)]
pub(in crate::core) struct QuickSetups(BTreeSet<u64>);

impl PartialEq for QuickSetups {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for QuickSetups {}

impl QuickSetups {
    /// A set-up of a build took so long; `None` if it failed.
    pub(in crate::core) fn note(&mut self, build: &Build, took_ms: Option<u64>) {
        let job = job_of(build);
        if took_ms.is_none_or(|took| took > QUICK_MS) {
            self.0.remove(&job);
            return;
        }
        if self.0.len() >= REMEMBERED && !self.0.contains(&job) {
            // Whichever: their keys are random.
            self.0.pop_first();
        }
        self.0.insert(job);
    }
}

fn job_of(build: &Build) -> u64 {
    let mut hasher = DefaultHasher::new();
    build.request.project_key().hash(&mut hasher);
    let job = build.plan.as_ref().map(|plan| &plan.job_name);
    job.hash(&mut hasher);
    hasher.finish()
}

/// What goes to a slave along with the set-up that it was asked for last.
pub(in crate::core) fn next(cluster: &mut Cluster) -> Option<Fact> {
    let (slave, build) = cluster.dirty.set_up?;
    let fact = hand_out(cluster, slave, build);
    if fact.is_none() {
        cluster.dirty.set_up = None;
    }
    fact
}

fn hand_out(cluster: &Cluster, slave: SlaveId, build: BuildId) -> Option<Fact> {
    let (slave, build) = (cluster.slaves.get(&slave)?, cluster.builds.get(&build)?);
    let place = slave.builds.get(&build.id);
    let counts_on_some =
        matches!(place, Some(BuildOnSlave::SettingUp { executors, .. }) if *executors > 0);
    if !counts_on_some
        || slave.is_legacy
        || slave.num_free() == 0
        || slave.num_running(build.id) >= build.max_executors_per_slave()
        || num_allowed(cluster, build) == 0
        || runs_suspect(cluster, slave)
        || !slave.quick_setups.0.contains(&job_of(build))
    {
        return None;
    }
    let subjob = next_subjob(cluster, slave, build)?;
    let is_watched = build.subjob(subjob)?.is_watched();
    (!is_watched).then(|| handed_out(slave, build, subjob))?
}

impl Cluster {
    /// One of the executors that a set-up is for has got its hand-out.
    pub(in crate::core) fn note_hand_out_with_setup(&mut self, slave: SlaveId, build: BuildId) {
        let place = self.slaves.get(&slave);
        let place = place.and_then(|slave| slave.builds.get(&build).copied());
        if let Some(BuildOnSlave::SettingUp {
            start_index,
            executors,
            since,
        }) = place
        {
            let place = BuildOnSlave::SettingUp {
                start_index,
                executors: executors.saturating_sub(1),
                since,
            };
            self.put(slave, build, Some(place));
        }
    }
}
