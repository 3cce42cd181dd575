//! Which slave works on which build next.
//!
//! Builds share the executors evenly: whoever has the fewest running goes first, the older build
//! where they are equal. An executor never stays free while a build could use it: a build that is
//! still being set up on a slave leaves that slave's executors to others meanwhile.

use super::build::Build;
use super::slave::{BuildOnSlave, Slave};
use super::{Cluster, event::Fact};
use clusterrunner_common::ids::BuildId;

/// The next hand-out or set-up that brings work to a free executor, if there is one.
pub(super) fn next(cluster: &Cluster) -> Option<Fact> {
    if cluster.roomy.is_empty() {
        return None;
    }
    let mut hungry: Vec<&Build> = cluster
        .working
        .iter()
        .filter_map(|id| cluster.builds.get(id))
        .filter(|build| build.num_unstarted() > 0 && build.num_running() < build.max_executors())
        .collect();
    hungry.sort_by_key(|build| (build.num_running(), build.id));
    // Slaves with the most free executors first: that spreads a small build over the farm.
    for (_, id) in cluster.roomy.iter().rev() {
        let slave = cluster.slaves.get(id)?;
        for build in &hungry {
            if let Some(fact) = bring(cluster, slave, build) {
                return Some(fact);
            }
        }
    }
    None
}

/// What brings `slave` and `build` together, if they should be.
fn bring(cluster: &Cluster, slave: &Slave, build: &Build) -> Option<Fact> {
    match slave.builds.get(&build.id) {
        Some(BuildOnSlave::Ready) => hand_out(slave, build),
        Some(BuildOnSlave::SettingUp { .. } | BuildOnSlave::TearingDown) => None,
        None => {
            let refused = build.setup_failures.contains_key(&slave.url);
            let more_are_needed = num_coming(cluster, build.id) < num_missing(build);
            (!refused && more_are_needed).then_some(Fact::SetupRequested {
                slave: slave.id,
                build: build.id,
                start_index: build.next_executor_index,
            })
        }
    }
}

fn hand_out(slave: &Slave, build: &Build) -> Option<Fact> {
    if slave.num_running(build.id) >= build.max_executors_per_slave() {
        return None;
    }
    let subjob = *build.progress()?.unstarted.front()?;
    Some(Fact::SubjobHandedOut {
        slave: slave.id,
        build: build.id,
        subjob,
        attempt: build.subjob(subjob)?.next_attempt(),
    })
}

/// How many more executors the build could keep busy.
fn num_missing(build: &Build) -> usize {
    let allowed = build.max_executors().saturating_sub(build.num_running());
    build.num_unstarted().min(allowed)
}

/// How many executors will be free for the build once the set-ups under way are done.
fn num_coming(cluster: &Cluster, build: BuildId) -> usize {
    let Some(per_slave) = cluster
        .builds
        .get(&build)
        .map(Build::max_executors_per_slave)
    else {
        return 0;
    };
    let setting_up = cluster
        .setting_up
        .range((build, super::FIRST_SLAVE)..=(build, super::LAST_SLAVE));
    setting_up
        .filter_map(|(_, slave)| cluster.slaves.get(slave))
        .map(|slave| slave.num_free().min(per_slave))
        .sum()
}
