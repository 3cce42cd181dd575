//! Histograms: how often seconds lie within which bounds.

use serde::{Deserialize, Serialize};

/// Upper bounds in seconds of the histograms of builds; the original client library's defaults.
pub const BUCKETS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// How often values lay within which bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Upper bounds in seconds, from low to high. Histograms that are stored are all of builds, with [`BUCKETS`].
    #[serde(skip, default = "of_builds")]
    pub bounds: &'static [f64],
    /// How many values are at most each bound, in the order of the bounds.
    pub within: Vec<u64>,
    /// How many values were observed.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum: f64,
}

fn of_builds() -> &'static [f64] {
    BUCKETS
}

impl Histogram {
    /// Nothing observed yet. `bounds` are the upper bounds in seconds, from low to high.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            within: vec![0; bounds.len()],
            count: 0,
            sum: 0.0,
        }
    }

    /// Counts a value.
    pub fn observe(&mut self, seconds: f64) {
        for (within, bound) in self.within.iter_mut().zip(self.bounds) {
            *within += u64::from(seconds <= *bound);
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// Takes in what another one with the same bounds has observed.
    pub fn add(&mut self, other: &Self) {
        for (within, of_other) in self.within.iter_mut().zip(&other.within) {
            *within += of_other;
        }
        self.count += other.count;
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_upwards() {
        let mut histogram = Histogram::new(&[0.005, 1.0]);
        let mut other = Histogram::new(&[0.005, 1.0]);
        for value in [0.001, 0.2] {
            histogram.observe(value);
        }
        other.observe(100.0);
        histogram.add(&other);
        assert_eq!(histogram.within, [1, 2]);
        assert_eq!((histogram.count, histogram.sum), (3, 100.201));
    }
}
