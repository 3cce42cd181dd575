//! The lines of the log that tell of events.

use clusterrunner_core::event::{
    BuildFact, Event, Fact, FarmFact, IncarnationCause, InstanceFact, Loss, SignInFact, SlaveFact,
    Subject,
};
use tracing::Level;

/// Tells the log what a person following the farm wants to know.
pub(super) fn tell(event: &Event) {
    let Subject { build, slave } = event.fact.subject();
    let (build, slave) = (build.map(|id| id.0), slave.map(|id| id.0));
    let fact = &event.fact;
    match level(fact) {
        Level::WARN => tracing::warn!(build.id = build, slave.id = slave, "{fact}"),
        Level::INFO => tracing::info!(build.id = build, slave.id = slave, "{fact}"),
        _ => tracing::debug!(build.id = build, slave.id = slave, "{fact}"),
    }
}

fn level(fact: &Fact) -> Level {
    match fact {
        Fact::Build(_, fact) => match fact {
            BuildFact::Failed { .. }
            | BuildFact::Warned { .. }
            | BuildFact::SetupFailed { .. }
            | BuildFact::SubjobReturned { .. }
            | BuildFact::SubjobSuspected { .. }
            | BuildFact::SubjobPoisoned { .. }
            | BuildFact::ResultDoubted { .. } => Level::WARN,
            BuildFact::Queued { .. }
            | BuildFact::Prepared { .. }
            | BuildFact::Split { .. }
            | BuildFact::Canceled
            | BuildFact::Deleted
            | BuildFact::Finished
            | BuildFact::Forgotten { .. } => Level::INFO,
            _ => Level::DEBUG,
        },
        Fact::Slave(_, SlaveFact::Quarantined { .. }) => Level::WARN,
        Fact::Slave(_, SlaveFact::Lost { reason }) => match reason {
            Loss::Stopped => Level::INFO,
            Loss::StartedAgain | Loss::Trouble(_) => Level::WARN,
        },
        Fact::Slave(_, SlaveFact::Forgotten | SlaveFact::HasSnapshots { .. }) => Level::DEBUG,
        Fact::Slave(..) => Level::INFO,
        Fact::Farm(FarmFact::IncarnationBegun { cause, .. }) => match cause {
            IncarnationCause::NewJournal => Level::DEBUG,
            IncarnationCause::EventsMissing(_) => Level::WARN,
        },
        Fact::Instance(
            _,
            InstanceFact::Displaced { .. }
            | InstanceFact::Crashed { .. }
            | InstanceFact::Failed { .. },
        ) => Level::WARN,
        Fact::SignIn(SignInFact::Failed(_)) => Level::WARN,
        Fact::Instance(_, InstanceFact::Forgotten) => Level::DEBUG,
        Fact::Farm(FarmFact::IdsReserved { .. })
        | Fact::Account(..)
        | Fact::Project(..)
        | Fact::Template(..)
        | Fact::Instance(..)
        | Fact::App(..)
        | Fact::SlaveKey(_)
        | Fact::SignIn(_) => Level::INFO,
        Fact::Farm(FarmFact::MasterStarted { .. }) => Level::DEBUG,
    }
}
