//! What earlier runs of a build's atoms say of the next ones: by how much a run differs from what the runs before it let
//! expect. Differences are logarithms of ratios, so that atoms of all lengths say the same thing.

use super::chance::normal_quantile;
use crate::builds::durations::typical;
use clusterrunner_common::ids::SubjobId;
use std::collections::{BTreeMap, HashMap, HashSet};

/// How much runs differ where nothing is known yet, and how many runs that guess counts for.
const GUESSED_SPREAD: f64 = 0.15;
const GUESSED_RUNS: u32 = 20;

/// How much whole builds differ where nothing is known yet, and how many builds that guess counts for.
const GUESSED_DRIFT: f64 = 0.05;
const GUESSED_BUILDS: f64 = 3.0;

/// How many runs the spread of all atoms counts for beside the runs of one atom.
const COMMON_RUNS: f64 = 6.0;

/// How much more or less than all atoms together one atom may differ from run to run.
const SCALES: std::ops::RangeInclusive<f64> = 0.3..=3.0;

/// How many quantiles of the differences are kept.
const QUANTILES: usize = 512;

/// The variance of a median of many runs, beside that of their mean.
const OF_MEDIAN: f64 = 1.57;

/// How many atoms must have a run in the same earlier build to tell of that build.
const FEWEST_OF_BUILD: usize = 5;

/// What earlier runs say.
#[derive(Clone, Debug)]
pub struct Learned {
    /// How long set-ups of earlier builds of the job took, in milliseconds, where that is known.
    pub(super) setup_ms: Option<u64>,
    /// By how much a run of an atom differs, for its scale; sorted, evenly chosen.
    pub(super) differences: Vec<f64>,
    /// Their standard deviation.
    pub(super) spread: f64,
    /// By how much all atoms of a build differ together.
    pub(super) drift: f64,
    /// The mean length of the atoms, and which part of what their lengths differ by is no chance.
    lengths: (f64, f64),
    scales: HashMap<SubjobId, f64>,
    unknown: HashSet<SubjobId>,
}

/// One run beside the others of its atom.
struct Difference {
    atom: usize,
    /// How many runs of the atom came after it.
    ago: usize,
    by: f64,
}

impl Learned {
    /// What runs of atoms say, each with its latest runs in milliseconds, the last one at the end. An atom without runs
    /// is known to be unknown; of one that is not named nothing is said.
    #[must_use]
    pub fn from(runs: &[(SubjobId, Vec<u64>)]) -> Self {
        let mut differences: Vec<Difference> = runs
            .iter()
            .enumerate()
            .flat_map(|(atom, (_, runs))| differences(atom, runs))
            .collect();
        let drift = take_builds_out(&mut differences);
        let guesses = (0..GUESSED_RUNS).map(|number| {
            let probability = (f64::from(number) + 0.5) / f64::from(GUESSED_RUNS);
            GUESSED_SPREAD * normal_quantile(probability)
        });
        let guesses: Vec<f64> = guesses.collect();
        let all = differences.iter().map(|one| one.by);
        let spread = deviation(all.chain(guesses.iter().copied()));
        let mut of_atoms: Vec<(f64, f64)> = vec![(0.0, 0.0); runs.len()];
        for one in &differences {
            let (squares, number) = &mut of_atoms[one.atom];
            *squares += (one.by / spread).powi(2);
            *number += 1.0;
        }
        let scales: Vec<f64> = of_atoms
            .iter()
            .map(|(squares, number)| {
                let scale = ((COMMON_RUNS + squares) / (COMMON_RUNS + number)).sqrt();
                scale.clamp(*SCALES.start(), *SCALES.end())
            })
            .collect();
        let scaled = differences.iter().map(|one| one.by / scales[one.atom]);
        let scaled = scaled.chain(guesses).collect();
        let differences = evenly_chosen(scaled);
        let known = |runs: &&(SubjobId, Vec<u64>)| !runs.1.is_empty();
        Self {
            setup_ms: None,
            spread: deviation(differences.iter().copied()),
            differences,
            drift,
            lengths: lengths(runs, spread),
            scales: runs.iter().map(|(id, _)| *id).zip(scales).collect(),
            unknown: runs
                .iter()
                .filter(|runs| !known(runs))
                .map(|(id, _)| *id)
                .collect(),
        }
    }

