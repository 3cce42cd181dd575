//! Which slave works on which build next.
//!
//! Builds get executors in the order of [`super::build_queue`]: the highest priority first, builds of one priority by
//! weight. However much work of a higher priority there is, one executor goes to each lower priority as soon as it
//! is idle: all builds get on. No executor stays idle while a build could use it: a build that is still being set up
//! on a slave leaves that slave's executors to other builds, unless the set-up is quick ([`super::with_setup`]).
//!
//! A slave whose executors are all busy gets prefetch only of the first build in the queue that could use its next
//! idle executor; [`super::prefetch`] says how much. So the prefetch runs out when it is another build's turn. Builds
//! of one priority may all have prefetch on a slave: the slave gives each its executors by weight.

use super::dirty::first_of;
use super::hand_outs::{handed_out, next_subjob, num_allowed, open, runs_suspect};
use super::{prefetch, with_setup};
use crate::Cluster;
use crate::builds::build::Build;
use crate::event::Fact;
use crate::scheduling::load::is_crowd;
use crate::scheduling::set_ups::{set_up_of_any, set_up_on};
use crate::slaves::slave::{BuildOnSlave, Slave};
use clusterrunner_common::ids::SlaveId;

/// The next hand-out or set-up that brings work to an executor, if there is one.
pub(crate) fn next(cluster: &mut Cluster) -> Option<Fact> {
    if let Some(fact) = with_setup::next(cluster) {
        return Some(fact);
    }
    if cluster.line.is_empty() {
        let dirty = &mut cluster.dirty;
        dirty.slaves.clear();
        dirty.slaves_to_set_up.clear();
        dirty.builds.clear();
        dirty.builds_to_set_up.clear();
        return None;
    }
    // Hand-outs go before set-ups, which take longer.
    while let Some(room) = cluster.dirty.slaves.last().copied() {
        if let Some(fact) = hand_out_on(cluster, room.2) {
            return Some(fact);
        }
        cluster.dirty.slaves.remove(&room);
        cluster.dirty.slaves_to_set_up.insert(room.2);
    }
    if let Some(fact) = hand_out_of_any(cluster) {
        return Some(fact);
    }
    while let Some(slave) = cluster.dirty.slaves_to_set_up.last().copied() {
        if let Some(fact) = set_up_on(cluster, slave) {
            return Some(fact);
        }
        cluster.dirty.slaves_to_set_up.remove(&slave);
    }
    set_up_of_any(cluster)
}

/// A hand-out of the first dirty build in the queue that has one for some slave.
fn hand_out_of_any(cluster: &mut Cluster) -> Option<Fact> {
    let (looked_at, hand_out) = first_of(cluster, &cluster.dirty.builds, |build| {
        hand_out_of(cluster, build)
    });
    for build in looked_at {
        cluster.dirty.builds.remove(&build);
        cluster.dirty.builds_to_set_up.insert(build);
    }
    hand_out
}

/// The queued builds that a slave is ready for, in the order of the queue.
fn ready_in_line<'a>(cluster: &'a Cluster, slave: &'a Slave) -> impl Iterator<Item = &'a Build> {
    let ready = (slave.load.ready > 0).then(|| cluster.line.ready());
    let ready = ready.into_iter().flatten();
    let ready = ready.filter(|id| slave.builds.get(id) == Some(&BuildOnSlave::Ready));
    ready.filter_map(|id| cluster.build(id))
}

/// What a slave gets now: a subjob for an idle executor, or prefetch.
fn hand_out_on(cluster: &Cluster, slave: SlaveId) -> Option<Fact> {
    let slave = cluster.slaves.get(&slave)?;
    if slave.num_free() > 0 {
        let mut builds = ready_in_line(cluster, slave);
        return builds.find_map(|build| hand_out(cluster, slave, build));
    }
    let is_bound = slave.reserved_for.is_some() || slave.limit.is_some();
    if !slave.takes_work() || is_bound || runs_suspect(cluster, slave) {
        return None;
    }
    let mean_of =
        |portion: &crate::scheduling::load::Portion| cluster.builds.get(&portion.build)?.mean_us();
    let is_crowded = is_crowd(slave.load.portions().len(), slave.num_executors);
    let mut peers = None;
    for build in ready_in_line(cluster, slave) {
        if peers.is_some_and(|peers| peers != build.priority()) {
            return None;
        }
        if slave.num_running(build.id) >= build.max_executors_per_slave() {
            continue;
        }
        // A subjob that is set aside waits for an idle executor, and so does the rest of its build.
        let is_aside = open(build).next().is_some();
        if !is_aside && let Some(subjob) = prefetch::next(slave, build, mean_of) {
            return handed_out(slave, build, subjob);
        }
        let own = slave.load.of(build.id);
        if own.is_none_or(|own| own.waiting() == 0 || is_crowded && own.executors == 0) {
            // The next idle executor is for this build, so no other build may have prefetch there. On a crowded
            // slave more prefetch is no use, and each look would have to pass it.
            return None;
        }
        peers = Some(build.priority());
    }
    None
}

/// A hand-out of a build to a slave that has it and has idle executors.
fn hand_out_of(cluster: &Cluster, build: &Build) -> Option<Fact> {
    if !build.standing.is_ready() || num_allowed(cluster, build) == 0 {
        return None;
    }
    // Slaves with the most idle executors first: that spreads a small build over the farm.
    let roomy = cluster.roomy.iter().rev();
    let mut slaves = roomy.filter_map(|(.., id)| cluster.slaves.get(id));
    slaves.find_map(|slave| hand_out(cluster, slave, build))
}

/// A hand-out of a build to an idle executor of a slave.
fn hand_out(cluster: &Cluster, slave: &Slave, build: &Build) -> Option<Fact> {
    if slave.builds.get(&build.id) != Some(&BuildOnSlave::Ready)
        || slave.num_running(build.id) >= build.max_executors_per_slave()
        || num_allowed(cluster, build) == 0
    {
        return None;
    }
    handed_out(slave, build, next_subjob(cluster, slave, build)?)
}
