//! Facts and effects as short texts, for comparisons.

use crate::core::effect::{Effect, SlaveCall};
use crate::core::event::Fact;

pub(super) fn fact_text(fact: &Fact) -> String {
    match fact {
        Fact::MasterStarted { .. } => "master started".to_owned(),
        Fact::IncarnationBegun {
            build,
            attempt,
            slave,
            reason,
            ..
        } => format!(
            "incarnation begun behind build {build}, attempt {attempt}, slave {slave}: {reason}"
        ),
        Fact::IdsReserved { build, slave } => {
            format!("ids reserved up to build {build}, slave {slave}")
        }
        Fact::BuildQueued { build, .. } => format!("{build} queued"),
        Fact::PreparationStarted { build, .. } => format!("{build} preparing"),
        Fact::PreparationStopped { build } => format!("{build} stops being prepared"),
        Fact::BuildPrepared { build, subjobs, .. } => {
            format!("{build} prepared: {} subjobs", subjobs.len())
        }
        Fact::BuildFailed { build, reason } => format!("{build} failed: {reason}"),
        Fact::BuildCanceled { build } => format!("{build} canceled"),
        Fact::ArchivingStarted { build } => format!("{build} archiving"),
        Fact::BuildFinished { build } => format!("{build} finished"),
        Fact::BuildRetired { build } => format!("{build} retired"),
        Fact::BuildForgotten { build, bound } => format!("{build} forgotten: {bound:?}"),
        Fact::BuildCleared { build } => format!("{build} cleared"),
        Fact::SlaveForgotten { slave } => format!("slave {slave} forgotten"),
        Fact::SlaveConnected {
            slave,
            url,
            session,
            num_executors,
            is_legacy,
            ..
        } => {
            let kind = if *is_legacy { "legacy slave" } else { "slave" };
            format!("{kind} {slave} connected: {url}, {session}, {num_executors} executors")
        }
        Fact::HandOutsKept { slave, hand_outs } => {
            let kept = hand_outs
                .iter()
                .map(|kept| format!("{}/{}.{}", kept.build, kept.subjob, kept.attempt));
            let kept: Vec<_> = kept.collect();
            format!("slave {slave} keeps {}", kept.join(", "))
        }
        Fact::SlaveLost { slave, reason } => format!("slave {slave} lost: {reason}"),
        Fact::ShutdownRequested { slave } => format!("slave {slave} to shut down"),
        Fact::EndRequested { slave } => format!("slave {slave} to end"),
        Fact::SlaveEnded { slave } => format!("slave {slave} ended"),
        Fact::DrainRequested { slave } => format!("slave {slave} drained"),
        Fact::DrainEnded { slave } => format!("slave {slave} undrained"),
        Fact::SlaveQuarantined { slave, reason } => {
            format!("slave {slave} quarantined: {reason}")
        }
        Fact::SlaveReleased { slave } => format!("slave {slave} released"),
        Fact::ProbeStarted { slave } => format!("slave {slave} on probe"),
        Fact::ResultDoubted {
            slave,
            build,
            subjob,
            attempt,
        } => format!("{build}.{subjob} doubted of slave {slave}, attempt {attempt}"),
        Fact::SlaveReserved { slave, build } => format!("slave {slave} kept for {build}"),
        Fact::SubjobSuspected {
            slave,
            build,
            subjob,
        } => format!("{build}.{subjob} suspected with slave {slave}"),
        Fact::SubjobPoisoned {
            build,
            subjob,
            slaves_lost,
        } => format!("{build}.{subjob} poisoned: {slaves_lost} slaves"),
        Fact::BuildWarned { build, warning } => format!("{build} warned: {warning}"),
        Fact::SetupRequested {
            slave,
            build,
            start_index,
        } => format!("{build} to slave {slave} from index {start_index}"),
        Fact::SetupCompleted { slave, build } => format!("{build} ready on slave {slave}"),
        Fact::SetupFailed {
            slave,
            build,
            reason,
        } => format!("{build} not ready on slave {slave}: {reason}"),
        Fact::TeardownRequested { slave, build } => format!("{build} off slave {slave}"),
        Fact::TeardownCompleted { slave, build } => format!("{build} gone from slave {slave}"),
        Fact::SubjobHandedOut {
            slave,
            build,
            subjob,
            attempt,
        } => format!("{build}.{subjob} to slave {slave}, attempt {attempt}"),
        Fact::SubjobFinished {
            slave,
            build,
            subjob,
            attempt,
            executor: _,
            outcomes,
        } => {
            let codes: Vec<i32> = outcomes.iter().map(|o| o.exit_code).collect();
            format!("{build}.{subjob} finished by slave {slave}, attempt {attempt}: {codes:?}")
        }
        Fact::SubjobReturned {
            slave,
            build,
            subjob,
            attempt,
            reason,
        } => format!("{build}.{subjob} back from slave {slave}, attempt {attempt}: {reason}"),
    }
}

pub(super) fn effect_text(effect: &Effect) -> String {
    match effect {
        Effect::Prepare { build, .. } => format!("prepare {build}"),
        Effect::Abandon { build } => format!("abandon {build}"),
        Effect::Archive {
            build,
            results,
            failures,
            ..
        } => {
            let results: Vec<String> = results.iter().map(|(s, a)| format!("{s}@{a}")).collect();
            format!("archive {build}: {results:?}, failed {failures:?}").replace('"', "")
        }
        Effect::MakeResult { build, made } => {
            format!(
                "make {build}.{}@{}: {} atoms",
                made.subjob,
                made.attempt,
                made.atoms.len()
            )
        }
        Effect::ClearResults { build } => format!("clear {build}"),
        Effect::RemoveBuild { build } => format!("remove {build}"),
        Effect::OpenSlave {
            slave,
            url,
            session,
            incarnation: _,
            is_legacy: _,
        } => format!("open slave {slave}: {url}, {session}"),
        Effect::CloseSlave { slave } => format!("close slave {slave}"),
        Effect::EndSlave { slave } => format!("slave {slave}: end"),
        Effect::Call { slave, build, call } => match call {
            SlaveCall::SetUp(request) => format!(
                "slave {slave}: set up {build} from index {}",
                request.build_executor_start_index
            ),
            SlaveCall::Start { order, .. } => {
                let (subjob, attempt) = (order.subjob_id, order.attempt);
                format!("slave {slave}: start {build}.{subjob}, attempt {attempt}")
            }
            SlaveCall::TearDown => format!("slave {slave}: tear down {build}"),
        },
    }
}