    /// The same, with how long set-ups of earlier builds of the job took, in milliseconds, where that is known.
    #[must_use]
    pub fn with_setups(self, setup_ms: Option<u64>) -> Self {
        Self { setup_ms, ..self }
    }

    /// What is to be expected of an atom whose earlier runs took `ms` as a rule, in milliseconds. The longest of many
    /// atoms of the same kind is so by chance, and the next time it is like the others.
    pub(super) fn expected(&self, ms: f64) -> f64 {
        let (mean, part) = self.lengths;
        (mean + part * (log_ms(ms) - mean)).exp() - 1.0
    }

    /// How much an atom differs from run to run, beside all atoms.
    pub(super) fn scale(&self, atom: SubjobId) -> f64 {
        self.scales.get(&atom).copied().unwrap_or(1.0)
    }

    /// Whether an atom never ran before.
    pub(super) fn is_unknown(&self, atom: SubjobId) -> bool {
        self.unknown.contains(&atom)
    }

    /// The difference below which a run stays with this probability.
    pub(super) fn quantile(&self, probability: f64) -> f64 {
        let last = self.differences.len().saturating_sub(1);
        let place = probability * last as f64;
        let (low, part) = (place.floor(), place.fract());
        let at = |place: f64| self.differences.get(index(place)).copied().unwrap_or(0.0);
        at(low) * (1.0 - part) + at((low + 1.0).min(last as f64)) * part
    }

    /// The probability that a run stays below a difference.
    pub(super) fn probability_below(&self, difference: f64) -> f64 {
        let below = self.differences.partition_point(|one| *one <= difference);
        below as f64 / self.differences.len().max(1) as f64
    }
}

/// A place in a list, from a number that is none below zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list"
)]
pub(super) fn index(place: f64) -> usize {
    place.max(0.0) as usize
}

/// The logarithm of a number of milliseconds: one more, since clocks tell no less than one apart.
pub(super) fn log_ms(ms: f64) -> f64 {
    (ms + 1.0).ln()
}

/// The mean of the logarithms of what atoms take as a rule, and which part of their variance is none of chance.
fn lengths(runs: &[(SubjobId, Vec<u64>)], spread: f64) -> (f64, f64) {
    let of_atoms = runs.iter().filter_map(|(_, runs)| {
        let by_chance = OF_MEDIAN.min(runs.len() as f64) * spread.powi(2) / runs.len() as f64;
        Some((log_ms(typical(runs)? as f64), by_chance))
    });
    let of_atoms: Vec<(f64, f64)> = of_atoms.collect();
    let number = of_atoms.len() as f64;
    if number < 2.0 {
        return (0.0, 1.0);
    }
    let mean = of_atoms.iter().map(|(length, _)| length).sum::<f64>() / number;
    let squares = of_atoms.iter().map(|(length, _)| (length - mean).powi(2));
    let variance = squares.sum::<f64>() / (number - 1.0);
    let by_chance = of_atoms.iter().map(|(_, by_chance)| by_chance).sum::<f64>() / number;
    match variance > 0.0 {
        true => (mean, (1.0 - by_chance / variance).clamp(0.0, 1.0)),
        false => (mean, 1.0),
    }
}

/// Each run of an atom beside the median of the others, as far from it as the next run will be from the median of all.
fn differences(atom: usize, runs: &[u64]) -> Vec<Difference> {
    let number = runs.len() as f64;
    let others = number - 1.0;
    let shrunk = ((1.0 + OF_MEDIAN / number) / (1.0 + OF_MEDIAN / others.max(1.0))).sqrt();
    let one = |(index, run): (usize, &u64)| {
        let mut others = runs.to_vec();
        others.remove(index);
        let expected = typical(&others)?;
        Some(Difference {
            atom,
            ago: runs.len() - 1 - index,
            by: (log_ms(*run as f64) - log_ms(expected as f64)) * shrunk,
        })
    };
    runs.iter().enumerate().filter_map(one).collect()
}

