//! All hunts of a farm. They live as long as the master's process: one that is not over when a master dies just did not
//! happen.

use super::grounds::{
    bears_company, builds, is_at_its_end, is_hunted, is_prey, num_idle, something_waits,
};
use super::prey::Prey;
use crate::Cluster;
use crate::builds::build::Build;
use crate::builds::hunted::{Hunted, HuntedRun};
use crate::builds::subjob::Subjob;
use crate::history::Trials;
use crate::slaves::slave::{BuildOnSlave, Slave};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use clusterrunner_common::work::HuntEnd;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

/// How many hunts there are at a time on the whole farm: each keeps a connection.
const MOST_HUNTS: usize = 64;

/// On how many slaves a hunt may begin in one look: the farm waits for the look.
const MOST_SLAVES: usize = 64;

/// How many atoms of a build are hunted.
const MOST_PREY: usize = 1_000;

/// How long a slave is left alone that took no hunt or brought none to its end, in milliseconds.
const REST_MS: u64 = 1_000;

/// Names a hunt in this life of the master.
pub type HuntId = u64;

/// A hunt: an atom that has passed runs once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hunt {
    /// The slave that runs it.
    pub slave: SlaveId,
    /// The build.
    pub build: BuildId,
    /// The atom's subjob.
    pub subjob: SubjobId,
    /// The attempt that the atom is told.
    pub attempt: Attempt,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Builds of whose atoms [`Hunts::learn`] is to be told the trials.
    pub unknown: Vec<BuildId>,
    /// Hunts to begin.
    pub begun: Vec<(HuntId, Hunt)>,
    /// Hunts to end.
    pub ended: Vec<(HuntId, Hunt)>,
    /// Builds of which the cluster thinks that more is to be found, or not, and whether that is so.
    pub goes_on: Vec<(BuildId, bool)>,
}

/// All hunts.
#[derive(Clone, Debug, Default)]
pub struct Hunts {
    by_default: bool,
    /// The builds that are hunted; none where it is not known yet what of.
    builds: BTreeMap<BuildId, Option<BTreeMap<SubjobId, Prey>>>,
    running: BTreeMap<HuntId, Hunt>,
    last: HuntId,
    /// Slaves that can not hunt: they are of an earlier version.
    unable: BTreeSet<SlaveId>,
    /// Slaves that took no hunt or brought none to its end, and until when they are left alone.
    resting: BTreeMap<SlaveId, Timestamp>,
}

impl Hunts {
    /// None yet. `by_default`: whether builds are hunted whose job does not say.
    #[must_use]
    pub fn new(by_default: bool) -> Self {
        Self {
            by_default,
            ..Self::default()
        }
    }

    /// Whether atoms of a build are ever hunted.
    #[must_use]
    pub fn are_for(&self, build: &Build) -> bool {
        is_hunted(build, self.by_default)
    }

    /// What is to be done now. Hunts that begin count as begun, those that are to end as over.
    pub fn look(&mut self, cluster: &Cluster, at: Timestamp) -> Look {
        let mut look = Look {
            ended: self.end(cluster),
            ..Look::default()
        };
        self.unable.retain(|slave| is_there(cluster, *slave));
        self.resting.retain(|_, until| *until > at);
        let mut at_their_end = Vec::new();
        for id in builds(cluster) {
            let Some(build) = cluster.build(id) else {
                continue;
            };
            if !is_hunted(build, self.by_default) {
                continue;
            }
            match self.builds.get(&id) {
                None if build.progress().is_some() || build.hunted.goes_on => look.unknown.push(id),
                None | Some(None) => {}
                Some(Some(prey)) => {
                    let goes_on = prey
                        .iter()
                        .any(|(id, prey)| is_left(build.subjob(*id), prey));
                    if goes_on != build.hunted.goes_on && (build.wants_slaves() || !goes_on) {
                        look.goes_on.push((id, goes_on));
                    }
                    let waits = goes_on && prey.values().any(Prey::is_waiting);
                    if waits && is_at_its_end(cluster, build) {
                        at_their_end.push(build);
                    }
                }
            }
        }
        for id in &look.unknown {
            self.builds.insert(*id, None);
        }
        if at_their_end.is_empty() || something_waits(cluster) {
            return look;
        }
        // The slaves with most idle executors first, as for hand-outs.
        let slaves = cluster.roomy.iter().rev();
        let slaves = slaves.filter_map(|(.., slave)| cluster.slave(*slave));
        let is_there = |slave: &&Slave| {
            let mut builds = at_their_end.iter();
            builds.any(|build| slave.builds.contains_key(&build.id))
        };
        for slave in slaves.filter(is_there).take(MOST_SLAVES) {
            if self.running.len() >= MOST_HUNTS {
                break;
            }
            while let Some(begun) = self.begin_on(cluster, slave, &at_their_end) {
                look.begun.push(begun);
            }
        }
        look
    }

