//! What of the cluster's events goes to the event log: the original's under its names, with its fields,
//! and ours beside them. Pure, but for the listener that brings them there.

use crate::cluster::Cluster;
use crate::cluster::event::{Event, Fact};
use clusterrunner_common::event_log::{Entry, EventLog};
use clusterrunner_common::ids::{BuildId, SlaveId, SubjobId};
use serde_json::Value;

/// What an event says to the outside, in order. `cluster` has taken it in already.
#[must_use]
pub fn entries(event: &Event, cluster: &Cluster) -> Vec<Entry> {
    let entry = match &event.fact {
        Fact::MasterStarted => Entry::new("SERVICE_STARTED").with("service", "master"),
        Fact::BuildQueued { build, .. } => of_build("BUILD_REQUEST_QUEUED", *build),
        Fact::PreparationStarted { build } => of_build("BUILD_PREPARE_START", *build),
        Fact::BuildPrepared { build, .. } => prepared(*build, true),
        Fact::BuildFailed { build, reason } => {
            let failed = of_build("BUILD_FAILED", *build).with("error_message", reason.as_str());
            return match was_preparing(cluster, *build) {
                true => vec![prepared(*build, false), failed],
                false => vec![failed],
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
        } => {
            of_subjob("MASTER_TRIGGERED_SUBJOB", *build, *subjob, *slave).with("attempt", attempt.0)
        }
        Fact::SubjobFinished {
            slave,
            build,
            subjob,
            attempt,
            ..
        } => {
            of_subjob("MASTER_RECEIVED_RESULT", *build, *subjob, *slave).with("attempt", attempt.0)
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
            return kept.collect();
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
        Fact::BuildForgotten { build, bound } => {
            of_build("BUILD_REMOVED", *build).with("reason", bound.to_string())
        }
        // These are our own housekeeping.
        Fact::BuildRetired { .. }
        | Fact::BuildCleared { .. }
        | Fact::SlaveForgotten { .. }
        | Fact::SlaveReserved { .. } => return Vec::new(),
    };
    vec![entry]
}

/// Records what it is told.
pub fn listener(events: EventLog) -> impl FnMut(&Cluster, &[Event]) + Send + 'static {
    move |cluster, happened| {
        let entries = happened.iter().flat_map(|event| {
            let entries = entries(event, cluster);
            entries.into_iter().map(|entry| (event.at, entry))
        });
        events.record(entries);
    }
}

fn of_build(tag: &'static str, build: BuildId) -> Entry {
    Entry::new(tag).with("build_id", build.0)
}

fn of_slave(tag: &'static str, slave: SlaveId) -> Entry {
    Entry::new(tag).with("slave_id", slave.0)
}

/// Which executor runs a subjob is the slave's to choose, and its event log tells.
fn of_subjob(tag: &'static str, build: BuildId, subjob: SubjobId, slave: SlaveId) -> Entry {
    Entry::new(tag)
        .with("executor_id", Value::Null)
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
