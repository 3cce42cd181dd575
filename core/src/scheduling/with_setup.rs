//! Hand-outs that travel with the set-up of their build.
//!
//! A set-up mostly takes milliseconds where a slave has had the job before. Then hand-outs for its idle executors travel
//! with the set-up and cost no call and no round trip of their own. Where the last set-up of the job was slow, or there
//! was none, the executors are better left to builds that are ready.

use crate::Cluster;
use crate::builds::build::Build;
use crate::event::Fact;
use crate::scheduling::hand_outs::{handed_out, next_subjob, num_allowed, runs_suspect};
use crate::slaves::slave::BuildOnSlave;
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Which job of which project a build is of, as a number.
pub(crate) fn job_of(build: &Build) -> u64 {
    let mut hasher = DefaultHasher::new();
    build.project.hash(&mut hasher);
    let job = build.plan.as_ref().map(|plan| &plan.job_name);
    job.hash(&mut hasher);
    hasher.finish()
}

/// A hand-out that travels with the latest set-up request.
pub(crate) fn next(cluster: &mut Cluster) -> Option<Fact> {
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
        || !slave.quick_setups.has(job_of(build))
        // The slave would begin batches of what travels with the set-up, and that is little.
        || build.has_batches()
    {
        return None;
    }
    let subjob = next_subjob(cluster, slave, build)?;
    let is_watched = build.subjob(subjob)?.is_watched();
    (!is_watched).then(|| handed_out(slave, build, subjob))?
}

impl Cluster {
    /// Counts down the executors that a set-up is for when one of them gets a hand-out.
    pub(crate) fn note_hand_out_with_setup(&mut self, slave: SlaveId, build: BuildId) {
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