    /// Takes note of the trials of a build's atoms: `hunted` and the subjobs as they were when they were looked up.
    pub fn learn<S: Borrow<Subjob>>(
        &mut self,
        build: BuildId,
        hunted: &Hunted,
        atoms: impl IntoIterator<Item = (SubjobId, S, Trials)>,
    ) {
        // It may be over by now.
        if let Some(known) = self.builds.get_mut(&build) {
            let atoms = atoms.into_iter();
            let prey = atoms.filter_map(|(id, subjob, trials)| {
                let prey = Prey::of(&trials, hunted.of(id))?;
                let is_resolved = !hunted.unresolved.contains(&id);
                let is_left = is_left(Some(subjob.borrow()), &prey);
                (is_resolved && is_left).then_some((id, prey))
            });
            let mut prey: Vec<_> = prey.collect();
            prey.sort_by_key(|(id, prey)| (prey.rank(), *id));
            prey.truncate(MOST_PREY);
            *known = Some(prey.into_iter().collect());
        }
    }

    /// Takes note of the end of a hunt at a moment, after `ms` milliseconds. What the build is to be told.
    pub fn ended(
        &mut self,
        id: HuntId,
        end: HuntEnd,
        ms: u64,
        at: Timestamp,
    ) -> Option<(BuildId, HuntedRun)> {
        let hunt = self.running.remove(&id)?;
        let trial = self.prey(&hunt).and_then(|prey| prey.ended(end));
        // It is busy, or has a trouble that does not pass at once.
        if end == HuntEnd::Dropped {
            self.rest(hunt.slave, at);
        }
        let subjob = hunt.subjob;
        Some((hunt.build, HuntedRun { subjob, trial, ms }))
    }

    /// Takes note that a slave took no hunt, and whether it can not hunt at all.
    pub fn refused(&mut self, id: HuntId, is_unable: bool, at: Timestamp) {
        let Some(hunt) = self.running.remove(&id) else {
            return;
        };
        if let Some(prey) = self.prey(&hunt) {
            prey.refused();
        }
        match is_unable {
            true => drop(self.unable.insert(hunt.slave)),
            false => self.rest(hunt.slave, at),
        }
    }

    fn rest(&mut self, slave: SlaveId, at: Timestamp) {
        let until = Timestamp(at.0.saturating_add(REST_MS));
        self.resting.insert(slave, until);
    }

    /// The hunts.
    pub fn running(&self) -> impl Iterator<Item = (&HuntId, &Hunt)> {
        self.running.iter()
    }

    /// Whether any build is hunted.
    #[must_use]
    pub fn are_on(&self) -> bool {
        !self.builds.is_empty()
    }

    /// A hunt that there is no reason for any more, if there is one.
    #[must_use]
    pub fn unreasonable(&self, cluster: &Cluster) -> Option<HuntId> {
        let mut running = self.running.iter();
        let found = running.find(|(_, hunt)| !self.may_go_on(cluster, hunt));
        found.map(|(id, _)| *id)
    }

    fn prey(&mut self, hunt: &Hunt) -> Option<&mut Prey> {
        let of_build = self.builds.get_mut(&hunt.build)?.as_mut()?;
        of_build.get_mut(&hunt.subjob)
    }

