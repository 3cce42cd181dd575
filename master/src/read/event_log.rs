//! What of the feed goes to the event log: the original's events under its names, with its fields,
//! and ours beside them.

use crate::core::Cluster;
use crate::core::event::{AtomOutcome, Event, Fact};
use crate::read::feed::Facts;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, SlaveId, SubjobId};
use clusterrunner_common::logs::event_log::{Entry, EventLog};
use serde_json::Value;

/// What an event says to the outside, in order, and of which moment. `cluster` has taken it in already.
#[must_use]
pub fn entries(event: &Event, cluster: &Cluster) -> Vec<(Timestamp, Entry)> {
    let entry = match &event.fact {
        Fact::MasterStarted { .. } => Entry::new("SERVICE_STARTED").with("service", "master"),
        Fact::IncarnationBegun {
            incarnation,
            reason,
            ..
        } => Entry::new("INCARNATION_BEGUN")
            .with("incarnation", incarnation.to_string())
            .with("reason", reason.as_str()),
        Fact::BuildQueued { build, .. } => of_build("BUILD_REQUEST_QUEUED", *build),
        Fact::PreparationStarted { build, .. } => of_build("BUILD_PREPARE_START", *build),
        Fact::BuildPrepared { build, .. } => prepared(*build, true),
        Fact::BuildFailed { build, reason } => {
            let failed = of_build("BUILD_FAILED", *build).with("error_message", reason.as_str());
            return match was_preparing(cluster, *build) {
                true => vec![(event.at, prepared(*build, false)), (event.at, failed)],
                false => vec![(event.at, failed)],
            };
        }
        Fact::BuildCanceled { build } => of_build("BUILD_CANCELED", *build),
        Fact::ArchivingStarted { build } => of_build("BUILD_ARCHIVE_START", *build),
        Fact::BuildFinished { build } => of_build("BUILD_FINISHED", *build),
        Fact::SlaveConnected {
            slave,
            url,
            num_executors,
            ..
        } => of_slave("SLAVE_CONNECTED", *slave)
            .with("slave_url", url.as_str())
            .with("num_executors", *num_executors),
        Fact::SlaveLost { slave, reason } => {
            of_slave("SLAVE_LOST", *slave).with("reason", reason.as_str())
        }
        Fact::ShutdownRequested { slave } => of_slave("SLAVE_SHUTDOWN_REQUESTED", *slave),
        Fact::EndRequested { slave } => of_slave("SLAVE_END_REQUESTED", *slave),
        Fact::SlaveEnded { slave } => of_slave("SLAVE_ENDED", *slave),
        Fact::SetupRequested { slave, build, .. } => {
            of_build("BUILD_SETUP_START", *build).with("slave_id", slave.0)
        }
        Fact::SetupCompleted { slave, build } => {
            of_build("BUILD_SETUP_FINISH", *build).with("slave_id", slave.0)
        }
        Fact::SetupFailed {
            slave,
            build,
            reason,
        } => of_build("BUILD_SETUP_FAILED", *build)
            .with("slave_id", slave.0)
            .with("reason", reason.as_str()),
        Fact::TeardownRequested { slave, build } => {
            of_build("BUILD_TEARDOWN_START", *build).with("slave_id", slave.0)
        }
        Fact::TeardownCompleted { slave, build } => {
            of_build("BUILD_TEARDOWN_FINISH", *build).with("slave_id", slave.0)
        }
        Fact::SubjobHandedOut {
            slave,
            build,
            subjob,
            attempt,
        } => of_subjob("SUBJOB_HANDED_OUT", *build, *subjob, *slave).with("attempt", attempt.0),
        Fact::SubjobFinished {
            slave,
            build,
            subjob,
            attempt,
            executor,
            outcomes,
        } => {
            let of = |tag| {
                let executor = executor.map_or(Value::Null, |executor| executor.0.into());
                Entry::new(tag)
                    .with("executor_id", executor)
                    .with("build_id", build.0)
                    .with("subjob_id", subjob.0)
                    .with("slave_id", slave.0)
                    .with("attempt", attempt.0)
            };
            let began = began(event.at, outcomes);
            return vec![
                (began, of("MASTER_TRIGGERED_SUBJOB")),
                (event.at, of("MASTER_RECEIVED_RESULT")),
            ];
        }
        Fact::SubjobReturned {
            slave,
            build,
            subjob,
            attempt,
            reason,
        } => of_subjob("SUBJOB_RETURNED", *build, *subjob, *slave)
            .with("attempt", attempt.0)
            .with("reason", reason.as_str()),
        Fact::HandOutsKept { slave, hand_outs } => {
            let kept = hand_outs.iter().map(|kept| {
                of_subjob("SUBJOB_RESULT_KEPT", kept.build, kept.subjob, *slave)
                    .with("attempt", kept.attempt.0)
            });
            return kept.map(|entry| (event.at, entry)).collect();
        }
        Fact::SubjobSuspected {
            slave,
            build,
            subjob,
        } => of_subjob("SUBJOB_SUSPECTED", *build, *subjob, *slave),
        Fact::SubjobPoisoned {
            build,
            subjob,
            slaves_lost,
        } => of_build("SUBJOB_POISONED", *build)
            .with("subjob_id", subjob.0)
            .with("slaves_lost", *slaves_lost),
        Fact::BuildWarned { build, warning } => {
            of_build("BUILD_WARNED", *build).with("warning", warning.as_str())
        }
        Fact::DrainRequested { slave } => of_slave("SLAVE_DRAINED", *slave),
        Fact::DrainEnded { slave } => of_slave("SLAVE_UNDRAINED", *slave),
        Fact::SlaveQuarantined { slave, reason } => {
            of_slave("SLAVE_QUARANTINED", *slave).with("reason", reason.as_str())
        }
        Fact::SlaveReleased { slave } => of_slave("SLAVE_RELEASED", *slave),
        Fact::ProbeStarted { slave } => of_slave("SLAVE_PROBE_START", *slave),
        Fact::ResultDoubted {
            slave,
            build,
            subjob,
            attempt,
        } => of_subjob("SUBJOB_RESULT_DOUBTED", *build, *subjob, *slave).with("attempt", attempt.0),
        Fact::BuildForgotten { build, bound } => {
            of_build("BUILD_REMOVED", *build).with("reason", bound.to_string())
        }
        // These are our own housekeeping.
        Fact::PreparationStopped { .. }
        | Fact::BuildRetired { .. }
        | Fact::BuildCleared { .. }
        | Fact::IdsReserved { .. }
        | Fact::SlaveForgotten { .. }
        | Fact::SlaveReserved { .. } => return Vec::new(),
    };
    vec![(event.at, entry)]
}

