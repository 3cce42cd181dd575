//! What of a turn goes into the audit log.

use crate::journal::Asked;
use clusterrunner_core::Cluster;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::event::{BuildFact, Event, Fact, SlaveFact};
use std::net::IpAddr;

/// The entry of an event that a command from this address caused; `None` for the work that master and slaves do by themselves.
/// `cluster`: before the event.
pub(super) fn entry(cluster: &Cluster, event: &Event, from: Option<IpAddr>) -> Option<Asked> {
    let by = event.by;
    match by {
        Actor::SecretHolder
        | Actor::User(_)
        | Actor::Binder
        | Actor::Nobody
        | Actor::JoinToken(_)
        | Actor::SlaveKey => {
            let user = by.user().and_then(|user| cluster.accounts().user(user));
            let name = user.map(|user| user.name.clone());
            Some(Asked::new(event.at, (by, name), from, words(&event.fact)))
        }
        Actor::Master | Actor::Slave(_) => None,
    }
}

/// What happened. Of a new build what it is of, which the log tells in the lines that follow; of a slave not the life of its
/// process.
fn words(fact: &Fact) -> String {
    match fact {
        Fact::Build(
            _,
            BuildFact::Queued {
                project, request, ..
            },
        ) => match &request.job_name {
            Some(job) => format!("{fact}: job {job} of project {project}"),
            None => format!("{fact}: of project {project}"),
        },
        Fact::Slave(
            slave,
            SlaveFact::Connected {
                url, num_executors, ..
            },
        ) => format!("slave {slave} connected: {url}, {num_executors} executors"),
        _ => fact.to_string(),
    }
}