    /// Ends what there is no reason for any more.
    fn end(&mut self, cluster: &Cluster) -> Vec<(HuntId, Hunt)> {
        let mut ended = Vec::new();
        while let Some(id) = self.unreasonable(cluster) {
            let Some(hunt) = self.running.remove(&id) else {
                break;
            };
            if let Some(prey) = self.prey(&hunt) {
                prey.broken_off();
            }
            // An atom that is run again may be why.
            if !is_there(cluster, hunt.slave) {
                self.builds.insert(hunt.build, Some(BTreeMap::new()));
            }
            ended.push((id, hunt));
        }
        let there = builds(cluster);
        self.builds.retain(|id, _| there.contains(id));
        ended
    }

    fn may_go_on(&self, cluster: &Cluster, hunt: &Hunt) -> bool {
        let Some(slave) = cluster.slave(hunt.slave) else {
            return false;
        };
        let build = cluster.build(hunt.build);
        build.is_some_and(|build| {
            is_at_its_end(cluster, build)
                && slave.builds.get(&build.id) == Some(&BuildOnSlave::Ready)
                && self.num_on(slave.id, None) <= num_idle(cluster, slave)
                && self.num_of(build.id) <= num_allowed(build)
                && self.num_on(slave.id, Some(build.id)) <= num_allowed_on(slave, build)
        })
    }

    fn begin_on(
        &mut self,
        cluster: &Cluster,
        slave: &Slave,
        builds: &[&Build],
    ) -> Option<(HuntId, Hunt)> {
        let is_able = !self.unable.contains(&slave.id) && !self.resting.contains_key(&slave.id);
        if !is_able
            || self.running.len() >= MOST_HUNTS
            || self.num_on(slave.id, None) >= num_idle(cluster, slave)
        {
            return None;
        }
        let mut there = builds.iter().filter(|build| {
            slave.builds.get(&build.id) == Some(&BuildOnSlave::Ready)
                && self.num_of(build.id) < num_allowed(build)
                && self.num_on(slave.id, Some(build.id)) < num_allowed_on(slave, build)
        });
        let (build, subjob) =
            there.find_map(|build| Some((*build, self.next(build, slave.id)?)))?;
        let known = build.subjob(subjob)?;
        let hunt = Hunt {
            slave: slave.id,
            build: build.id,
            subjob,
            attempt: Attempt(known.attempts).next(),
        };
        let has_passed_there = known.slave == Some(slave.id);
        self.prey(&hunt)?.begun(slave.id, has_passed_there);
        self.last += 1;
        self.running.insert(self.last, hunt.clone());
        Some((self.last, hunt))
    }

    /// The atom of a build that is next on a slave.
    fn next(&self, build: &Build, slave: SlaveId) -> Option<SubjobId> {
        let prey = self.builds.get(&build.id)?.as_ref()?;
        let waiting = prey.iter().filter_map(|(id, prey)| {
            let turn = prey.turn_on(slave)?;
            build
                .subjob(*id)
                .is_some_and(is_prey)
                .then_some((turn, *id))
        });
        waiting.min().map(|(_, id)| id)
    }

    fn num_on(&self, slave: SlaveId, build: Option<BuildId>) -> usize {
        let is_it = |hunt: &&Hunt| hunt.slave == slave && build.is_none_or(|id| hunt.build == id);
        self.running.values().filter(is_it).count()
    }

    fn num_of(&self, build: BuildId) -> usize {
        let of_build = self.running.values().filter(|hunt| hunt.build == build);
        of_build.count()
    }
}

/// Whether an atom is to run once more, as far as that is known.
fn is_left(subjob: Option<&Subjob>, prey: &Prey) -> bool {
    let is_prey = |subjob: &Subjob| subjob.result.is_none() || is_prey(subjob);
    prey.is_wanted() && subjob.is_some_and(is_prey)
}

fn is_there(cluster: &Cluster, slave: SlaveId) -> bool {
    cluster.slave(slave).is_some_and(Slave::is_alive)
}

/// How many hunts a build may have beside what runs of it.
fn num_allowed(build: &Build) -> usize {
    build.max_executors().saturating_sub(build.num_running())
}

/// The same on a slave. Where only the master's settings say that is hunted, nobody has said that atoms bear to run again
/// beside others in one work tree.
fn num_allowed_on(slave: &Slave, build: &Build) -> usize {
    let (most, running) = (build.max_executors_per_slave(), slave.num_running(build.id));
    match running > 0 && !bears_company(build) {
        true => 0,
        false => most.saturating_sub(running),
    }
}
