//! Where may be hunted: in builds that have nothing more to hand out, on executors that nothing waits for.

use crate::Cluster;
use crate::builds::build::{Build, BuildState};
use crate::builds::subjob::Subjob;
use crate::instances::instance::InstanceState;
use crate::slaves::slave::{BuildOnSlave, Slave};
use clusterrunner_common::ids::BuildId;
use std::collections::BTreeSet;

/// Whether atoms of a build are to be hunted, where its job does not say otherwise.
pub(super) fn is_hunted(build: &Build, by_default: bool) -> bool {
    let plan = build.plan.as_ref();
    let of_job = plan.and_then(|plan| plan.hunt_flakes);
    // Of atoms in an order that was asked for, and of those that make templates, nothing is remembered.
    let is_remembered = !build.request.in_order && build.request.product.is_none();
    // What is killed in a container takes long to go.
    let is_quick = plan.is_some_and(|plan| plan.image.is_none());
    is_quick && is_remembered && of_job.unwrap_or(by_default)
}

/// Whether the job of a build says that its atoms may run again beside others of it in the same work tree.
pub(super) fn bears_company(build: &Build) -> bool {
    let plan = build.plan.as_ref();
    plan.is_some_and(|plan| plan.hunt_flakes == Some(true))
}

/// Whether all that is left of a build runs already, or it is over and slaves keep it for hunts.
pub(super) fn is_at_its_end(cluster: &Cluster, build: &Build) -> bool {
    let is_at_its_end = match build.state {
        BuildState::Building(_) => {
            build.num_unstarted() == 0 && build.num_running() > 0 && !build.has_failed_enough()
        }
        BuildState::Archiving | BuildState::Finished => build.hunted.goes_on,
        BuildState::Queued
        | BuildState::Preparing
        | BuildState::Prepared
        | BuildState::Split
        | BuildState::Error { .. }
        | BuildState::Canceled => false,
    };
    is_at_its_end && !cluster.is_deleted(build.id)
}

/// The builds that slaves may have.
pub(super) fn builds(cluster: &Cluster) -> BTreeSet<BuildId> {
    let over = cluster.leftover.iter().map(|(_, build)| *build);
    cluster.working.iter().copied().chain(over).collect()
}

/// Whether an atom may be hunted: it has passed, at once.
pub(super) fn is_prey(subjob: &Subjob) -> bool {
    subjob.result.is_some()
        && !subjob.has_failed()
        && !subjob.is_flaky()
        && subjob.atoms.len() == 1
        && subjob.mishaps().slaves_lost == 0
}

/// How many builds wait at most where is hunted: of each is asked, for each slave, whether it could use the slave.
const MOST_WAITING: usize = 64;

/// Whether anything waits that may need any slave.
pub(super) fn something_waits(cluster: &Cluster) -> bool {
    !cluster.suspicious.is_empty() || cluster.line.iter().nth(MOST_WAITING).is_some()
}

/// How many executors of a slave nothing can use: none where anything waits that might.
pub(super) fn num_idle(cluster: &Cluster, slave: &Slave) -> usize {
    let mut places = slave.builds.values();
    let is_quiet = places.all(|place| *place == BuildOnSlave::Ready);
    let is_sound = slave.limit.is_none() && !slave.is_legacy;
    // A suspect that waits needs a slave for itself.
    if !is_quiet || !is_sound || something_waits(cluster) {
        return 0;
    }
    let mut waiting = cluster.line.iter().filter_map(|id| cluster.build(id));
    let may_get =
        |build: &Build| slave.builds.contains_key(&build.id) || build.may_be_set_up_by(slave);
    let is_starting = |state| matches!(state, InstanceState::Initialized | InstanceState::Created);
    let mut instances = cluster.instances_on(slave.id);
    if waiting.any(may_get) || instances.any(|instance| is_starting(instance.state)) {
        return 0;
    }
    slave.num_free()
}
