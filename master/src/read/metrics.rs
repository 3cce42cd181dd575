//! What the master measures, in the text format of Prometheus (version 0.0.4) under the original's
//! names. What is told of builds and slaves follows from the cluster, so it goes on over restarts; the
//! rest is of this process.

mod measured;
mod notices;
mod pools;
mod process;
mod text;

pub(crate) use measured::{InternalError, Measured, Removed};
pub(crate) use notices::NoticeOutcome;
pub(crate) use pools::of_pools;

use clusterrunner_core::Cluster;
use clusterrunner_core::instances::instance::InstanceState;
use clusterrunner_core::measures::Measures;
use text::{family, line, write_histogram};

/// What is measured of this process. Reads files below `/proc`, which the system keeps in memory.
#[must_use]
pub(crate) fn of_process(measured: &Measured) -> String {
    let mut text = String::new();
    process::write(&mut text);
    measured.write_requests(&mut text);
    measured.write_errors(&mut text);
    measured.write_removed(&mut text);
    measured.write_notices(&mut text);
    text
}

/// What is measured of builds and slaves.
#[must_use]
pub(crate) fn of_cluster(cluster: &Cluster) -> String {
    let mut text = String::new();
    let mut measures = cluster.measures().clone();
    for build in cluster.builds() {
        measures.observe(build);
    }
    write_measures(&mut text, &measures);
    write_slaves(&mut text, cluster);
    write_kept_out(&mut text, cluster);
    write_instances(&mut text, cluster);
    let name = "master_builds_kept";
    let help = "Archived builds that are not removed yet";
    family(&mut text, name, "gauge", help);
    line(
        &mut text,
        format_args!("{name} {}", cluster.ended().count()),
    );
    text
}

fn write_measures(text: &mut String, measures: &Measures) {
    let name = "build_state_duration_seconds";
    let help = "Total amount of time a build spends in each build state";
    family(text, name, "histogram", help);
    for (state, histogram) in &measures.state_durations {
        write_histogram(text, name, &format!("state=\"{state}\","), histogram);
    }
    let name = "serialized_build_time_seconds";
    let help = "Total amount of time that would have been consumed by builds if all work was done serially";
    family(text, name, "histogram", help);
    write_histogram(text, name, "", &measures.serialized_times);
    let (runs, ms) = measures.hunted;
    let name = "hunt_runs_total";
    let help = "Number of times that atoms ran again on idle executors, to find flaky ones";
    family(text, name, "counter", help);
    line(text, format_args!("{name} {runs}"));
    let name = "hunt_executor_seconds_total";
    family(text, name, "counter", "How long executors did that");
    line(text, format_args!("{name} {}", ms as f64 / 1000.0));
}

/// Templates, instances and apps. Ours.
fn write_instances(text: &mut String, cluster: &Cluster) {
    let name = "instances";
    family(text, name, "gauge", "Number of instances by their state");
    for state in InstanceState::ALL {
        let those = cluster.instances().filter(|one| one.state == state);
        let (state, number) = (state.name(), those.count());
        line(text, format_args!("{name}{{state=\"{state}\"}} {number}"));
    }
    let slots: u64 = cluster
        .slaves()
        .filter(|slave| slave.is_alive())
        .filter_map(|slave| slave.hosting)
        .map(|hosting| u64::from(hosting.max_instances))
        .sum();
    let templates = cluster.templates().count();
    let apps = cluster.apps().count();
    for (name, help, number) in [
        (
            "instance_slots",
            "Number of instances that the living slaves run at most",
            slots,
        ),
        ("apps", "Number of apps", apps as u64),
        (
            "templates",
            "Number of templates that are kept",
            templates as u64,
        ),
        (
            "template_snapshot_bytes",
            "Bytes that the snapshots of templates take",
            cluster.snapshot_bytes(),
        ),
    ] {
        family(text, name, "gauge", help);
        line(text, format_args!("{name} {number}"));
    }
}

/// What is left on the master's disk, as text. Not of the original.
#[must_use]
pub(crate) fn disk_space(free_bytes: u64, is_short: bool) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::clock::Timestamp;
    use clusterrunner_common::ids::{SessionId, SlaveId};
    use clusterrunner_core::actor::Actor;
    use clusterrunner_core::command::Command;

    #[test]
    fn a_fresh_farm_is_measured() {
        let mut cluster = Cluster::default();
        let connect = Command::ConnectSlave {
            url: "a:1".to_owned(),
            session: SessionId("a".to_owned()),
            num_executors: 1,
            labels: std::collections::BTreeSet::new(),
            known_as: None,
            finished: Vec::new(),
            seen: Vec::new(),
            fresh: clusterrunner_common::ids::Incarnation("fresh".to_owned()),
            key: None,
        };
        for event in cluster.decide(connect, Timestamp(1)).unwrap() {
            cluster.apply(&event);
        }
        let text = of_cluster(&cluster);
        assert!(text.contains("slaves{state=\"idle\"} 1\n"), "{text}");
        let drain = Command::DrainSlave {
            by: Actor::SecretHolder,
            slave: SlaveId(1),
        };
        for event in cluster.decide(drain, Timestamp(2)).unwrap() {
            cluster.apply(&event);
        }
        let drained = "slaves_kept_out{reason=\"drained\"} 1\n";
        assert!(of_cluster(&cluster).contains(drained), "{text}");
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
        measured.removed(Removed::Project);
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
        assert_eq!(value("master_removed_total{what=\"projects\"} "), 1.0);
    }
}
