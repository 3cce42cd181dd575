//! What is believed of how long the rest of a build's atoms will take, after what has ended of it: the build and each
//! of its slaves may be slower or faster than earlier runs let expect, and each run differs by itself.

use super::chance::{fraction, normal};
use super::learned::{Learned, log_ms};
use super::lots::Lot;
use super::scene::BuildThere;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SlaveId};
use std::collections::BTreeMap;

/// How many ended atoms a build needs that nothing was known of before.
const FEWEST_ENDED: usize = 3;

/// How many runs what was learned of the spread counts for beside those of this build.
const LEARNED_RUNS: f64 = 20.0;

/// How much slaves differ at least: a later atom need not be like the ones before.
const SLAVES_DIFFER: f64 = 0.03;

/// Half of what is normally distributed lies within so many times less than the standard deviation.
const HALF_IN_DEVIATIONS: f64 = 1.4826;

/// Beyond so many standard deviations an atom says nothing more of its slave and its build.
const CLIPPED_AT: f64 = 3.0;

/// An atom that runs for longer than any is expected to goes on for this part of its time, on average.
const OVERDUE: f64 = 0.2;

/// How often an unknown atom is drawn again that already ran for longer.
const DRAWN_AGAIN: u64 = 8;

/// Names of draws, so that none is like another.
const OF_BUILD: u64 = 1;
const OF_SLAVE: u64 = 2;
const OF_RUN: u64 = 3;
const OF_LENGTH: u64 = 4;
const OF_WEIGHT: u64 = 5;
pub(super) const OF_SETUP: u64 = 6;

/// What is believed of a build.
pub(super) enum Belief<'a> {
    /// Earlier runs say something of its atoms.
    Known(Known<'a>),
    /// Only its own atoms do.
    Own(Own),
}

/// After earlier runs, and what has ended.
pub(super) struct Known<'a> {
    build: u64,
    learned: &'a Learned,
    /// How much runs differ in this build, for how much they differed in earlier ones.
    widened: f64,
    /// The build's own difference, and how well it is known.
    shift: (f64, f64),
    /// The difference of the build that its slaves ran before, where nothing of this one has ended yet.
    of_earlier: Option<f64>,
    /// How much slaves differ among themselves.
    between_slaves: f64,
    /// A slave of which nothing is known is like most others: their middle, and how much they differ from it.
    usual_slave: (f64, f64),
    /// What the atoms that ended on a slave say: their mean difference, and how well that is known.
    slaves: BTreeMap<SlaveId, (f64, f64)>,
    /// How long the known atoms are expected to take, sorted: an unknown one is like any of them.
    lengths: Vec<f64>,
    /// The mean of a run for what is expected of it, and the standard deviation.
    of_many: (f64, f64),
}

/// How long atoms took, with the weight of each: those that still run count for whatever is longer.
pub(super) struct Own {
    build: u64,
    took: Vec<(f64, f64)>,
    smoothing: Smoothing,
}

/// Lets atoms take other times than those that were seen, longer ones too, by a normal kernel: of logarithms, whose mean
/// and variance stay as they are.
#[derive(Clone, Copy)]
pub(super) struct Smoothing {
    mean: f64,
    width: f64,
    shrunk: f64,
}

/// One of the ways in which a build may go on.
pub(super) enum Draw<'a> {
    Known {
        known: &'a Known<'a>,
        number: u64,
        shift: f64,
    },
    Own {
        build: u64,
        number: u64,
        /// How long atoms take, in milliseconds, with the probability that one takes at most as long.
        took: Vec<(f64, f64)>,
        smoothing: Smoothing,
    },
}

impl<'a> Belief<'a> {
    /// What is believed of a build; none where nothing is known yet.
    pub(super) fn of(
        id: BuildId,
        build: &BuildThere,
        learned: &'a Learned,
        now: Timestamp,
    ) -> Option<Self> {
        let is_known = |expected_ms: Option<u64>| expected_ms.is_some();
        let mut lots = build.lots.iter().map(|lot| lot.expected_ms);
        match lots.any(is_known) {
            true => Some(Self::Known(Known::of(id, build, learned))),
            false => Own::of(id, build, now).map(Self::Own),
        }
    }

