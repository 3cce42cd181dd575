//! What of a turn goes into the audit log.

use crate::journal::Asked;
use clusterrunner_core::Cluster;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::event::{BuildFact, Event, Fact, KeyFact, SlaveFact};
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
            let name = match by {
                Actor::SlaveKey => slave_of(cluster, &event.fact),
                _ => user.map(|user| user.name.clone()),
            };
            Some(Asked::new(event.at, (by, name), from, words(&event.fact)))
        }
        Actor::Master | Actor::Slave(_) => None,
    }
}

/// The key of a slave that connects by it alone, and where the slave is.
fn slave_of(cluster: &Cluster, fact: &Fact) -> Option<String> {
    let (key, address) = match fact {
        Fact::SlaveKey(KeyFact::Moved { key, address }) => (*key, address),
        Fact::Slave(_, SlaveFact::Connected { url, key, .. }) => ((*key)?, url),
        // Its own former life.
        Fact::Slave(slave, _) => {
            let slave = cluster.slave(*slave)?;
            (slave.key?, &slave.url)
        }
        _ => return None,
    };
    Some(format!("slave key {} ({address})", key.fingerprint()))
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
        ) => {
            let s = if *num_executors == 1 { "" } else { "s" };
            format!("slave {slave} connected: {url}, {num_executors} executor{s}")
        }
        _ => fact.to_string(),
    }
}
