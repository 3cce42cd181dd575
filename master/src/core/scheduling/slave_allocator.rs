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

use super::{prefetch, with_setup};
use crate::core::Cluster;
use crate::core::builds::build::{Build, Subjob};
use crate::core::event::{BuildFact, Fact};
use crate::core::scheduling::set_ups::{set_up_of_any, set_up_on};
use crate::core::slaves::slave::{BuildOnSlave, Slave};
use clusterrunner_common::ids::{BuildId, SlaveId, SubjobId};
use std::collections::BTreeSet;

/// A slave is crowded where this many more builds have something there than two for each executor.
const CROWD: usize = 8;

/// How many of the subjobs that are run again are looked at for a slave. Where all of these failed on this slave, other
/// slaves take them first.
const AGAIN_LOOKED_AT: usize = 64;

/// The next hand-out or set-up that brings work to an executor, if there is one.
pub(in crate::core) fn next(cluster: &mut Cluster) -> Option<Fact> {
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

/// What `find` finds first in some builds, in the order of the queue; and the builds in which it found nothing, those
/// that are not in the queue among them.
pub(in crate::core) fn first_of(
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
    let mean_of = |portion: &crate::core::scheduling::load::Portion| {
        cluster.builds.get(&portion.build)?.mean_us()
    };
    let is_crowded = slave.load.portions().len() > 2 * slave.num_executors as usize + CROWD;
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

pub(in crate::core) fn handed_out(slave: &Slave, build: &Build, subjob: SubjobId) -> Option<Fact> {
    Some(Fact::Build(
        build.id,
        BuildFact::SubjobHandedOut {
            slave: slave.id,
            subjob,
            attempt: build.next_attempt(subjob)?,
        },
    ))
}

/// Whether a slave runs a suspect, which runs alone. The slave need not be reserved any more: draining it and letting it
/// work again ends the reservation.
pub(in crate::core) fn runs_suspect(cluster: &Cluster, slave: &Slave) -> bool {
    if slave.running.len() != 1 {
        return false;
    }
    slave.running.iter().any(|(build, subjob)| {
        let build = cluster.builds.get(build);
        let subjob = build.and_then(|build| build.subjob(*subjob));
        subjob.is_some_and(Subjob::is_suspect)
    })
}

/// The subjob of a build that an idle executor of a slave gets next. Subjobs that are set aside go first: they have
/// waited longest. Suspects are handed out by [`crate::core::builds::isolation`].
pub(in crate::core) fn next_subjob(
    cluster: &Cluster,
    slave: &Slave,
    build: &Build,
) -> Option<SubjobId> {
    if runs_suspect(cluster, slave) {
        return None;
    }
    let mut aside = open(build).filter(|(_, subjob)| may_have(cluster, slave, build, subjob));
    let first = aside.next().map(|(id, _)| id);
    first
        .or_else(|| build.progress()?.unstarted.front())
        .or_else(|| next_again(cluster, slave, build))
}

/// The subjob that is run again next on a slave. It goes to a slave on which it has not failed; to another only if there
/// is no such slave.
fn next_again(cluster: &Cluster, slave: &Slave, build: &Build) -> Option<SubjobId> {
    let again = build.progress()?.again.iter().take(AGAIN_LOOKED_AT);
    let mut again = again.filter_map(|id| Some((id, build.subjob(id)?)));
    let fitting = again.find(|(_, subjob)| may_have(cluster, slave, build, subjob));
    fitting.map(|(id, _)| id)
}

pub(in crate::core) fn open(build: &Build) -> impl Iterator<Item = (SubjobId, &Subjob)> {
    build.set_aside().filter(|(_, subjob)| !subjob.is_suspect())
}

/// Whether a slave may have a subjob that is set aside or run again. A subjob whose result from a slave failed, was
/// unusable or doubted goes to another slave, even a busy one; to the same slave only if there is no other.
fn may_have(cluster: &Cluster, slave: &Slave, build: &Build, subjob: &Subjob) -> bool {
    !subjob.is_shunned_by(slave.id) || !cluster.has_better(build, subjob)
}

/// How many more subjobs of the build all slaves together may have, beside the one kept for its suspects.
pub(in crate::core) fn num_allowed(cluster: &Cluster, build: &Build) -> usize {
    let kept = cluster
        .reserved
        .get(&build.id)
        .and_then(|id| cluster.slaves.get(id));
    let is_idle = |slave: &Slave| slave.num_running(build.id) == 0;
    let kept = usize::from(kept.is_some_and(is_idle));
    build
        .max_executors()
        .saturating_sub(build.num_running() + kept)
}

/// How many more executors the build could keep busy now.
pub(in crate::core) fn num_missing(cluster: &Cluster, build: &Build) -> usize {
    let waiting = match build.progress() {
        Some(progress) => progress.unstarted.len() + progress.again.len() + open(build).count(),
        None => build.num_unstarted(),
    };
    waiting.min(num_allowed(cluster, build))
}