    /// The way with this number.
    pub(super) fn draw(&self, number: u64) -> Draw<'_> {
        match self {
            Self::Known(known) => {
                let (mean, deviation) = known.shift;
                let shift = mean + deviation * normal(&[OF_BUILD, number, known.build]);
                Draw::Known {
                    known,
                    number,
                    shift,
                }
            }
            Self::Own(own) => own.draw(number),
        }
    }
}

impl<'a> Known<'a> {
    fn of(id: BuildId, build: &BuildThere, learned: &'a Learned) -> Self {
        let spread = learned.spread;
        let usual = learned.quantile(0.5);
        let ended = build.ended.iter().filter_map(|ended| {
            let expected_ms = ended.expected_ms?;
            let expected = learned.expected(expected_ms as f64);
            let by = log_ms(ended.took_ms as f64) - log_ms(expected) - usual;
            (!learned.is_unknown(ended.id)).then_some((ended.slave?, by))
        });
        let mut by_slave: BTreeMap<SlaveId, Vec<f64>> = BTreeMap::new();
        for (slave, by) in ended {
            by_slave.entry(slave).or_default().push(by);
        }
        let (mut squares, mut number) = (LEARNED_RUNS * spread.powi(2), LEARNED_RUNS);
        let mut slaves = BTreeMap::new();
        for (slave, of_slave) in &mut by_slave {
            of_slave.sort_by(f64::total_cmp);
            let middle = of_slave[of_slave.len() / 2];
            let most = CLIPPED_AT * spread;
            let clipped = of_slave.iter().map(|by| (by - middle).clamp(-most, most));
            let clipped: Vec<f64> = clipped.collect();
            let count = clipped.len() as f64;
            squares += clipped.iter().map(|by| by.powi(2)).sum::<f64>();
            number += count - 1.0;
            slaves.insert(
                *slave,
                (middle + clipped.iter().sum::<f64>() / count, count),
            );
        }
        let spread_here = (squares / number).sqrt();
        for mean in slaves.values_mut() {
            mean.1 = spread_here.powi(2) / mean.1;
        }
        let between_slaves = between(&slaves);
        let (mut precision, mut weighed) = (learned.drift.powi(-2), 0.0);
        for (mean, variance) in slaves.values() {
            let of_slave = 1.0 / (between_slaves.powi(2) + variance);
            precision += of_slave;
            weighed += of_slave * mean;
        }
        let widened = spread_here / spread;
        let (shift, of_earlier) = match build.ended_earlier {
            true => ((0.0, learned.drift), Some(weighed / precision)),
            false => ((weighed / precision, precision.powf(-0.5)), None),
        };
        let mut lengths: Vec<f64> = known_lengths(build, learned).collect();
        lengths.sort_by(f64::total_cmp);
        Self {
            build: id.0,
            learned,
            widened,
            shift,
            of_earlier,
            between_slaves,
            usual_slave: usual_slave(&slaves).unwrap_or((weighed / precision, SLAVES_DIFFER)),
            slaves,
            lengths,
            of_many: of_many(learned, widened),
        }
    }

    /// How much slower a slave is than the build lets expect, if the build is so much slower itself.
    fn of_slave(&self, slave: SlaveId, number: u64, shift: f64) -> f64 {
        let between = self.between_slaves.powi(2);
        let of_build = self.of_earlier.unwrap_or(shift);
        let (mean, variance) = match self.slaves.get(&slave) {
            Some((mean, variance)) => {
                let known = between / (between + variance);
                (known * (mean - of_build), known * variance)
            }
            None => (self.usual_slave.0 - of_build, self.usual_slave.1.powi(2)),
        };
        mean + variance.sqrt() * normal(&[OF_SLAVE, number, self.build, slave.0])
    }

    /// Of one atom, in milliseconds, if it runs for longer than `ran_ms`.
    fn length(&self, lot: &Lot, number: u64, by: f64, ran_ms: f64) -> f64 {
        let named = [OF_RUN, number, self.build, lot.first.0.into()];
        let chance = fraction(&named);
        let is_unknown = self.learned.is_unknown(lot.first) && !self.lengths.is_empty();
        let scale = self.learned.scale(lot.first) * self.widened;
        let run = |expected: f64, chance: f64| {
            let by = by + scale * self.learned.quantile(chance);
            ((expected + 1.0) * by.exp() - 1.0).max(0.0)
        };
        if is_unknown {
            let again = (0..DRAWN_AGAIN).map(|again| {
                let named = [OF_LENGTH, number, self.build, lot.first.0.into(), again];
                let place = fraction(&named) * self.lengths.len() as f64;
                run(self.lengths[super::learned::index(place)], chance)
            });
            let longer = { again }.find(|took| *took > ran_ms);
            return longer.unwrap_or_else(|| overdue(ran_ms, chance));
        }
        let expected = self.learned.expected(lot.expected_ms.unwrap_or(0) as f64);
        let ran = (log_ms(ran_ms) - log_ms(expected) - by) / scale;
        let below = match ran_ms > 0.0 {
            true => self.learned.probability_below(ran),
            false => 0.0,
        };
        if below >= 1.0 {
            return overdue(ran_ms, chance);
        }
        run(expected, below + chance * (1.0 - below)).max(ran_ms)
    }
}

