//! Histograms in the text format.

use super::{BUCKETS, line};
use serde::{Deserialize, Serialize};

/// How often values lay within which bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Histogram {
    /// Those that are stored are all of builds.
    #[serde(skip, default = "of_builds")]
    bounds: &'static [f64],
    within: Vec<u64>,
    count: u64,
    sum: f64,
}

fn of_builds() -> &'static [f64] {
    BUCKETS
}

impl Histogram {
    /// Nothing observed yet. `bounds` are the upper bounds in seconds, from low to high.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            within: vec![0; bounds.len()],
            count: 0,
            sum: 0.0,
        }
    }

    pub(super) fn observe(&mut self, seconds: f64) {
        for (within, bound) in self.within.iter_mut().zip(self.bounds) {
            *within += u64::from(seconds <= *bound);
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// Takes in what another one with the same bounds has observed.
    pub(super) fn add(&mut self, other: &Self) {
        for (within, of_other) in self.within.iter_mut().zip(&other.within) {
            *within += of_other;
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    /// `labels` is empty or ends with a comma.
    pub(super) fn write(&self, text: &mut String, name: &str, labels: &str) {
        for (within, bound) in self.within.iter().zip(self.bounds) {
            line(
                text,
                format_args!("{name}_bucket{{{labels}le=\"{bound:?}\"}} {within}"),
            );
        }
        line(
            text,
            format_args!("{name}_bucket{{{labels}le=\"+Inf\"}} {}", self.count),
        );
        let labels = labels.trim_end_matches(',');
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        };
        line(text, format_args!("{name}_count{labels} {}", self.count));
        line(text, format_args!("{name}_sum{labels} {}", self.sum));
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
        let mut text = String::new();
        histogram.write(&mut text, "x", "state=\"A\",");
        assert_eq!(
            text,
            "x_bucket{state=\"A\",le=\"0.005\"} 1\nx_bucket{state=\"A\",le=\"1.0\"} 2\n\
             x_bucket{state=\"A\",le=\"+Inf\"} 3\nx_count{state=\"A\"} 3\nx_sum{state=\"A\"} 100.201\n"
        );
    }
}
