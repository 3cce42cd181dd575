//! What a forecast takes along from the cluster, in one look whose cost does not grow with the atoms: of each build its
//! terms, what slaves have of it, the waiting subjobs that are next, and some of the others and of what has ended. What
//! follows from that, lots of the waiting ones, is made after the look ([`Scene::bundled`]).

use super::lots::{Bundling, Lot, Rest};
use crate::Cluster;
use crate::builds::build::{Build, BuildState};
use crate::builds::plan::Plan;
use crate::builds::progress::Progress;
use crate::builds::subjob::Subjob;
use crate::slaves::slave::{BuildOnSlave, Hosting, Slave};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SlaveId, SubjobId};
use clusterrunner_common::work::BuildRequest;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many builds are looked at. Where there are more nothing is foretold.
const BUILDS: usize = 256;

/// What a forecast knows of the farm.
#[derive(Clone, Debug)]
pub struct Scene {
    /// When the look was.
    pub now: Timestamp,
    /// The living slaves, by their ids.
    pub slaves: BTreeMap<SlaveId, SlaveThere>,
    /// The builds that slaves work on, by their ids.
    pub builds: BTreeMap<BuildId, BuildThere>,
    /// The builds of a matrix that are not over, by their parent: it ends with the last of them.
    pub parents: BTreeMap<BuildId, Vec<BuildId>>,
    /// Whether these are all: there may be too many.
    pub is_whole: bool,
    pub(super) bundling: Bundling,
}

/// A slave of the farm.
#[derive(Clone, Debug)]
pub struct SlaveThere {
    /// How many subjobs it runs at a time.
    pub num_executors: u32,
    /// Whether it gets new work.
    pub takes_work: bool,
    pub(super) is_legacy: bool,
    pub(super) labels: BTreeSet<String>,
    pub(super) hosting: Option<Hosting>,
    pub(super) places: BTreeMap<BuildId, SetupProgress>,
}

/// How far a build is on a slave.
#[derive(Clone, Copy, Debug)]
pub(super) enum SetupProgress {
    SettingUp { since: Option<Timestamp> },
    Ready,
}

/// A build that slaves work on.
#[derive(Clone, Debug)]
pub struct BuildThere {
    /// Its subjobs without a result: those that slaves have come first, and the others follow in the order in which they
    /// are handed out.
    pub lots: Vec<Lot>,
    /// Those that are handed out after the last lot, of which only some were looked at.
    pub(super) rest: Rest,
    /// Some of its subjobs that have ended.
    pub ended: Vec<EndedThere>,
    /// Whether they are of an earlier build of the same job: they tell of the slaves, and not of this build.
    pub ended_earlier: bool,
    /// How long its set-up takes on a slave, in milliseconds, where that is known.
    pub setup_ms: Option<u64>,
    pub(super) request: BuildRequest,
    pub(super) plan: Plan,
}

/// A subjob that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedThere {
    /// Which one.
    pub id: SubjobId,
    /// The slave that ran it.
    pub slave: Option<SlaveId>,
    /// How long it was expected to take, in milliseconds.
    pub expected_ms: Option<u64>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl Scene {
    /// What a forecast needs of the cluster as it stands now. A forecast for more executors than there are says for how
    /// many.
    #[must_use]
    pub fn of(cluster: &Cluster, now: Timestamp, executors: u64) -> Self {
        let builds = cluster
            .working()
            .take(BUILDS)
            .filter(|build| is_seen(build));
        let builds: Vec<&Build> = builds.collect();
        let bundling = Bundling::of(builds.len(), executors.max(cluster.num_executors as u64));
        let there = builds
            .iter()
            .map(|build| (build.id, BuildThere::of(build, bundling)));
        let slaves = cluster.slaves().filter(|slave| slave.is_alive());
        let parents: BTreeSet<BuildId> = builds.iter().filter_map(|build| build.parent()).collect();
        let parents = parents.into_iter().filter_map(|id| cluster.build(id));
        let parents = parents.map(|parent| (parent.id, children_at_work(cluster, parent)));
        Self {
            now,
            slaves: slaves
                .map(|slave| (slave.id, SlaveThere::of(slave)))
                .collect(),
            builds: there.collect(),
            parents: parents.collect(),
            is_whole: cluster.working().nth(BUILDS).is_none(),
            bundling,
        }
    }

    /// The same with all that waits in lots: what takes its time with many atoms, and needs no cluster.
    #[must_use]
    pub fn bundled(mut self) -> Self {
        for build in self.builds.values_mut() {
            build.bundle(self.bundling);
        }
        self
    }

    /// The living slaves that get new work and have all that a build asks for.
    pub fn suitable(&self, build: BuildId) -> impl Iterator<Item = (SlaveId, &SlaveThere)> {
        let build = self.builds.get(&build);
        let slaves = self.slaves.iter().map(|(id, slave)| (*id, slave));
        slaves.filter(move |(_, slave)| {
            slave.takes_work && build.is_some_and(|build| slave.suits(&build.plan))
        })
    }

    /// For how long the set-up of a build has run that began first, in milliseconds: until one is over, no less is known.
    pub(super) fn sets_up_for_ms(&self, build: BuildId) -> Option<u64> {
        let places = self
            .slaves
            .values()
            .filter_map(|slave| slave.places.get(&build));
        let since = places.filter_map(|place| match place {
            SetupProgress::SettingUp { since } => *since,
            SetupProgress::Ready => None,
        });
        since.map(|since| self.now.0.saturating_sub(since.0)).max()
    }
}