/// How much slaves differ, beyond what chance makes them differ.
fn between(slaves: &BTreeMap<SlaveId, (f64, f64)>) -> f64 {
    let number = slaves.len() as f64;
    if number < 2.0 {
        return SLAVES_DIFFER;
    }
    let mean = slaves.values().map(|(mean, _)| mean).sum::<f64>() / number;
    let squares = slaves.values().map(|(one, _)| (one - mean).powi(2));
    let by_chance = slaves.values().map(|(_, variance)| variance).sum::<f64>() / number;
    let variance = squares.sum::<f64>() / (number - 1.0) - by_chance;
    variance.max(SLAVES_DIFFER.powi(2)).sqrt()
}

/// The middle of slaves, the faster one of two, and by how much half of them differ from it at most, as a standard
/// deviation. One slave that is slow does not make the next one slow.
fn usual_slave(slaves: &BTreeMap<SlaveId, (f64, f64)>) -> Option<(f64, f64)> {
    let middle = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        let place = numbers.len().checked_sub(1)? / 2;
        numbers.get(place).copied()
    };
    let usual = middle(slaves.values().map(|(mean, _)| *mean).collect())?;
    let distances = slaves.values().map(|(mean, _)| (mean - usual).abs());
    let distance = middle(distances.collect())?;
    Some((usual, (HALF_IN_DEVIATIONS * distance).max(SLAVES_DIFFER)))
}

fn known_lengths(build: &BuildThere, learned: &Learned) -> impl Iterator<Item = f64> {
    let lots = build
        .lots
        .iter()
        .map(|lot| (lot.first, lot.number, lot.expected_ms));
    let ended = build
        .ended
        .iter()
        .map(|ended| (ended.id, 1, ended.expected_ms));
    let known = lots
        .chain(ended)
        .filter(|(id, ..)| !learned.is_unknown(*id));
    known.filter_map(|(_, number, expected)| {
        let of_one = expected? as f64 / f64::from(number);
        Some(learned.expected(of_one))
    })
}

fn of_many(learned: &Learned, widened: f64) -> (f64, f64) {
    let runs = learned.differences.iter().map(|by| (widened * by).exp());
    mean_and_deviation(runs.map(|run| (run, 1.0)))
}

fn mean_and_deviation(weighed: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let sums = weighed.fold((0.0, 0.0, 0.0), |(sum, squares, weights), (one, weight)| {
        (
            sum + one * weight,
            squares + one * one * weight,
            weights + weight,
        )
    });
    let (sum, squares, weights) = sums;
    let weights = f64::max(weights, f64::MIN_POSITIVE);
    let mean = sum / weights;
    (mean, (squares / weights - mean * mean).max(0.0).sqrt())
}

/// In all, of an atom that ran for longer than was expected of it.
fn overdue(ran_ms: f64, chance: f64) -> f64 {
    ran_ms - OVERDUE * ran_ms * chance.ln()
}

impl Own {
    /// By the estimate of Kaplan and Meier: an atom that still runs says that it takes longer than that. Without it the
    /// short ones, which end first, would stand for all.
    fn of(id: BuildId, build: &BuildThere, now: Timestamp) -> Option<Self> {
        if build.ended.len() < FEWEST_ENDED {
            return None;
        }
        let running = build.lots.iter().filter_map(|lot| lot.started);
        let running = running.map(|started| (now.0.saturating_sub(started.0) as f64, false));
        let ended = build.ended.iter().map(|ended| (ended.took_ms as f64, true));
        let mut all: Vec<(f64, bool)> = ended.chain(running).collect();
        all.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let (mut left, mut took) = (1.0, Vec::new());
        for (place, (ms, has_ended)) in all.iter().enumerate() {
            let at_risk = (all.len() - place) as f64;
            if *has_ended {
                took.push((*ms, left / at_risk));
                left *= 1.0 - 1.0 / at_risk;
            }
        }
        if let Some((longest, false)) = all.last()
            && left > 0.0
        {
            took.push((longest * (1.0 + OVERDUE), left));
        }
        let smoothing = Smoothing::of(&took);
        Some(Self {
            build: id.0,
            took,
            smoothing,
        })
    }

