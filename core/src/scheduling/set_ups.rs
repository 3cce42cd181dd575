//! Set-ups: which slave sets which build up next.

use crate::Cluster;
use crate::builds::build::Build;
use crate::event::{BuildFact, Fact};
use crate::scheduling::dirty::first_of;
use crate::scheduling::hand_outs::{num_missing, open};
use crate::scheduling::load::is_crowd;
use crate::slaves::slave::{BuildOnSlave, Slave};
use clusterrunner_common::ids::SlaveId;

/// A set-up of the first dirty build in the queue that needs one.
pub(crate) fn set_up_of_any(cluster: &mut Cluster) -> Option<Fact> {
    let (looked_at, set_up) = first_of(cluster, &cluster.dirty.builds_to_set_up, |build| {
        set_up_of(cluster, build)
    });
    for build in looked_at {
        cluster.dirty.builds_to_set_up.remove(&build);
    }
    set_up
}

/// A set-up on a slave: of a build that the slave does not have and that would get its next idle executor.
pub(crate) fn set_up_on(cluster: &Cluster, slave: SlaveId) -> Option<Fact> {
    let slave = cluster.slaves.get(&slave)?;
    if !slave.takes_work() || slave.reserved_for.is_some() {
        return None;
    }
    let is_busy = slave.num_free() == 0;
    // More builds would only wait there.
    if is_busy && is_crowd(slave.builds.len(), slave.num_executors) {
        let open = slave.builds.keys();
        let open = open.filter(|id| cluster.working.contains(id));
        if is_crowd(open.count(), slave.num_executors) {
            return None;
        }
    }
    for build in cluster.line.iter().filter_map(|id| cluster.build(id)) {
        match slave.builds.get(&build.id) {
            // The next idle executor goes to a build that the slave has.
            Some(BuildOnSlave::Ready) if is_busy => return None,
            Some(_) => {}
            None => {
                let fact = set_up(cluster, slave, build);
                if fact.is_some() {
                    return fact;
                }
            }
        }
    }
    None
}

/// A set-up of a build on a slave with idle executors, the slave with most room first.
fn set_up_of(cluster: &Cluster, build: &Build) -> Option<Fact> {
    if !wants_any_slave(cluster, build) {
        return None;
    }
    let wants_busy = wants_busy_slave(cluster, build);
    let roomy = cluster.roomy.iter().rev();
    let roomy = roomy.take_while(|(uncommitted, ..)| *uncommitted > 0 || wants_busy);
    let mut slaves = roomy.filter_map(|(.., id)| cluster.slaves.get(id));
    slaves.find_map(|slave| {
        let has_it = slave.builds.contains_key(&build.id);
        (!has_it).then(|| set_up(cluster, slave, build))?
    })
}

fn set_up(cluster: &Cluster, slave: &Slave, build: &Build) -> Option<Fact> {
    if !wants_slave(cluster, slave, build) || !build.may_be_set_up_by(slave) {
        return None;
    }
    match slave.builds.first_key_value() {
        Some(_) if slave.is_legacy && slave.num_free() == 0 => None,
        Some((held, place)) if slave.is_legacy => {
            let held = cluster.builds.get(held)?;
            makes_room(slave, held, *place)
        }
        Some(_) | None => Some(Fact::Build(
            build.id,
            BuildFact::SetupRequested {
                slave: slave.id,
                start_index: build.next_executor_index,
            },
        )),
    }
}

/// Whether a build should get another slave. It claims executors that are busy, or that other set-ups are for, only up to
/// its share of the farm, and gets none where it would end before the set-up does.
fn wants_slave(cluster: &Cluster, slave: &Slave, build: &Build) -> bool {
    let (uncommitted, ..) = slave.room();
    (uncommitted > 0 || wants_busy_slave(cluster, build)) && wants_any_slave(cluster, build)
}

fn wants_busy_slave(cluster: &Cluster, build: &Build) -> bool {
    let standing = &build.standing;
    standing.executors + standing.coming < fair_share(cluster, build)
}

fn wants_any_slave(cluster: &Cluster, build: &Build) -> bool {
    build.standing.coming < num_missing(cluster, build)
        && (open(build).next().is_some() || !ends_before_setup(build))
}

/// How many executors a build has if all are shared out by weight; one at least.
fn fair_share(cluster: &Cluster, build: &Build) -> usize {
    let all = cluster.num_executors as u64 * u64::from(build.weight());
    let share = all.div_ceil(cluster.line.weight.max(1));
    usize::try_from(share).unwrap_or(usize::MAX).max(1)
}

fn ends_before_setup(build: &Build) -> bool {
    let ends = || {
        let setup_us = build.setup_ms()?.checked_mul(1000)?;
        let executors = build.standing.executors as u64;
        Some(build.left_us()?.checked_div(executors)? < setup_us)
    };
    ends().unwrap_or(false)
}

/// A slave of the original has one build at a time: it gives up a build of which it runs nothing and will get nothing
/// now.
fn makes_room(slave: &Slave, held: &Build, place: BuildOnSlave) -> Option<Fact> {
    let is_hungry = held.num_unstarted() > 0 && held.num_running() < held.max_executors();
    let is_done = place == BuildOnSlave::Ready && slave.running.is_empty() && !is_hungry;
    is_done.then_some(Fact::Build(
        held.id,
        BuildFact::TeardownRequested { slave: slave.id },
    ))
}