impl SlaveThere {
    fn of(slave: &Slave) -> Self {
        let places = slave.builds.iter().filter_map(|(build, place)| {
            let place = match place {
                BuildOnSlave::SettingUp { since, .. } => SetupProgress::SettingUp { since: *since },
                BuildOnSlave::Ready => SetupProgress::Ready,
                BuildOnSlave::TearingDown => return None,
            };
            Some((*build, place))
        });
        Self {
            num_executors: slave.num_executors,
            takes_work: slave.takes_work(),
            is_legacy: slave.is_legacy,
            labels: slave.labels.clone(),
            hosting: slave.hosting,
            places: places.collect(),
        }
    }

    /// A slave that has nothing yet, and all that a build with these labels asks for.
    pub(super) fn new(num_executors: u32, labels: BTreeSet<String>) -> Self {
        Self {
            num_executors,
            takes_work: true,
            is_legacy: false,
            labels,
            hosting: Some(Hosting {
                max_instances: 0,
                runs_images: true,
            }),
            places: BTreeMap::new(),
        }
    }

    fn suits(&self, plan: &Plan) -> bool {
        let runs_images = self.hosting.is_some_and(|hosting| hosting.runs_images);
        plan.labels.is_subset(&self.labels) && (plan.image.is_none() || runs_images)
    }
}

/// A build that waits for its first slave takes part if it is known how long its atoms take: else it would hide when
/// others end.
fn is_seen(build: &Build) -> bool {
    match build.progress() {
        Some(_) => true,
        None => build.state == BuildState::Prepared && is_known(build),
    }
}

fn is_known(build: &Build) -> bool {
    let first = build.subjobs.first();
    first.is_some_and(|subjob| !subjob.atoms_expected_ms.is_empty())
}

/// The builds of a matrix that have atoms left, or whose atoms are not known yet.
fn children_at_work(cluster: &Cluster, parent: &Build) -> Vec<BuildId> {
    let children = parent.children.iter().map(|child| child.id);
    let is_at_work = |id: &BuildId| {
        let build = cluster.build(*id);
        build.is_some_and(|build| !build.is_over() && build.state != BuildState::Archiving)
    };
    children.filter(is_at_work).collect()
}

impl BuildThere {
    /// So many of the waiting subjobs are walked, and no more: there may be very many.
    fn of(build: &Build, bundling: Bundling) -> Self {
        let every = build.subjobs.len().div_ceil(bundling.looked_at).max(1);
        let some = build.subjobs.iter().enumerate().step_by(every);
        let mut there = Self {
            ended: some.clone().filter_map(ended_there).collect(),
            ended_earlier: false,
            ..Self::like(build)
        };
        let some = some.filter_map(|(index, subjob)| {
            Some((SubjobId(u32::try_from(index).ok()?), subjob.as_ref()))
        });
        match build.progress() {
            Some(progress) => there.look_at_progress(build, progress, some, bundling),
            None => there.look_at_first(build, some, bundling),
        }
        there
    }

    fn look_at_progress<'a>(
        &mut self,
        build: &Build,
        progress: &Progress,
        some: impl Iterator<Item = (SubjobId, &'a Subjob)>,
        bundling: Bundling,
    ) {
        let held = progress.running.iter();
        self.lots.extend(held.filter_map(|(id, held)| {
            let held = Some(*held);
            Some(Lot {
                held,
                ..Lot::of(*id, build.subjob(*id)?)
            })
        }));
        let is_known = is_known(build);
        let lot = |(id, expected_ms)| Lot::single(id, is_known.then_some(expected_ms));
        let num_held = self.lots.len();
        let aside = build.set_aside().map(|(id, subjob)| Lot::of(id, subjob));
        let waiting = progress
            .unstarted
            .expected()
            .chain(progress.again.expected());
        let next = aside.chain(waiting.map(lot)).take(bundling.singles);
        self.lots.extend(next);
        let next = &self.lots[num_held..];
        let expected_ms = progress.unstarted.expected_ms();
        let expected_ms = expected_ms.saturating_add(progress.again.expected_ms());
        let whole_ms = is_known.then_some(expected_ms);
        // Those that are set aside are few, and not in this sum.
        let taken_ms = next.iter().skip(progress.set_aside.len());
        let taken_ms = taken_ms.filter_map(|lot| lot.expected_ms).sum();
        let number = build.num_unstarted() - next.len();
        self.rest = Rest::of(number, whole_ms.map(|all| all.saturating_sub(taken_ms)));
        if number > 0 {
            let last = next.last().map(|lot| (Reverse(lot.expected_ms), lot.first));
            let waits = |subjob: &Subjob| subjob.attempts == 0 && subjob.result.is_none();
            let some = some.filter(|(_, subjob)| waits(subjob));
            let some = some.map(|(id, subjob)| (Reverse(Lot::of(id, subjob).expected_ms), id));
            self.rest.some = some.filter(|place| Some(*place) > last).collect();
        }
    }

