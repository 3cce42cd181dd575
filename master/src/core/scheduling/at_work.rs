//! Which of the subjobs that slaves have are taken to run, for those who look.
//!
//! Slaves do not say when they begin an atom: that would be one more message for each. But a slave begins
//! what came first, and what came first follows from the order in which subjobs are handed out; so the first
//! of a build on a slave run, as many as executors work on it there, and the others wait. This is right for
//! what takes long. Of atoms that end within the half second in which results gather, it lags behind.

use crate::core::Cluster;
use crate::core::builds::build::{Build, Subjob};
use crate::core::builds::unstarted::Place;
use clusterrunner_common::ids::{SlaveId, SubjobId};
use std::collections::BTreeMap;

/// Tells subjobs of a build that run from others. Looks at each slave once.
pub(crate) struct AtWork<'a> {
    cluster: &'a Cluster,
    build: &'a Build,
    slaves: BTreeMap<SlaveId, Runs>,
}

/// Which of a build's subjobs a slave runs that it has.
enum Runs {
    All,
    None,
    UpTo(Place),
}

impl<'a> AtWork<'a> {
    pub(crate) fn of(cluster: &'a Cluster, build: &'a Build) -> Self {
        Self {
            cluster,
            build,
            slaves: BTreeMap::new(),
        }
    }

    /// Whether a subjob runs, or has run and its result is on a slave.
    pub(crate) fn includes(&mut self, id: SubjobId, subjob: &Subjob) -> bool {
        let Some(progress) = self.build.progress() else {
            return false;
        };
        if progress.kept.contains_key(&id) {
            return true;
        }
        let Some((slave, _)) = progress.running.get(&id) else {
            return false;
        };
        let (cluster, build) = (self.cluster, self.build);
        let runs = self.slaves.entry(*slave);
        match runs.or_insert_with(|| runs_on(cluster, build, *slave)) {
            Runs::All => true,
            Runs::None => false,
            Runs::UpTo(last) => Place::before_handed_out(id, subjob) <= *last,
        }
    }
}

fn runs_on(cluster: &Cluster, build: &Build, id: SlaveId) -> Runs {
    let slave = cluster.slave(id);
    let portion = slave.and_then(|slave| Some((slave, slave.load.of(build.id)?)));
    let Some((slave, portion)) = portion.filter(|(_, portion)| portion.waiting() > 0) else {
        return Runs::All;
    };
    // Other builds may have all executors.
    let Some(index) = portion.executors.checked_sub(1) else {
        return Runs::None;
    };
    let all = (build.id, SubjobId(0))..=(build.id, SubjobId(u32::MAX));
    let held = slave.running.range(all);
    let places = held.filter_map(|(_, id)| Some(Place::before_handed_out(*id, build.subjob(*id)?)));
    let mut places: Vec<Place> = places.collect();
    match index < places.len() {
        true => Runs::UpTo(*places.select_nth_unstable(index).1),
        false => Runs::All,
    }
}
