//! What the master measures, in the text format of Prometheus (version 0.0.4) under the original's
//! names. Pure: all of it follows from the cluster, so it goes on over restarts.

use crate::cluster::Cluster;
use crate::cluster::build::{Build, BuildState};
use clusterrunner_common::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Upper bounds in seconds of both histograms; the original client library's defaults.
const BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// How often values lay within which bounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Histogram {
    within: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

impl Histogram {
    fn observe(&mut self, seconds: f64) {
        for (within, bound) in self.within.iter_mut().zip(BUCKETS) {
            *within += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// `labels` is empty or ends with a comma.
    fn write(&self, text: &mut String, name: &str, labels: &str) {
        for (within, bound) in self.within.iter().zip(BUCKETS) {
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

/// What is measured of builds. Of those that leave memory this is what stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measures {
    state_durations: BTreeMap<String, Histogram>,
    serialized_times: Histogram,
}

impl Measures {
    /// Counts a build as it stands.
    pub(crate) fn observe(&mut self, build: &Build) {
        for (state, duration) in state_durations(build) {
            let histogram = self.state_durations.entry(state.to_owned()).or_default();
            histogram.observe(duration);
        }
        if build.state == BuildState::Finished {
            let results = build.subjobs.iter().filter_map(|s| s.result.as_ref());
            let outcomes = results.flat_map(|(_, outcomes)| outcomes);
            let total: u64 = outcomes.map(|outcome| outcome.duration_ms).sum();
            let total = std::time::Duration::from_millis(total);
            self.serialized_times.observe(total.as_secs_f64());
        }
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String can not fail.
    writeln!(text, "{arguments}").ok();
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}"));
    line(text, format_args!("# TYPE {name} {kind}"));
}

/// Everything measured, as text.
#[must_use]
pub fn exposition(cluster: &Cluster) -> String {
    let mut text = String::new();
    write_slaves(&mut text, cluster);
    let mut measures = cluster.measures().clone();
    for build in cluster.builds() {
        measures.observe(build);
    }
    write_state_durations(&mut text, &measures);
    write_serialized_times(&mut text, &measures);
    write_kept_out(&mut text, cluster);
    text
}

/// What is left on the master's disk, as text. Not of the original.
#[must_use]
pub fn disk_space(free_bytes: u64, is_short: bool) -> String {
    let mut text = String::new();
    let name = "master_disk_free_bytes";
    family(
        &mut text,
        name,
        "gauge",
        "Bytes that the master may still write",
    );
    line(&mut text, format_args!("{name} {free_bytes}"));
    let name = "master_disk_short";
    let help = "1 while less than min_free_space is free: no builds and no results are taken";
    family(&mut text, name, "gauge", help);
    line(&mut text, format_args!("{name} {}", u8::from(is_short)));
    text
}

/// Slaves that take no new work though they are there. Ours.
fn write_kept_out(text: &mut String, cluster: &Cluster) {
    let (mut drained, mut quarantined) = (0, 0);
    for slave in cluster.slaves().filter(|slave| slave.is_alive()) {
        drained += u64::from(slave.is_drained);
        quarantined += u64::from(slave.quarantine.is_some());
    }
    let name = "slaves_kept_out";
    family(
        text,
        name,
        "gauge",
        "Number of slaves that take no new work",
    );
    for (reason, number) in [("drained", drained), ("quarantined", quarantined)] {
        line(text, format_args!("{name}{{reason=\"{reason}\"}} {number}"));
    }
}

fn write_slaves(text: &mut String, cluster: &Cluster) {
    let (mut active, mut idle, mut dead) = (0, 0, 0);
    for slave in cluster.slaves() {
        match (slave.is_alive(), slave.builds.is_empty()) {
            (true, false) => active += 1,
            (true, true) => idle += 1,
            (false, _) => dead += 1,
        }
    }
    family(text, "slaves", "gauge", "Total number of slaves");
    for (state, number) in [("active", active), ("idle", idle), ("dead", dead)] {
        line(text, format_args!("slaves{{state=\"{state}\"}} {number}"));
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

fn write_state_durations(text: &mut String, measures: &Measures) {
    let name = "build_state_duration_seconds";
    let help = "Total amount of time a build spends in each build state";
    family(text, name, "histogram", help);
    for (state, histogram) in &measures.state_durations {
        histogram.write(text, name, &format!("state=\"{state}\","));
    }
}

fn write_serialized_times(text: &mut String, measures: &Measures) {
    let name = "serialized_build_time_seconds";
    let help = "Total amount of time that would have been consumed by builds if all work was done serially";
    family(text, name, "histogram", help);
    measures.serialized_times.write(text, name, "");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::command::Command;
    use clusterrunner_common::ids::{SessionId, SlaveId};

    #[test]
    fn a_fresh_farm_is_measured() {
        let mut cluster = Cluster::default();
        let connect = Command::ConnectSlave {
            url: "a:1".to_owned(),
            session: SessionId("a".to_owned()),
            num_executors: 1,
            known_as: None,
            finished: Vec::new(),
        };
        for event in cluster.decide(connect, Timestamp(1)).unwrap() {
            cluster.apply(&event);
        }
        let text = exposition(&cluster);
        assert!(text.contains("slaves{state=\"idle\"} 1\n"), "{text}");
        let drain = Command::DrainSlave { slave: SlaveId(1) };
        for event in cluster.decide(drain, Timestamp(2)).unwrap() {
            cluster.apply(&event);
        }
        let drained = "slaves_kept_out{reason=\"drained\"} 1\n";
        assert!(exposition(&cluster).contains(drained), "{text}");
        assert!(
            text.contains("serialized_build_time_seconds_bucket{le=\"+Inf\"} 0\n"),
            "{text}"
        );
        assert!(
            text.contains("serialized_build_time_seconds_count 0\n"),
            "{text}"
        );
    }

    #[test]
    fn a_histogram_counts_upwards() {
        let mut histogram = Histogram::default();
        for value in [0.001, 0.2, 100.0] {
            histogram.observe(value);
        }
        let mut text = String::new();
        histogram.write(&mut text, "x", "state=\"A\",");
        assert!(
            text.contains("x_bucket{state=\"A\",le=\"0.005\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("x_bucket{state=\"A\",le=\"1.0\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("x_bucket{state=\"A\",le=\"+Inf\"} 3\n"),
            "{text}"
        );
        assert!(text.contains("x_count{state=\"A\"} 3\n"), "{text}");
        assert!(text.contains("x_sum{state=\"A\"} 100.201\n"), "{text}");
    }
}