/// When a slave began with a subjob whose result has just come, as far as the master knows: which executor it was,
/// too, is only said with the result.
fn began(ended: Timestamp, outcomes: &[AtomOutcome]) -> Timestamp {
    let took: u64 = outcomes.iter().map(|outcome| outcome.duration_ms).sum();
    Timestamp(ended.0.saturating_sub(took))
}

/// Records facts of the feed. `cluster` has taken them in already.
pub fn record(events: &EventLog, cluster: &Cluster, facts: &Facts) {
    // A reader takes the first entry after a start for the start, whatever was decided with it.
    let is_start = |event: &&Event| matches!(event.fact, Fact::MasterStarted { .. });
    let facts = || facts.iter().map(|(_, event)| event);
    let others = facts().filter(|event| !is_start(event));
    let in_order = facts().filter(is_start).chain(others);
    events.record(in_order.flat_map(|event| entries(event, cluster)));
}

fn of_build(tag: &'static str, build: BuildId) -> Entry {
    Entry::new(tag).with("build_id", build.0)
}

fn of_slave(tag: &'static str, slave: SlaveId) -> Entry {
    Entry::new(tag).with("slave_id", slave.0)
}

fn of_subjob(tag: &'static str, build: BuildId, subjob: SubjobId, slave: SlaveId) -> Entry {
    Entry::new(tag)
        .with("build_id", build.0)
        .with("subjob_id", subjob.0)
        .with("slave_id", slave.0)
}

fn prepared(build: BuildId, is_success: bool) -> Entry {
    of_build("BUILD_PREPARE_FINISH", build).with("is_success", is_success)
}

fn was_preparing(cluster: &Cluster, build: BuildId) -> bool {
    cluster.build(build).is_some_and(|build| {
        build.timestamps.preparing.is_some() && build.timestamps.prepared.is_none()
    })
}
