//! What a forecast takes along from the cluster, in one look whose cost is bounded: of each build its terms, its
//! waiting subjobs in a bounded number of lots, what slaves have of it, and some of what has ended.

use crate::core::Cluster;
use crate::core::builds::build::Build;
use crate::core::builds::plan::Plan;
use crate::core::builds::progress::Progress;
use crate::core::builds::subjob::Subjob;
use crate::core::slaves::slave::{BuildOnSlave, Hosting, Slave};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use clusterrunner_common::work::BuildRequest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// So many subjobs of all builds together are looked at one by one.
const SINGLES: usize = 1000;

/// How many lots all builds have together at most: a run in virtual time hands each of them out once.
const LOTS: usize = 10_000;

/// How many lots a build may have at least, however many builds there are.
const FEWEST_LOTS: usize = 16;

/// A lot takes at most this part (one over it) of what is left for each executor: so executors end together in spite of
/// lots, which get the smaller the nearer the end is.
const TAPER: u64 = 2;

/// How many builds are looked at. Where there are more nothing is foretold.
const BUILDS: usize = 128;

/// How many ended subjobs of a build are looked at.
const ENDED_LOOKED_AT: usize = 1000;

/// What a forecast knows of the farm.
#[derive(Clone, Debug)]
pub struct Scene {
    /// When the look was.
    pub now: Timestamp,
    /// The living slaves, by their ids.
    pub slaves: BTreeMap<SlaveId, SlaveThere>,
    /// The builds that slaves work on, by their ids.
    pub builds: BTreeMap<BuildId, BuildThere>,
    /// Whether these are all: there may be too many.
    pub is_whole: bool,
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
    pub(super) places: BTreeMap<BuildId, Place>,
}

/// How far a build is on a slave.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    SettingUp { since: Option<Timestamp> },
    Ready,
}

/// A build that slaves work on.
#[derive(Clone, Debug)]
pub struct BuildThere {
    /// Its subjobs without a result: those that slaves have come first, and the others follow in the order in which they
    /// are handed out.
    pub lots: Vec<Lot>,
    /// Some of its subjobs that have ended.
    pub ended: Vec<EndedThere>,
    /// Whether they are of an earlier build of the same job: they tell of the slaves, and not of this build.
    pub ended_earlier: bool,
    /// How long its set-up takes on a slave, in milliseconds, where that is known.
    pub setup_ms: Option<u64>,
    pub(super) request: BuildRequest,
    pub(super) plan: Plan,
}

/// Subjobs that a forecast takes for one: a single one, or several of about the same length that go out one after the
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The first of them.
    pub first: SubjobId,
    /// How many there are.
    pub number: u32,
    /// How long they are expected to take together, in milliseconds; none where nothing is known of the build's atoms.
    pub expected_ms: Option<u64>,
    /// The slave that has it, with the number of the hand-out.
    pub held: Option<(SlaveId, Attempt)>,
    /// When it began to run, as its slave says.
    pub started: Option<Timestamp>,
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
        let builds = cluster.working().take(BUILDS);
        let builds = builds.filter_map(|build| Some((build, build.progress()?)));
        let builds: Vec<(&Build, &Progress)> = builds.collect();
        let bundling = Bundling::of(builds.len(), executors.max(cluster.num_executors as u64));
        let builds = builds.into_iter();
        let builds =
            builds.map(|(build, progress)| (build.id, BuildThere::of(build, progress, bundling)));
        let slaves = cluster.slaves().filter(|slave| slave.is_alive());
        Self {
            now,
            slaves: slaves
                .map(|slave| (slave.id, SlaveThere::of(slave)))
                .collect(),
            builds: builds.collect(),
            is_whole: cluster.working().nth(BUILDS).is_none(),
        }
    }

    /// The living slaves that get new work and have all that a build asks for.
    pub fn suitable(&self, build: BuildId) -> impl Iterator<Item = (SlaveId, &SlaveThere)> {
        let build = self.builds.get(&build);
        let slaves = self.slaves.iter().map(|(id, slave)| (*id, slave));
        slaves.filter(move |(_, slave)| {
            slave.takes_work && build.is_some_and(|build| slave.suits(&build.plan))
        })
    }

    /// Whether some of its lots are several subjobs.
    #[must_use]
    pub fn is_bundled(&self) -> bool {
        let mut lots = self.builds.values().flat_map(|build| &build.lots);
        lots.any(|lot| lot.number > 1)
    }
}

