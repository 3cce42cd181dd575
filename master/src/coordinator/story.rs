//! What the log is told of events.

use crate::core::event::{Event, Fact, STOPPED};
use crate::core::lifetime::incarnation::NEW_JOURNAL;

/// Tells the log what a person following the farm wants to know.
pub(super) fn tell(event: &Event) {
    match &event.fact {
        Fact::MasterStarted { .. } => tracing::debug!("the master starts its work"),
        Fact::IncarnationBegun { reason, .. } if reason == NEW_JOURNAL => {
            tracing::debug!("the journal is a new one");
        }
        Fact::IncarnationBegun {
            incarnation,
            build,
            reason,
            ..
        } => {
            tracing::warn!(
                %incarnation, %reason,
                "a new incarnation of the journal begins: what slaves had of the one before is dropped, and ids of builds go on behind {build}"
            );
        }
        Fact::IdsReserved { build, slave } => {
            tracing::info!(
                "a slave knows ids of another master: builds go on behind {build}, slaves behind {slave}"
            );
        }
        Fact::BuildQueued { build, .. } => tracing::info!(build.id = build.0, "build queued"),
        Fact::BuildPrepared { build, subjobs, .. } => {
            tracing::info!(
                build.id = build.0,
                subjobs = subjobs.len(),
                "build prepared"
            );
        }
        Fact::BuildFailed { build, reason } => {
            tracing::warn!(build.id = build.0, %reason, "build ended with an error");
        }
        Fact::BuildCanceled { build } => tracing::info!(build.id = build.0, "build canceled"),
        Fact::BuildFinished { build } => tracing::info!(build.id = build.0, "build finished"),
        Fact::BuildForgotten { build, bound } => {
            tracing::info!(build.id = build.0, reason = %bound, "a build that is over is removed");
        }
        Fact::SlaveConnected {
            slave,
            url,
            num_executors,
            ..
        } => {
            tracing::info!(slave.id = slave.0, %url, num_executors, "slave connected");
        }
        Fact::SlaveLost { slave, reason } if reason == STOPPED => {
            tracing::info!(slave.id = slave.0, "slave was stopped");
        }
        Fact::SlaveLost { slave, reason } => {
            tracing::warn!(slave.id = slave.0, %reason, "slave lost");
        }
        Fact::ShutdownRequested { slave } => {
            tracing::info!(slave.id = slave.0, "slave takes no more work and is to end");
        }
        Fact::EndRequested { slave } => {
            tracing::info!(
                slave.id = slave.0,
                "slave has no work left and is told to end"
            );
        }
        Fact::SetupFailed {
            slave,
            build,
            reason,
        } => {
            tracing::warn!(slave.id = slave.0, build.id = build.0, %reason, "set-up failed");
        }
        Fact::SubjobReturned {
            slave,
            build,
            subjob,
            reason,
            ..
        } => tracing::warn!(
            slave.id = slave.0, build.id = build.0, subjob.id = subjob.0, %reason,
            "a subjob came back without a usable result"
        ),
        Fact::DrainRequested { slave } => {
            tracing::info!(slave.id = slave.0, "slave is drained: it takes no new work");
        }
        Fact::DrainEnded { slave } => {
            tracing::info!(slave.id = slave.0, "slave is not drained any more");
        }
        Fact::SlaveQuarantined { slave, reason } => {
            tracing::warn!(slave.id = slave.0, %reason, "slave is quarantined: it takes no new work");
        }
        Fact::SlaveReleased { slave } => {
            tracing::info!(slave.id = slave.0, "slave is released from quarantine");
        }
        Fact::ProbeStarted { slave } => {
            tracing::info!(
                slave.id = slave.0,
                "quarantined slave is tried again, one atom at a time"
            );
        }
        Fact::ResultDoubted {
            slave,
            build,
            subjob,
            ..
        } => tracing::warn!(
            slave.id = slave.0,
            build.id = build.0,
            subjob.id = subjob.0,
            "everything fails on a slave: what it failed is run elsewhere before it counts"
        ),
        Fact::SlaveReserved { slave, build } => {
            tracing::info!(
                slave.id = slave.0,
                build.id = build.0,
                "slave is kept free for a subjob that slaves were lost with"
            );
        }
        Fact::SubjobSuspected {
            slave,
            build,
            subjob,
        } => tracing::warn!(
            slave.id = slave.0,
            build.id = build.0,
            subjob.id = subjob.0,
            "a slave was lost while it ran this subjob"
        ),
        Fact::SubjobPoisoned {
            build,
            subjob,
            slaves_lost,
        } => tracing::warn!(
            build.id = build.0,
            subjob.id = subjob.0,
            slaves_lost,
            "a subjob is poison: it fails, and the build goes on"
        ),
        Fact::BuildWarned { build, warning } => {
            tracing::warn!(build.id = build.0, %warning, "a build has a warning");
        }
        Fact::SlaveEnded { slave } => tracing::info!(slave.id = slave.0, "slave ends"),
        Fact::HandOutsKept { slave, hand_outs } => {
            let number = hand_outs.len();
            tracing::info!(
                slave.id = slave.0,
                number,
                "results of an earlier life count"
            );
        }
        Fact::PreparationStarted { .. }
        | Fact::PreparationStopped { .. }
        | Fact::ArchivingStarted { .. }
        | Fact::BuildRetired { .. }
        | Fact::BuildCleared { .. }
        | Fact::SlaveForgotten { .. }
        | Fact::SetupRequested { .. }
        | Fact::SetupCompleted { .. }
        | Fact::TeardownRequested { .. }
        | Fact::TeardownCompleted { .. }
        | Fact::SubjobHandedOut { .. }
        | Fact::SubjobFinished { .. } => tracing::debug!(event = ?event.fact, "event"),
    }
}
