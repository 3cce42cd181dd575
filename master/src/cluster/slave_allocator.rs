//! Which slave works on which build next.
//!
//! The builds with the highest priority go first. Those of one priority share the executors evenly:
//! whoever has the fewest running goes first, the older build where they are equal. However much work
//! of a higher priority there is, one executor goes to each lower one as soon as it is free: all builds
//! get on. An executor never stays free while a build could use it: a build that is
//! still being set up on a slave leaves that slave's executors to others meanwhile.

use super::build::{Build, Subjob};
use super::slave::{BuildOnSlave, Slave};
use super::{Cluster, event::Fact};
use clusterrunner_common::ids::SubjobId;
use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// The next hand-out or set-up that brings work to a free executor, if there is one.
pub(super) fn next(cluster: &Cluster) -> Option<Fact> {
    if cluster.roomy.is_empty() {
        return None;
    }
    let mut hungry: Vec<Hungry<'_>> = cluster
        .working
        .iter()
        .filter_map(|id| cluster.builds.get(id))
        .filter(|build| build.num_unstarted() > 0 && num_allowed(cluster, build) > 0)
        .map(|build| Hungry {
            build,
            wants_slave: OnceCell::new(),
        })
        .collect();
    let served = served(cluster);
    hungry.sort_by_key(|hungry| {
        let build = hungry.build;
        let is_served = served.contains(&build.priority());
        let first = (is_served, Reverse(build.priority()));
        (first, build.num_running(), build.id)
    });
    // Slaves with the most free executors first: that spreads a small build over the farm.
    for (_, id) in cluster.roomy.iter().rev() {
        let slave = cluster.slaves.get(id)?;
        for hungry in &hungry {
            if let Some(fact) = bring(cluster, slave, hungry) {
                return Some(fact);
            }
        }
    }
    None
}

/// The priorities of which something runs.
fn served(cluster: &Cluster) -> BTreeSet<i32> {
    let working = cluster.working.iter();
    let working = working.filter_map(|id| cluster.builds.get(id));
    let running = working.filter(|build| build.num_running() > 0);
    running.map(|build| build.priority()).collect()
}

/// A build that more executors could work on.
struct Hungry<'a> {
    build: &'a Build,
    /// Whether the slaves that have it are too few; found out once at most, since all slaves with
    /// free executors are looked at for it.
    wants_slave: OnceCell<bool>,
}

/// What brings a slave and a build together, if they should be.
fn bring(cluster: &Cluster, slave: &Slave, hungry: &Hungry<'_>) -> Option<Fact> {
    let build = hungry.build;
    match slave.builds.get(&build.id) {
        Some(BuildOnSlave::Ready) => hand_out(cluster, slave, build),
        Some(BuildOnSlave::SettingUp { .. } | BuildOnSlave::TearingDown) => None,
        None => {
            let is_wanted = || {
                let wants_slave = || num_coming(cluster, build) < num_missing(cluster, build);
                *hungry.wants_slave.get_or_init(wants_slave)
            };
            if !build.may_be_set_up_by(slave) || !is_wanted() {
                return None;
            }
            match slave.builds.first_key_value() {
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
    }
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

fn hand_out(cluster: &Cluster, slave: &Slave, build: &Build) -> Option<Fact> {
    if slave.num_running(build.id) >= build.max_executors_per_slave() {
        return None;
    }
    let subjob = next_subjob(cluster, slave, build)?;
    Some(Fact::SubjobHandedOut {
        slave: slave.id,
        build: build.id,
        subjob,
        attempt: build.subjob(subjob)?.next_attempt(),
    })
}

/// Whether a slave runs a suspect, which runs alone. It need not be reserved any more: one that was
/// drained and let to work again meanwhile is not.
fn runs_suspect(cluster: &Cluster, slave: &Slave) -> bool {
    slave.running.iter().any(|(build, subjob)| {
        let build = cluster.builds.get(build);
        let subjob = build.and_then(|build| build.subjob(*subjob));
        subjob.is_some_and(Subjob::is_suspect)
    })
}

/// The subjob of a build that a slave with a free executor gets next. Those set aside go first: they
/// have waited longest. Suspects are not here, see [`super::isolation`].
pub(super) fn next_subjob(cluster: &Cluster, slave: &Slave, build: &Build) -> Option<SubjobId> {
    if runs_suspect(cluster, slave) {
        return None;
    }
    let mut aside = open(build).filter(|(_, subjob)| may_have(cluster, slave, build, subjob));
    let first = aside.next().map(|(id, _)| id);
    first.or_else(|| build.progress()?.unstarted.front())
}

fn open(build: &Build) -> impl Iterator<Item = (SubjobId, &Subjob)> {
    build.set_aside().filter(|(_, subjob)| !subjob.is_suspect())
}

/// A subjob whose result from a slave could not be used goes to another one, be it busy now; to the
/// same one only where there is no other.
fn may_have(cluster: &Cluster, slave: &Slave, build: &Build, subjob: &Subjob) -> bool {
    let is_better = |other: &Slave| {
        !subjob.unusable_from.contains(&other.id)
            && other.takes_work()
            && match other.builds.get(&build.id) {
                Some(BuildOnSlave::Ready | BuildOnSlave::SettingUp { .. }) => true,
                Some(BuildOnSlave::TearingDown) => false,
                None => build.may_be_set_up_by(other),
            }
    };
    !subjob.unusable_from.contains(&slave.id) || !cluster.slaves().any(is_better)
}

/// How many more executors may work on the build, beside the one that is kept for its suspects.
pub(super) fn num_allowed(cluster: &Cluster, build: &Build) -> usize {
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

/// How many more executors the build could keep busy.
fn num_missing(cluster: &Cluster, build: &Build) -> usize {
    let waiting = match build.progress() {
        Some(progress) => progress.unstarted.len() + open(build).count(),
        None => build.num_unstarted(),
    };
    waiting.min(num_allowed(cluster, build))
}

/// How many waiting subjobs of the build a slave may have.
fn num_open(cluster: &Cluster, slave: &Slave, build: &Build) -> usize {
    let Some(progress) = build.progress() else {
        return build.num_unstarted();
    };
    let aside = open(build).filter(|(_, subjob)| may_have(cluster, slave, build, subjob));
    progress.unstarted.len() + aside.count()
}

/// How many free executors the build can have on slaves that have it, once the set-ups under way
/// are done.
fn num_coming(cluster: &Cluster, build: &Build) -> usize {
    let of_build = (build.id, super::FIRST_SLAVE)..=(build.id, super::LAST_SLAVE);
    let setting_up = cluster.setting_up.range(of_build);
    let setting_up = setting_up.filter_map(|(_, id)| cluster.slaves.get(id));
    let with_room = cluster.roomy.iter();
    let with_room = with_room.filter_map(|(_, id)| cluster.slaves.get(id));
    let ready = with_room.filter(|s| s.builds.get(&build.id) == Some(&BuildOnSlave::Ready));
    let usable = |slave: &Slave| {
        let allowed = build.max_executors_per_slave();
        let allowed = allowed.saturating_sub(slave.num_running(build.id));
        slave
            .num_free()
            .min(allowed)
            .min(num_open(cluster, slave, build))
    };
    setting_up.chain(ready).map(usable).sum()
}
