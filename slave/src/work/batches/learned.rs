//! What the batches of a job have shown: what the start of a process costs, how long atoms take in a batch, and how far that
//! is from what was expected. Pure.
//!
//! A batch takes `start + slope * x` seconds, where `x` is what its atoms are expected to take in all. Durations that are
//! known of atoms have a part of the starts of earlier batches in them, so that the slope is mostly below 1. Both numbers
//! are those of the straight line that fits the batches best (least squares), of which the newer ones count more. A point
//! for a batch of nothing is among them, so that a single batch is enough for a line.

use std::time::Duration;

/// What the start of a process is taken to cost as long as nothing is known, and the bounds of it.
const USUAL_START: f64 = 0.5;
const START: std::ops::RangeInclusive<f64> = 0.01..=20.0;

/// The bounds of the slope.
const SLOPE: std::ops::RangeInclusive<f64> = 0.000_1..=100.0;

/// What an atom is taken to last as long as nothing is known of it: so long that the first batches are small, and soon
/// show it.
const UNKNOWN: Duration = Duration::from_millis(600);

/// By which part of itself the duration of a batch is taken to be wrong as long as no batch has shown it: where the
/// durations of its atoms are known, and where they are not.
const USUAL_ERROR: f64 = 0.3;
const UNKNOWN_ERROR: f64 = 1.0;
const ERROR: std::ops::RangeInclusive<f64> = 0.05..=1.0;

/// What remains of the weight of the batches before when one more ends. Much: the batches of one moment of a build are about
/// equally long, and through these alone any line fits.
const MEMORY: f64 = 0.95;

/// The same for what is no line.
const SHORT_MEMORY: f64 = 0.75;

/// The weight of the point for a batch of nothing. It holds the line where batches are about equally long.
const NOTHING: f64 = 1.0;

/// So many times as large as the largest one before may a batch be of whose atoms nothing is known.
const GROWTH: usize = 4;

/// What batches have shown, apart for atoms of which something is known, and for others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Learned {
    known: Fit,
    unknown: Fit,
}

/// How a batch of atoms is expected to go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Model {
    /// What the start of a process costs, in seconds.
    pub(super) start: f64,
    slope: f64,
    /// By which part of itself the duration of a batch may be wrong.
    pub(super) error: f64,
    /// How many atoms a batch may have that has one of which nothing is known.
    pub(super) most_unknown: usize,
}

/// Sums over batches, for a straight line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Fit {
    weight: f64,
    x: f64,
    took: f64,
    x_x: f64,
    x_took: f64,
    /// What batches took beside their tests.
    beside: Option<f64>,
    error: Option<f64>,
    /// How many atoms the largest batch had.
    largest: usize,
}

/// What an atom counts for: its duration as it is known, in seconds.
pub(super) fn expected(known: Option<Duration>) -> Duration {
    known.unwrap_or(UNKNOWN)
}

/// A batch that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// How many atoms it had, and of how many of them nothing was known.
    pub(super) atoms: usize,
    pub(super) unknown: usize,
    /// What its atoms were expected to take.
    pub(super) expected: Duration,
    pub(super) took: Duration,
    /// How long its tests took, where it says so.
    pub(super) tests: Option<Duration>,
}

impl Learned {
    pub(super) fn observe(&mut self, seen: &Seen) {
        let start = self.usual_start();
        // Of a mixture nobody knows which part of the time is whose.
        match seen.unknown {
            0 => self.known.observe(seen, start),
            unknown if unknown == seen.atoms => self.unknown.observe(seen, start),
            _ => {}
        }
    }

    /// What holds for a batch of atoms of which nothing is known, or for one of others.
    pub(super) fn model(&self, is_unknown: bool) -> Model {
        let (fit, usual) = match is_unknown {
            true => (&self.unknown, UNKNOWN_ERROR),
            false => (&self.known, USUAL_ERROR),
        };
        let (start, slope) = fit.line(self.usual_start());
        Model {
            start,
            slope,
            error: fit
                .error
                .unwrap_or(usual)
                .clamp(*ERROR.start(), *ERROR.end()),
            most_unknown: match self.unknown.largest {
                0 => usize::MAX,
                largest => largest.saturating_mul(GROWTH),
            },
        }
    }

    /// Where a line begins as long as few batches have ended.
    fn usual_start(&self) -> f64 {
        let beside = self.known.beside.or(self.unknown.beside);
        beside.map_or(USUAL_START, |beside| beside.min(USUAL_START))
    }
}

