//! When builds will end: the cluster is made again from what a look at it took along ([`Scene`]), and the real scheduler
//! runs it forward in virtual time, a few times, with durations drawn from what is known of the atoms. Pure: the time
//! comes in as an argument, and chance follows from what is drawn.
//!
//! Of what may still come, failures, retries, lost slaves and builds that are not prepared yet are left out.

mod belief;
mod chance;
mod copy;
mod farm;
mod learned;
mod lots;
mod plan;
mod scene;
mod slaves;
#[cfg(test)]
mod tests;

pub use learned::Learned;
pub use lots::Lot;
pub use plan::{Choice, Plan, Wanted, plan};
pub use scene::{BuildThere, EndedThere, Scene};

use crate::Cluster;
use crate::builds::hand_out::HandOut;
use belief::{Belief, Draw, OF_SETUP};
use chance::normal;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId, SubjobId};
use farm::{Farm, Times};
use scene::SetupProgress;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How many ways into the future are looked at as a rule, and at least.
const DRAWS: u64 = 32;
const FEWEST_DRAWS: u64 = 19;

/// How many lots are handed out in all ways together: what a forecast costs.
const MOST_HAND_OUTS: u64 = 32_000;

/// What starting an atom takes beside its duration, in microseconds.
const OVERHEAD_US: f64 = 300.0;

/// How much set-ups of one build differ: the standard deviation of the logarithm.
const SETUPS_DIFFER: f64 = 0.2;

/// When a build will end, in milliseconds from the look on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// It ends as likely before as after this.
    pub median: u64,
    /// It ends before this with a probability of 5 %.
    pub low: u64,
    /// It ends before this with a probability of 95 %.
    pub high: u64,
}

/// When the builds of a scene will end, with the parents of those of a matrix; nothing while nothing is known of one of
/// them. One that no slave can end is not in it.
/// `learned` has what earlier runs say of each build; where one is missing, little.
#[must_use]
pub fn forecast(
    scene: &Scene,
    learned: &BTreeMap<BuildId, Arc<Learned>>,
) -> BTreeMap<BuildId, Finish> {
    run(scene, learned, None)
}

/// The same for one build only, if one is wanted: what runs beside it need not end.
fn run(
    scene: &Scene,
    learned: &BTreeMap<BuildId, Arc<Learned>>,
    wanted: Option<BuildId>,
) -> BTreeMap<BuildId, Finish> {
    let nothing = Learned::from(&[]);
    let beliefs = scene.builds.iter().filter_map(|(id, build)| {
        let learned = learned.get(id).map_or(&nothing, Arc::as_ref);
        Some((*id, Belief::of(*id, build, learned, scene.now)?))
    });
    let beliefs: BTreeMap<BuildId, Belief<'_>> = beliefs.collect();
    // A build that nobody can foretell holds executors for nobody knows how long: then nothing is foretold of others.
    if !scene.is_whole || beliefs.len() < scene.builds.len() {
        return BTreeMap::new();
    }
    let lots: usize = scene.builds.values().map(|build| build.lots.len()).sum();
    let draws = (MOST_HAND_OUTS / (lots.max(1) as u64)).clamp(FEWEST_DRAWS, DRAWS);
    let copy = copy::cluster_of(scene);
    let setups_ms = setups_ms(scene, learned);
    let mut ends: BTreeMap<BuildId, Vec<u64>> = BTreeMap::new();
    for number in 0..draws {
        let way = Way {
            scene,
            number,
            setups_ms: &setups_ms,
            draws: beliefs
                .iter()
                .map(|(id, belief)| (*id, belief.draw(number)))
                .collect(),
        };
        let mut of_way = ends_of(&way, copy.clone(), wanted);
        of_way.extend(ends_of_parents(scene, &of_way));
        for (build, end_us) in of_way {
            ends.entry(build).or_default().push(end_us / 1000);
        }
    }
    // What does not end in each way is waited for in vain, as far as is known.
    ends.retain(|_, ends| ends.len() as u64 == draws);
    ends.into_iter()
        .map(|(id, ends)| (id, Finish::of(ends)))
        .collect()
}

/// How long a set-up of each build takes: as those of it that are over, else as those of earlier builds, and no less than
/// what runs has taken already.
fn setups_ms(scene: &Scene, learned: &BTreeMap<BuildId, Arc<Learned>>) -> BTreeMap<BuildId, u64> {
    let builds = scene.builds.iter();
    let known = builds.filter_map(|(id, build)| {
        let of_earlier = learned.get(id).and_then(|learned| learned.setup_ms);
        let of_running = || scene.sets_up_for_ms(*id);
        let setup_ms = build.setup_ms.or_else(|| of_earlier.max(of_running()))?;
        Some((*id, setup_ms))
    });
    known.collect()
}