    /// A few atoms do not tell much: each way weighs them otherwise, by the bootstrap of Rubin.
    fn draw(&self, number: u64) -> Draw<'static> {
        let weights = (0_u64..).zip(&self.took).map(|(place, (ms, weight))| {
            let chance = fraction(&[OF_WEIGHT, number, self.build, place]);
            (*ms, -weight * chance.ln())
        });
        let weighed: Vec<(f64, f64)> = weights.collect();
        let all: f64 = weighed.iter().map(|(_, weight)| weight).sum();
        let mut below = 0.0;
        let took = weighed.into_iter().map(|(ms, weight)| {
            below += weight / all;
            (ms, below)
        });
        Draw::Own {
            build: self.build,
            number,
            took: took.collect(),
            smoothing: self.smoothing,
        }
    }
}

impl Smoothing {
    /// The width is Silverman's.
    fn of(took: &[(f64, f64)]) -> Self {
        let logs = took.iter().map(|(ms, weight)| (log_ms(*ms), *weight));
        let (mean, deviation) = mean_and_deviation(logs);
        let width = deviation * (took.len() as f64).powf(-0.2);
        let shrunk = match deviation > 0.0 {
            true => (1.0 + (width / deviation).powi(2)).powf(-0.5),
            false => 1.0,
        };
        Self {
            mean,
            width,
            shrunk,
        }
    }

    fn smooth(self, ms: f64, z: f64) -> f64 {
        let log = self.mean + (log_ms(ms) - self.mean + self.width * z) * self.shrunk;
        (log.exp() - 1.0).max(0.0)
    }
}

impl Draw<'_> {
    /// How long a lot takes in all on a slave, in milliseconds, if it has run for `ran_ms` already.
    pub(super) fn takes_ms(&self, lot: &Lot, slave: SlaveId, ran_ms: f64) -> f64 {
        let many = f64::from(lot.number);
        match self {
            Self::Known {
                known,
                number,
                shift,
            } => {
                let by = shift + known.of_slave(slave, *number, *shift);
                if lot.number == 1 {
                    return known.length(lot, *number, by, ran_ms);
                }
                let named = [OF_RUN, *number, known.build, lot.first.0.into()];
                let (mean, deviation) = known.of_many;
                let run = mean + deviation * normal(&named) / many.sqrt();
                let of_one = lot.expected_ms.unwrap_or(0) as f64 / many;
                many * known.learned.expected(of_one) * by.exp() * run.max(0.0)
            }
            Self::Own {
                build,
                number,
                took,
                smoothing,
            } => {
                let named = [OF_RUN, *number, *build, lot.first.0.into()];
                if lot.number > 1 {
                    let mut below = 0.0;
                    let weighed = took.iter().map(|(ms, next)| {
                        let weight = next - below;
                        below = *next;
                        (*ms, weight)
                    });
                    let (mean, deviation) = mean_and_deviation(weighed);
                    return (many * mean + many.sqrt() * deviation * normal(&named)).max(0.0);
                }
                let chance = fraction(&named);
                let shorter = took.partition_point(|(ms, _)| *ms <= ran_ms);
                let before = match shorter.checked_sub(1).filter(|_| ran_ms > 0.0) {
                    Some(last) => took[last].1,
                    None => 0.0,
                };
                let wanted = before + chance * (1.0 - before);
                let place = took.partition_point(|(_, below)| *below < wanted);
                let longer = |(ms, _): &&(f64, f64)| ran_ms <= 0.0 || *ms > ran_ms;
                let Some((ms, _)) = took.get(place).filter(longer) else {
                    return overdue(ran_ms, chance);
                };
                let z = normal(&[OF_LENGTH, *number, *build, lot.first.0.into()]);
                match smoothing.smooth(*ms, z) {
                    smoothed if smoothed > ran_ms => smoothed,
                    _ => *ms,
                }
            }
        }
    }
}
