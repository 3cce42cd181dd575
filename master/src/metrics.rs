//! What the master measures, in the text format of Prometheus (version 0.0.4) under the original's
//! names. What is told of builds and slaves follows from the cluster, so it goes on over restarts; the
//! rest is of this process.

mod histogram;
mod measured;
mod process;

pub use measured::{InternalError, Measured};

use crate::cluster::Cluster;
use crate::cluster::build::{Build, BuildState};
use clusterrunner_common::clock::Timestamp;
use histogram::Histogram;
use std::fmt::Write as _;

/// Upper bounds in seconds of the histograms of builds; the original client library's defaults.
const BUCKETS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String can not fail.
    writeln!(text, "{arguments}").ok();
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}"));
    line(text, format_args!("# TYPE {name} {kind}"));
}

/// What is measured of this process. Reads files below `/proc`, which the system keeps in memory.
#[must_use]
pub fn of_process(measured: &Measured) -> String {
    let mut text = String::new();
    process::write(&mut text);
    measured.write_requests(&mut text);
    measured.write_errors(&mut text);
    text
}

/// What is measured of builds and slaves.
#[must_use]
pub fn of_cluster(cluster: &Cluster) -> String {
    let mut text = String::new();
    write_state_durations(&mut text, cluster);
    write_serialized_times(&mut text, cluster);
    write_slaves(&mut text, cluster);
    text
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

fn write_state_durations(text: &mut String, cluster: &Cluster) {
    let mut states: Vec<(&str, Histogram)> = Vec::new();
    for (state, duration) in cluster.builds().flat_map(state_durations) {
        match states.iter_mut().find(|(known, _)| *known == state) {
            Some((_, histogram)) => histogram.observe(duration),
            None => {
                let mut histogram = Histogram::new(BUCKETS);
                histogram.observe(duration);
                states.push((state, histogram));
            }
        }
    }
    let name = "build_state_duration_seconds";
    let help = "Total amount of time a build spends in each build state";
    family(text, name, "histogram", help);
    for (state, histogram) in states {
        histogram.write(text, name, &format!("state=\"{state}\","));
    }
}

fn write_serialized_times(text: &mut String, cluster: &Cluster) {
    let mut histogram = Histogram::new(BUCKETS);
    let finished = cluster
        .builds()
        .filter(|build| build.state == BuildState::Finished);
    for build in finished {
        let results = build
            .subjobs
            .iter()
            .filter_map(|subjob| subjob.result.as_ref());
        let outcomes = results.flat_map(|(_, outcomes)| outcomes);
        let total: u64 = outcomes.map(|outcome| outcome.duration_ms).sum();
        histogram.observe(std::time::Duration::from_millis(total).as_secs_f64());
    }
    let name = "serialized_build_time_seconds";
    let help = "Total amount of time that would have been consumed by builds if all work was done serially";
    family(text, name, "histogram", help);
    histogram.write(text, name, "");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::command::Command;
    use clusterrunner_common::ids::SessionId;

    #[test]
    fn a_fresh_farm_is_measured() {
        let mut cluster = Cluster::default();
        let connect = Command::ConnectSlave {
            url: "a:1".to_owned(),
            session: SessionId("a".to_owned()),
            num_executors: 1,
            known_as: None,
        };
        for event in cluster.decide(connect, Timestamp(1)).unwrap() {
            cluster.apply(&event);
        }
        let text = of_cluster(&cluster);
        assert!(text.contains("slaves{state=\"idle\"} 1\n"), "{text}");
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
    fn the_process_is_measured() {
        let measured = Measured::default();
        measured.count(InternalError::AtomizerFailure);
        let text = of_process(&measured);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {text}"))
                .trim()
                .parse::<f64>()
                .unwrap()
        };
        let resident = value("process_resident_memory_bytes ");
        assert!(resident > 100_000.0 && resident <= value("process_virtual_memory_bytes "));
        assert!(value("process_open_fds ") >= 1.0 && value("process_max_fds ") >= 1.0);
        assert!(value("process_cpu_seconds_total ") >= 0.0);
        let started = value("process_start_time_seconds ");
        assert!(started > 1.6e9, "{started}");
        assert_eq!(value("internal_errors{type=\"AtomizerFailure\"} "), 1.0);
    }
}
