//! Which slave sets which build up next.

use crate::core::Cluster;
use crate::core::builds::build::Build;
use crate::core::event::Fact;
use crate::core::scheduling::dirty::Room;
use crate::core::scheduling::slave_allocator::{
    FEW, in_line, num_missing, open, place, ready_in_line,
};
use crate::core::slaves::slave::{BuildOnSlave, Slave};
use clusterrunner_common::ids::{BuildId, SlaveId};

/// A set-up of the first in line of the builds that are to be looked at.
pub(in crate::core) fn set_up_of_any(cluster: &mut Cluster) -> Option<Fact> {
    if cluster.dirty.builds_to_set_up.is_empty() {
        return None;
    }
    let (mut looked_at, mut found) = (Vec::new(), None);
    for build in in_line(cluster, &cluster.dirty.builds_to_set_up) {
        let set_up = set_up_of(cluster, build);
        found = set_up.map(|(room, fact)| (build.id, room, fact));
        if found.is_some() {
            break;
        }
        looked_at.push(build.id);
    }
    let dirty = &mut cluster.dirty;
    let Some((build, room, fact)) = found else {
        dirty.builds_to_set_up.clear();
        return None;
    };
    for looked_at in looked_at {
        dirty.builds_to_set_up.remove(&looked_at);
    }
    dirty.search = Some((build, room));
    Some(fact)
}

/// A set-up of a build that a slave does not have and that would get its next executor.
pub(in crate::core) fn set_up_on(cluster: &mut Cluster, slave: SlaveId) -> Option<Fact> {
    let slave = cluster.slaves.get(&slave)?;
    if !slave.takes_work() || slave.reserved_for.is_some() {
        return None;
    }
    let has_room = slave.room().0 > 0;
    let mut sated = Vec::new();
    let fact = wanted_set_up(cluster, slave, has_room, &mut sated);
    for build in sated {
        if has_room {
            cluster.dirty.wants_nothing(build);
        } else {
            cluster.dirty.wanting_busy.remove(&build);
        }
    }
    fact
}

/// As [`set_up_on`]; tells which builds turned out to want no such slave.
fn wanted_set_up(
    cluster: &Cluster,
    slave: &Slave,
    has_room: bool,
    sated: &mut Vec<BuildId>,
) -> Option<Fact> {
    let wanting = if has_room {
        &cluster.dirty.wanting
    } else {
        &cluster.dirty.wanting_busy
    };
    // Most often it has those few already.
    if wanting.len() < FEW && wanting.iter().all(|id| slave.builds.contains_key(id)) {
        return None;
    }
    let mut next = None;
    for build in in_line(cluster, wanting) {
        if !(has_room || wants_busy_slave(cluster, build)) || !wants_any_slave(cluster, build) {
            sated.push(build.id);
            continue;
        }
        if slave.num_free() == 0 {
            let next = next.get_or_insert_with(|| {
                let first = ready_in_line(cluster, slave).next();
                first.and_then(|build| place(cluster, build))
            });
            // The next executor goes to one that the slave has.
            if next.is_some() && *next < place(cluster, build) {
                return None;
            }
        }
        if !slave.builds.contains_key(&build.id)
            && let Some(fact) = set_up(cluster, slave, build)
        {
            return Some(fact);
        }
    }
    None
}

/// A set-up of a build on a slave with free executors, and how much room that slave has.
fn set_up_of(cluster: &Cluster, build: &Build) -> Option<(Room, Fact)> {
    if !wants_any_slave(cluster, build) {
        return None;
    }
    let wants_busy = wants_busy_slave(cluster, build);
    let roomy = match cluster.dirty.search {
        // A slave of the original may be fit as soon as it has cleared something else away.
        Some((of, last)) if of == build.id && cluster.num_legacy == 0 => {
            cluster.roomy.range(..=last)
        }
        Some(_) | None => cluster.roomy.range(..),
    };
    let roomy = roomy.rev();
    let mut roomy = roomy.take_while(|(uncommitted, ..)| *uncommitted > 0 || wants_busy);
    roomy.find_map(|room| {
        let slave = cluster.slaves.get(&room.2)?;
        let has_it = slave.builds.contains_key(&build.id);
        let fact = (!has_it).then(|| set_up(cluster, slave, build));
        Some((*room, fact.flatten()?))
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
        Some(_) | None => Some(Fact::SetupRequested {
            slave: slave.id,
            build: build.id,
            start_index: build.next_executor_index,
        }),
    }
}

/// Whether the slaves that a build has are too few. Executors that are busy, or that others count on, it
/// wants only up to its share of the farm, and none where it would be done before its set-up is.
fn wants_slave(cluster: &Cluster, slave: &Slave, build: &Build) -> bool {
    let (uncommitted, ..) = slave.room();
    (uncommitted > 0 || wants_busy_slave(cluster, build)) && wants_any_slave(cluster, build)
}

/// Whether everybody who wants one more slave is remembered to.
pub(in crate::core) fn remembers_who_wants(cluster: &Cluster) -> bool {
    let line = cluster.line.iter().filter_map(|id| cluster.build(id));
    let mut wanting = line.filter(|build| wants_any_slave(cluster, build));
    let dirty = &cluster.dirty;
    wanting.all(|build| {
        dirty.wanting.contains(&build.id)
            && (dirty.wanting_busy.contains(&build.id) || !wants_busy_slave(cluster, build))
    })
}

fn wants_busy_slave(cluster: &Cluster, build: &Build) -> bool {
    let standing = &build.standing;
    standing.executors + standing.coming < fair_share(cluster, build)
}

fn wants_any_slave(cluster: &Cluster, build: &Build) -> bool {
    build.standing.coming < num_missing(cluster, build)
        && (open(build).next().is_some() || !ends_before_setup(build))
}

/// How many executors a build has where all are shared out by weight; one at least.
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

/// A slave of the original has one build at a time: it gives up one of which it runs nothing and
/// will be given nothing now.
fn makes_room(slave: &Slave, held: &Build, place: BuildOnSlave) -> Option<Fact> {
    let is_hungry = held.num_unstarted() > 0 && held.num_running() < held.max_executors();
    let is_done = place == BuildOnSlave::Ready && slave.running.is_empty() && !is_hungry;
    is_done.then_some(Fact::TeardownRequested {
        slave: slave.id,
        build: held.id,
    })
}