/// Takes out what the runs of each earlier build have in common, and says how much builds differ by that.
fn take_builds_out(differences: &mut [Difference]) -> f64 {
    let mut by_build: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for one in differences.iter() {
        by_build.entry(one.ago).or_default().push(one.by);
    }
    by_build.retain(|_, of_build| of_build.len() >= FEWEST_OF_BUILD);
    let common = by_build.into_iter().map(|(ago, mut of_build)| {
        of_build.sort_by(f64::total_cmp);
        (ago, of_build[of_build.len() / 2])
    });
    let common: BTreeMap<usize, f64> = common.collect();
    for one in differences {
        one.by -= common.get(&one.ago).copied().unwrap_or(0.0);
    }
    let squares: f64 = common.values().map(|common| common.powi(2)).sum();
    let guessed = GUESSED_BUILDS * GUESSED_DRIFT.powi(2);
    ((guessed + squares) / (GUESSED_BUILDS + common.len() as f64)).sqrt()
}

/// The standard deviation around zero.
fn deviation(numbers: impl Iterator<Item = f64>) -> f64 {
    let (squares, number) = numbers.fold((0.0, 0.0), |(squares, number), one| {
        (squares + one * one, number + 1.0)
    });
    (squares / f64::max(number, 1.0)).sqrt()
}

fn evenly_chosen(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    if numbers.len() <= QUANTILES {
        return numbers;
    }
    let last = numbers.len() - 1;
    let places = (0..QUANTILES).map(|place| place * last / (QUANTILES - 1));
    places.map(|place| numbers[place]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{chance::normal, whole};
    use super::*;

    /// Runs of atoms of one second that differ by so much from run to run, in builds that differ by so much.
    fn runs(num_atoms: u32, spread: f64, drift: f64) -> Vec<(SubjobId, Vec<u64>)> {
        let run = |atom: u32, build: u64| {
            let by = spread * normal(&[1, u64::from(atom), build]) + drift * normal(&[2, build]);
            whole(1000.0 * by.exp())
        };
        let of_atom = |atom| {
            (
                SubjobId(atom),
                (0..7).map(|build| run(atom, build)).collect(),
            )
        };
        (0..num_atoms).map(of_atom).collect()
    }

    #[test]
    fn what_differs_in_a_build_is_told_from_what_differs_in_an_atom() {
        for (spread, drift) in [(0.1, 0.0), (0.3, 0.1), (0.05, 0.2)] {
            let learned = Learned::from(&runs(500, spread, drift));
            let name = format!("{} {}", learned.spread, learned.drift);
            assert!(
                (learned.spread / spread - 1.0).abs() < 0.3,
                "{spread}: {name}"
            );
            assert!((learned.drift - drift).abs() < 0.06, "{drift}: {name}");
        }
    }

    #[test]
    fn an_atom_that_differs_much_is_told_from_others() {
        let mut all = runs(200, 0.1, 0.0);
        all[7].1 = vec![100, 9000, 300, 7000, 1000, 80, 4000];
        let learned = Learned::from(&all);
        assert!(learned.scale(SubjobId(7)) > 2.0 * learned.scale(SubjobId(8)));
    }

    #[test]
    fn without_runs_a_guess_is_made_and_the_atoms_are_unknown() {
        let learned = Learned::from(&[(SubjobId(3), Vec::new())]);
        assert!(learned.is_unknown(SubjobId(3)) && !learned.is_unknown(SubjobId(4)));
        assert!((0.1..0.2).contains(&learned.spread), "{}", learned.spread);
        assert!(learned.quantile(0.05) < -0.15 && learned.quantile(0.95) > 0.15);
        let below = learned.probability_below(learned.quantile(0.7));
        assert!((below - 0.7).abs() < 0.06, "{below}");
    }
}