/// When the parents end whose builds of a matrix all end in the same way: with the last of them.
fn ends_of_parents(scene: &Scene, ends: &BTreeMap<BuildId, u64>) -> BTreeMap<BuildId, u64> {
    let parents = scene.parents.iter();
    let known = parents.filter_map(|(parent, children)| {
        let mut ends = children.iter().map(|child| ends.get(child).copied());
        let last = ends.try_fold(None, |last: Option<u64>, end| Some(last.max(Some(end?))));
        Some((*parent, last??))
    });
    known.collect()
}

/// When the builds end in one way.
fn ends_of(way: &Way<'_>, copy: Cluster, wanted: Option<BuildId>) -> BTreeMap<BuildId, u64> {
    let scene = way.scene;
    let mut farm = Farm::new(copy, way, scene.now);
    for (id, build) in &scene.builds {
        for (subjob, lot) in (0..).map(SubjobId).zip(&build.lots) {
            let Some((slave, _)) = lot.held else { continue };
            let hand_out = HandOut {
                slave,
                build: *id,
                subjob,
                attempt: Attempt::FIRST,
            };
            let ran = lot.started.map(|started| us_until(started, scene.now));
            farm.resume(hand_out, ran);
        }
    }
    for (slave, there) in &scene.slaves {
        for (build, place) in &there.places {
            if let SetupProgress::SettingUp { since } = place {
                let since = since.unwrap_or(scene.now);
                farm.resume_set_up(*build, *slave, us_until(since, scene.now));
            }
        }
    }
    farm.start();
    match wanted {
        Some(build) => farm.run_until(build),
        None => farm.run(),
    }
    farm.ended
}

fn us_until(from: Timestamp, to: Timestamp) -> u64 {
    to.0.saturating_sub(from.0).saturating_mul(1000)
}

/// One way into the future.
struct Way<'a> {
    scene: &'a Scene,
    number: u64,
    setups_ms: &'a BTreeMap<BuildId, u64>,
    draws: BTreeMap<BuildId, Draw<'a>>,
}

impl Times for Way<'_> {
    fn left_of_atom(&self, build: BuildId, subjob: SubjobId, slave: SlaveId, ran_us: u64) -> u64 {
        let there = self.scene.builds.get(&build);
        let lot = there.and_then(|there| there.lots.get(subjob.0 as usize));
        let (Some(lot), Some(draw)) = (lot, self.draws.get(&build)) else {
            return 0;
        };
        let takes_ms = draw.takes_ms(lot, slave, ran_us as f64 / 1000.0);
        let overhead = OVERHEAD_US * f64::from(lot.number);
        whole(takes_ms * 1000.0 + overhead).saturating_sub(ran_us)
    }

    fn set_up(&self, build: BuildId, slave: SlaveId) -> u64 {
        let Some(usual) = self.setups_ms.get(&build) else {
            return 0;
        };
        let by = SETUPS_DIFFER * normal(&[OF_SETUP, self.number, build.0, slave.0]);
        whole(*usual as f64 * 1000.0 * by.exp())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time, and a cast stays within what a number can hold"
)]
fn whole(number: f64) -> u64 {
    number.max(0.0).round() as u64
}

impl Finish {
    /// Of at least one end.
    fn of(mut ends: Vec<u64>) -> Self {
        ends.sort_unstable();
        let quantile = |probability: f64| {
            // The place of a quantile among numbers that are drawn, which lies between two of them.
            let place = probability * (ends.len() + 1) as f64 - 1.0;
            let place = place.clamp(0.0, ends.len().saturating_sub(1) as f64);
            let at = |place: f64| ends.get(learned::index(place)).copied().unwrap_or(0) as f64;
            let part = place.fract();
            whole(at(place) * (1.0 - part) + at(place.ceil()) * part)
        };
        Self {
            median: quantile(0.5),
            low: quantile(0.05),
            high: quantile(0.95),
        }
    }

    /// As it stands after so much time: what is over is not before now.
    #[must_use]
    pub fn earlier_by(self, time: Duration) -> Self {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            median: self.median.saturating_sub(ms),
            low: self.low.saturating_sub(ms),
            high: self.high.saturating_sub(ms),
        }
    }

    /// So much later.
    #[must_use]
    pub fn after(self, ms: u64) -> Self {
        Self {
            median: self.median.saturating_add(ms),
            low: self.low.saturating_add(ms),
            high: self.high.saturating_add(ms),
        }
    }
}
