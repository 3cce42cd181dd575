//! What of a turn goes into the audit log.

use crate::journal::Asked;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::event::{BuildFact, Event, Fact};
use std::net::IpAddr;

/// The entry of an event that a command from this address caused; `None` for the work that master and slaves do by themselves.
pub(super) fn entry(event: &Event, from: Option<IpAddr>) -> Option<Asked> {
    match event.by {
        Actor::SecretHolder | Actor::User(_) | Actor::Binder | Actor::Nobody => {
            Some(Asked::new(event.at, event.by, from, words(&event.fact)))
        }
        Actor::Master | Actor::Slave(_) => None,
    }
}

/// What happened, and of a new build what it is of: the log has that in the lines that follow.
fn words(fact: &Fact) -> String {
    let Fact::Build(
        _,
        BuildFact::Queued {
            project, request, ..
        },
    ) = fact
    else {
        return fact.to_string();
    };
    match &request.job_name {
        Some(job) => format!("{fact}: job {job} of project {project}"),
        None => format!("{fact}: of project {project}"),
    }
}