impl SlaveThere {
    fn of(slave: &Slave) -> Self {
        let places = slave.builds.iter().filter_map(|(build, place)| {
            let place = match place {
                BuildOnSlave::SettingUp { since, .. } => Place::SettingUp { since: *since },
                BuildOnSlave::Ready => Place::Ready,
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

impl BuildThere {
    /// The places of waiting subjobs are walked, not the subjobs themselves: there may be very many.
    fn of(build: &Build, progress: &Progress, bundling: Bundling) -> Self {
        let mut lots = Vec::new();
        let held = progress.running.iter();
        lots.extend(held.filter_map(|(id, held)| {
            let held = Some(*held);
            Some(Lot {
                held,
                ..Lot::of(*id, build.subjob(*id)?)
            })
        }));
        let is_known = build.subjobs.first().is_some_and(|subjob| {
            let first = Lot::of(SubjobId(0), subjob);
            first.expected_ms.is_some()
        });
        let waiting = progress
            .unstarted
            .expected()
            .chain(progress.again.expected());
        let waiting = waiting.map(|(id, expected_ms)| Lot {
            first: id,
            number: 1,
            expected_ms: is_known.then_some(expected_ms),
            held: None,
            started: None,
        });
        let aside = build.set_aside().map(|(id, subjob)| Lot::of(id, subjob));
        let expected_ms = progress.unstarted.expected_ms();
        let expected_ms = expected_ms.saturating_add(progress.again.expected_ms());
        let whole = (build.num_unstarted(), is_known.then_some(expected_ms));
        lots.extend(bundling.lots(aside.chain(waiting), whole));
        let every = build.subjobs.len().div_ceil(ENDED_LOOKED_AT).max(1);
        let ended = build.subjobs.iter().enumerate().step_by(every);
        Self {
            lots,
            ended: ended.filter_map(ended_there).collect(),
            ended_earlier: false,
            setup_ms: build.setup_ms(),
            request: build.request.source(),
            plan: terms(build),
        }
    }

    /// A build on the terms of an earlier one, whose set-ups take as long; without atoms, see [`Self::waiting`].
    #[must_use]
    pub fn like(earlier: &Build) -> Self {
        Self {
            lots: Vec::new(),
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
        waiting.sort_by_key(|lot| (std::cmp::Reverse(lot.expected_ms), lot.first));
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
        self.lots.iter().map(|lot| u64::from(lot.number)).sum()
    }
}

impl Lot {
    /// A subjob that waits.
    #[must_use]
    pub fn of(first: SubjobId, subjob: &Subjob) -> Self {
        let is_known = !subjob.atoms_expected_ms.is_empty();
        Self {
            first,
            number: 1,
            expected_ms: is_known.then(|| subjob.expected_ms()),
            held: None,
            started: None,
        }
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

/// How the waiting subjobs of a build become a bounded number of lots.
#[derive(Clone, Copy, Debug)]
struct Bundling {
    singles: usize,
    most_lots: usize,
    executors: u64,
}

impl Bundling {
    /// For each of so many builds, on so many executors.
    fn of(num_builds: usize, executors: u64) -> Self {
        let part = |all: usize| (all / num_builds.max(1)).max(FEWEST_LOTS);
        Self {
            singles: part(SINGLES),
            most_lots: part(LOTS),
            executors: executors.max(1),
        }
    }

    /// Lots of these subjobs, in their order. `whole` is how many they are, and how long all are expected to take.
    fn lots(self, waiting: impl Iterator<Item = Lot>, whole: (usize, Option<u64>)) -> Vec<Lot> {
        let (number, expected_ms) = whole;
        if number <= self.singles {
            return waiting.collect();
        }
        let mut left = expected_ms.unwrap_or(number as u64);
        let mut lots: Vec<Lot> = Vec::new();
        let mut open: Option<(Lot, u64)> = None;
        for next in waiting {
            let weight = next.expected_ms.unwrap_or(1);
            let (lot, weight) = match open {
                Some((lot, before)) => (lot.with(next), before.saturating_add(weight)),
                None => (next, weight),
            };
            open = if weight >= left / (TAPER * self.executors) {
                lots.push(lot);
                left = left.saturating_sub(weight);
                None
            } else {
                Some((lot, weight))
            };
        }
        lots.extend(open.map(|(lot, _)| lot));
        let too_many = lots.len().div_ceil(self.most_lots);
        let bundles = lots.chunks(too_many.max(1));
        let bundles = bundles.filter_map(|lots| lots.iter().copied().reduce(Lot::with));
        bundles.collect()
    }
}

impl Lot {
    fn with(self, other: Self) -> Self {
        let expected_ms = self.expected_ms.zip(other.expected_ms);
        Self {
            number: self.number + other.number,
            expected_ms: expected_ms.map(|(one, other)| one.saturating_add(other)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(id: u32, expected_ms: u64) -> Lot {
        Lot {
            first: SubjobId(id),
            number: 1,
            expected_ms: Some(expected_ms),
            held: None,
            started: None,
        }
    }

    fn sum(lots: &[Lot]) -> (u32, u64) {
        let expected = lots.iter().filter_map(|lot| lot.expected_ms).sum();
        (lots.iter().map(|lot| lot.number).sum(), expected)
    }

    #[test]
    fn lots_get_the_smaller_the_nearer_the_end_is_and_none_is_lost() {
        let all: Vec<Lot> = (0..100_000)
            .map(|id| single(id, 200_000 - u64::from(id)))
            .collect();
        let whole = sum(&all);
        for (executors, most) in [(8, 300), (200, 4000), (4000, LOTS)] {
            let bundling = Bundling::of(1, executors);
            let lots = bundling.lots(all.iter().copied(), (all.len(), Some(whole.1)));
            assert!(lots.len() <= most, "{executors}: {}", lots.len());
            assert_eq!(sum(&lots), whole);
            let longest = lots.iter().filter_map(|lot| lot.expected_ms).max();
            let fits = longest.is_some_and(|longest| longest <= whole.1 / executors);
            assert!(fits || lots.len() > 4000, "{executors}: {longest:?}");
            assert!(lots[0].number >= lots[lots.len() - 1].number);
        }
        let few = Bundling::of(1, 8).lots(all[..900].iter().copied(), (900, None));
        assert_eq!(few, all[..900]);
    }
}