    /// Nothing of it was handed out.
    fn look_at_first<'a>(
        &mut self,
        build: &Build,
        some: impl Iterator<Item = (SubjobId, &'a Subjob)>,
        bundling: Bundling,
    ) {
        let number = build.subjobs.len();
        if number <= bundling.singles {
            let all = build.numbered_subjobs();
            self.lots = all.map(|(id, subjob)| Lot::of(id, subjob)).collect();
            self.lots
                .sort_by_key(|lot| (Reverse(lot.expected_ms), lot.first));
            return;
        }
        self.rest = Rest::of(number, None);
        let some = some.map(|(id, subjob)| (Reverse(Lot::of(id, subjob).expected_ms), id));
        self.rest.some = some.collect();
    }

    fn bundle(&mut self, bundling: Bundling) {
        let rest = std::mem::take(&mut self.rest);
        let number = rest.number;
        if number == 0 {
            return;
        }
        let held = self.lots.iter().filter(|lot| lot.held.is_some()).count();
        let next = self.lots.split_off(held);
        let mut expected_ms = next.iter().map(|lot| lot.expected_ms);
        let next_ms = expected_ms.try_fold(0_u64, |sum, lot| Some(sum.saturating_add(lot?)));
        let others: Vec<Lot> = rest.lots().collect();
        let mut expected_ms = others.iter().map(|lot| lot.expected_ms);
        let others_ms = expected_ms.try_fold(0_u64, |sum, lot| Some(sum.saturating_add(lot?)));
        let sum = next_ms
            .zip(others_ms)
            .map(|(next, others)| next.saturating_add(others));
        let whole = (next.len() + number, sum);
        self.lots
            .extend(bundling.lots(next.into_iter().chain(others), whole));
    }

    /// A build on the terms of an earlier one, whose set-ups take as long; without atoms, see [`Self::waiting`].
    #[must_use]
    pub fn like(earlier: &Build) -> Self {
        Self {
            lots: Vec::new(),
            rest: Rest::default(),
            ended: Vec::new(),
            ended_earlier: true,
            setup_ms: earlier.setup_ms(),
            request: earlier.request.source(),
            plan: terms(earlier),
        }
    }

    /// The same with these subjobs, which wait for so many executors at most. Of the earlier build those in `ended` have
    /// ended.
    #[must_use]
    pub fn waiting(self, mut waiting: Vec<Lot>, ended: Vec<EndedThere>, executors: u64) -> Self {
        waiting.sort_by_key(|lot| (Reverse(lot.expected_ms), lot.first));
        let mut expected_ms = waiting.iter().map(|lot| lot.expected_ms);
        let expected_ms = expected_ms.try_fold(0_u64, |sum, lot| Some(sum.saturating_add(lot?)));
        let whole = (waiting.len(), expected_ms);
        Self {
            lots: Bundling::of(1, executors).lots(waiting.into_iter(), whole),
            ended,
            ..self
        }
    }

    /// What it asks for in a slave.
    pub(super) fn labels(&self) -> &BTreeSet<String> {
        &self.plan.labels
    }

    /// How many subjobs have no result.
    #[must_use]
    pub fn num_left(&self) -> u64 {
        let in_lots: u64 = self.lots.iter().map(|lot| u64::from(lot.number)).sum();
        in_lots + self.rest.number as u64
    }
}

/// What decides who works on a build, and when.
fn terms(build: &Build) -> Plan {
    let Some(plan) = &build.plan else {
        return Plan::default();
    };
    Plan {
        job_name: plan.job_name.clone(),
        max_executors: plan.max_executors,
        max_executors_per_slave: plan.max_executors_per_slave,
        labels: plan.labels.clone(),
        priority: plan.priority,
        weight: plan.weight,
        // A copy knows no templates: whoever takes an image needs what a job with an image needs.
        image: build.needs_containers().then(String::new),
        ..Plan::default()
    }
}

fn ended_there((index, subjob): (usize, &Arc<Subjob>)) -> Option<EndedThere> {
    EndedThere::of(SubjobId(u32::try_from(index).ok()?), subjob)
}

impl EndedThere {
    /// A subjob, if it has ended by itself.
    #[must_use]
    pub fn of(id: SubjobId, subjob: &Subjob) -> Option<Self> {
        let (_, outcomes) = subjob.result.as_ref()?;
        let ended_itself = outcomes.iter().all(|outcome| outcome.trouble.is_none());
        let took_ms = outcomes.iter().map(|outcome| outcome.duration_ms).sum();
        ended_itself.then(|| Self {
            id,
            slave: subjob.slave,
            expected_ms: Lot::of(id, subjob).expected_ms,
            took_ms,
        })
    }
}
