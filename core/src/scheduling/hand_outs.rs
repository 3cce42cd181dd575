//! Which subjob of a build a slave gets, and how many it may have.

use crate::Cluster;
use crate::builds::build::Build;
use crate::builds::subjob::Subjob;
use crate::event::{BuildFact, Fact};
use crate::slaves::slave::Slave;
use clusterrunner_common::ids::SubjobId;

/// How many of the subjobs that are run again are looked at for a slave. Where all of these failed on this slave, other
/// slaves take them first.
const AGAIN_LOOKED_AT: usize = 64;

pub(crate) fn handed_out(slave: &Slave, build: &Build, subjob: SubjobId) -> Option<Fact> {
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
pub(crate) fn runs_suspect(cluster: &Cluster, slave: &Slave) -> bool {
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
/// waited longest. Suspects are handed out by [`crate::builds::isolation`].
pub(crate) fn next_subjob(cluster: &Cluster, slave: &Slave, build: &Build) -> Option<SubjobId> {
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

pub(crate) fn open(build: &Build) -> impl Iterator<Item = (SubjobId, &Subjob)> {
    build.set_aside().filter(|(_, subjob)| !subjob.is_suspect())
}

/// Whether a slave may have a subjob that is set aside or run again. A subjob whose result from a slave failed, was
/// unusable or doubted goes to another slave, even a busy one; to the same slave only if there is no other.
fn may_have(cluster: &Cluster, slave: &Slave, build: &Build, subjob: &Subjob) -> bool {
    !subjob.is_shunned_by(slave.id) || !cluster.has_better(build, subjob)
}

/// How many more subjobs of the build all slaves together may have, beside the one kept for its suspects.
pub(crate) fn num_allowed(cluster: &Cluster, build: &Build) -> usize {
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
pub(crate) fn num_missing(cluster: &Cluster, build: &Build) -> usize {
    let waiting = match build.progress() {
        Some(progress) => progress.unstarted.len() + progress.again.len() + open(build).count(),
        None => build.num_unstarted(),
    };
    waiting.min(num_allowed(cluster, build))
}
