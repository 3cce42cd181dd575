//! What is measured of builds.

use super::histogram::{BUCKETS, Histogram};
use crate::builds::build::{Build, BuildState};
use clusterrunner_common::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is measured of builds. Of those that leave memory this is what stays; it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measures {
    /// How long builds stay in each state, by the state's name.
    pub state_durations: BTreeMap<String, Histogram>,
    /// How long all atoms of a finished build take, one after the other.
    pub serialized_times: Histogram,
    /// How often atoms ran again on idle executors, and how long that took, in milliseconds.
    #[serde(skip_serializing_if = "is_nothing")]
    pub hunted: (u64, u64),
}

fn is_nothing(hunted: &(u64, u64)) -> bool {
    *hunted == (0, 0)
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            state_durations: BTreeMap::new(),
            serialized_times: Histogram::new(BUCKETS),
            hunted: (0, 0),
        }
    }
}

impl Measures {
    /// Counts a build as it stands.
    pub fn observe(&mut self, build: &Build) {
        for (state, duration) in state_durations(build) {
            // There may be thousands of builds, and the cluster waits for the reader.
            if let Some(histogram) = self.state_durations.get_mut(state) {
                histogram.observe(duration);
                continue;
            }
            let mut histogram = Histogram::new(BUCKETS);
            histogram.observe(duration);
            self.state_durations.insert(state.to_owned(), histogram);
        }
        self.hunted.0 += build.hunted.runs;
        self.hunted.1 = self.hunted.1.saturating_add(build.hunted.ms);
        if build.state == BuildState::Finished {
            let results = build.subjobs.iter().filter_map(|s| s.result.as_ref());
            let outcomes = results.flat_map(|(_, outcomes)| outcomes);
            let total = outcomes.map(|outcome| outcome.duration_ms).sum();
            let total = Duration::from_millis(total);
            self.serialized_times.observe(total.as_secs_f64());
        }
    }
}

/// How long a build was in each state that it has left. The end of preparing is the beginning of
/// waiting for a slave; a build that failed or was canceled left its last state then.
fn state_durations(build: &Build) -> impl Iterator<Item = (&'static str, f64)> {
    let times = &build.timestamps;
    let over = times.finished.or(times.error).or(times.canceled);
    let stages = [
        ("QUEUED", times.queued, times.preparing),
        ("PREPARING", times.preparing, times.prepared),
        ("PREPARED", times.prepared, times.building),
        ("BUILDING", times.building, None),
    ];
    stages
        .into_iter()
        .filter_map(move |(state, entered, left)| {
            let left = left.or(over)?;
            Some((state, seconds(entered?, left)))
        })
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    from.until(to).as_secs_f64()
}