impl Model {
    /// How long atoms take in a batch that are expected to take so long, without its start.
    pub(super) fn atoms(&self, expected: Duration) -> f64 {
        self.slope * expected.as_secs_f64()
    }

    /// How long a batch takes.
    pub(super) fn batch(&self, expected: Duration) -> f64 {
        self.start + self.atoms(expected)
    }
}

impl Fit {
    fn observe(&mut self, seen: &Seen, usual_start: f64) {
        let (x, took) = (seen.expected.as_secs_f64(), seen.took.as_secs_f64());
        let towards = |usual: Option<f64>, now: f64| {
            Some(usual.map_or(now, |usual| {
                SHORT_MEMORY * usual + (1.0 - SHORT_MEMORY) * now
            }))
        };
        // The first one only shows by how much all of them are wrong alike.
        if self.weight > 0.0 && took > 0.0 {
            let (start, slope) = self.line(usual_start);
            let error = (took - start - slope * x).abs() / took;
            self.error = towards(self.error, error.min(1.0));
        }
        let sums = [
            (&mut self.weight, 1.0),
            (&mut self.x, x),
            (&mut self.took, took),
            (&mut self.x_x, x * x),
            (&mut self.x_took, x * took),
        ];
        for (sum, one) in sums {
            *sum = MEMORY * *sum + one;
        }
        if let Some(tests) = seen.tests {
            // Tests of a batch may run side by side.
            self.beside = towards(self.beside, (took - tests.as_secs_f64()).max(0.0));
        }
        self.largest = self.largest.max(seen.atoms);
    }

    /// Where the line begins, and its slope.
    fn line(&self, usual_start: f64) -> (f64, f64) {
        let (weight, took) = (self.weight + NOTHING, self.took + NOTHING * usual_start);
        let spread = weight * self.x_x - self.x * self.x;
        if spread < 1e-9 {
            return (usual_start.clamp(*START.start(), *START.end()), 1.0);
        }
        let slope = (weight * self.x_took - self.x * took) / spread;
        let slope = slope.clamp(*SLOPE.start(), *SLOPE.end());
        let start = (took - slope * self.x) / weight;
        (start.clamp(*START.start(), *START.end()), slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(atoms: usize, each_ms: u64, took_ms: u64) -> Seen {
        let expected = Duration::from_millis(each_ms) * u32::try_from(atoms).unwrap();
        Seen {
            atoms,
            unknown: 0,
            expected,
            took: Duration::from_millis(took_ms),
            tests: Some(Duration::from_millis(took_ms.saturating_sub(250))),
        }
    }

    #[test]
    fn the_start_is_what_batches_of_any_size_take() {
        let mut learned = Learned::default();
        assert_eq!(learned.model(false).start, USUAL_START);
        // 200 ms, and 4 ms of each atom, of which 20 ms were known when batches were small.
        for atoms in [10_u64, 40, 100, 60, 90, 20, 80] {
            learned.observe(&seen(usize::try_from(atoms).unwrap(), 20, 200 + 4 * atoms));
        }
        let model = learned.model(false);
        assert!((model.start - 0.2).abs() < 0.05, "{model:?}");
        let hundred = model.batch(Duration::from_secs(2));
        assert!((hundred - 0.6).abs() < 0.05, "{model:?}");
        assert!(model.error < 0.2, "{model:?}");
        // Nothing is known yet of atoms of which nothing is known, but what a start costs.
        assert!(learned.model(true).start < 0.5);
        assert_eq!(learned.model(true).error, UNKNOWN_ERROR);
    }

    #[test]
    fn one_batch_is_enough_for_a_line() {
        let mut learned = Learned::default();
        let unknown = Seen {
            unknown: 17,
            ..seen(17, 600, 400)
        };
        learned.observe(&unknown);
        let model = learned.model(true);
        assert!(
            (model.batch(unknown.expected) - 0.4).abs() < 0.001,
            "{model:?}"
        );
        assert_eq!(model.most_unknown, 68);
        assert_eq!(learned.model(false).most_unknown, 68);
    }

    #[test]
    fn odd_batches_leave_numbers_that_can_be_used() {
        let mut learned = Learned::default();
        for (atoms, each, took) in [
            (1, 0, 0),
            (2, 0, 5),
            (1, u64::MAX >> 20, 1),
            (9, 1, 1 << 50),
        ] {
            learned.observe(&seen(atoms, each, took));
            let model = learned.model(false);
            assert!(START.contains(&model.start), "{model:?}");
            assert!(SLOPE.contains(&model.slope), "{model:?}");
            assert!(ERROR.contains(&model.error), "{model:?}");
        }
    }
}
