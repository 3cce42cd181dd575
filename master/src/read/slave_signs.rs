//! What is known of slaves beside the facts: when the master last heard of each, which version it says it is, and how
//! busy it was in the last hour. No facts: after a restart of the master slaves connect again, and their hour begins anew.

mod load;

use self::load::LoadOfHour;
use crate::coordinator::ClusterHandle;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::SlaveId;
use clusterrunner_common::lock::lock;
use clusterrunner_common::work::IsolationLevel;
use clusterrunner_core::slaves::slave::Slave;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// How often it is looked how busy slaves are. A look costs as much as there are slaves, however many atoms they run.
const LOOK: Duration = Duration::from_secs(1);

/// What happens between two looks that are further apart is not known: the master was stopped.
const LONGEST_GAP: Duration = Duration::from_secs(30);

/// The signs of all slaves. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlaveSigns(Arc<Mutex<Signs>>);

#[derive(Debug, Default)]
struct Signs {
    /// When it was last looked how busy slaves are, since the start of the master.
    looked: Duration,
    slaves: HashMap<SlaveId, OfSlave>,
}

#[derive(Debug, Default)]
struct OfSlave {
    last_heard: Option<Timestamp>,
    version: Option<String>,
    isolation: Option<IsolationLevel>,
    load: LoadOfHour,
}

/// What is known of one slave.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SignsOfSlave {
    /// When it last called, by the master's clock; none if it has not since the master's start.
    pub last_heard: Option<Timestamp>,
    /// The version of its program, if it told one.
    pub version: Option<String>,
    /// How far it keeps commands apart from its machine, if it told that.
    pub isolation: Option<IsolationLevel>,
    /// Which share of its executors worked in each minute of the last hour, from 0 to 1, the oldest first; none where
    /// that is not known. The last one is the minute that has begun. Empty where nothing is known.
    pub load: Vec<Option<f64>>,
}

impl SlaveSigns {
    /// A slave called.
    pub(crate) fn heard(&self, slave: SlaveId, now: Timestamp) {
        lock(&self.0).slaves.entry(slave).or_default().last_heard = Some(now);
    }

    /// A slave connected, and said which version of the program it is and how far it keeps commands apart, or did not.
    pub(crate) fn connected(
        &self,
        slave: SlaveId,
        version: Option<String>,
        isolation: Option<IsolationLevel>,
    ) {
        let mut signs = lock(&self.0);
        let of_slave = signs.slaves.entry(slave).or_default();
        (of_slave.version, of_slave.isolation) = (version, isolation);
    }

    /// Notes how busy slaves are, at a time since the start of the master. `slaves` are all that are listed: the signs of
    /// others are dropped.
    pub(crate) fn look<'a>(&self, slaves: impl Iterator<Item = &'a Slave>, now: Duration) {
        let mut signs = lock(&self.0);
        let since = signs.looked;
        signs.looked = now;
        let is_gap = now.saturating_sub(since) > LONGEST_GAP;
        let mut listed = HashSet::new();
        for slave in slaves {
            listed.insert(slave.id);
            let of_slave = signs.slaves.entry(slave.id).or_default();
            if slave.is_alive() && !is_gap {
                let share = slave.num_busy() as f64 / f64::from(slave.num_executors.max(1));
                of_slave.load.add(since, now, share);
            }
        }
        signs.slaves.retain(|slave, _| listed.contains(slave));
    }

    /// What is known of a slave.
    #[must_use]
    pub(crate) fn of(&self, slave: SlaveId) -> SignsOfSlave {
        let signs = lock(&self.0);
        let known = signs.slaves.get(&slave);
        known.map_or_else(SignsOfSlave::default, |known| SignsOfSlave {
            last_heard: known.last_heard,
            version: known.version.clone(),
            isolation: known.isolation,
            load: known.load.shares(signs.looked),
        })
    }
}

/// Looks again and again how busy slaves are, until `stop`.
pub(crate) async fn watch(signs: SlaveSigns, cluster: ClusterHandle, stop: CancellationToken) {
    let started = Instant::now();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let signs = signs.clone();
        let looked = cluster.read(move |cluster| signs.look(cluster.slaves(), started.elapsed()));
        if looked.await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::{BuildId, Incarnation, SessionId, SubjobId};
    use clusterrunner_core::Cluster;
    use clusterrunner_core::command::Command;
    use clusterrunner_core::slaves::slave::Presence;
    use std::collections::BTreeSet;

    const SLAVE: SlaveId = SlaveId(1);

    fn slave() -> Slave {
        let mut cluster = Cluster::default();
        let connect = Command::ConnectSlave {
            url: "a:1".to_owned(),
            session: SessionId("a".to_owned()),
            num_executors: 4,
            labels: BTreeSet::new(),
            known_as: None,
            finished: Vec::new(),
            seen: Vec::new(),
            fresh: Incarnation("fresh".to_owned()),
            key: None,
        };
        for event in cluster.decide(connect, Timestamp(1)).unwrap() {
            cluster.apply(&event);
        }
        cluster.slave(SLAVE).unwrap().clone()
    }

    fn with_work(mut slave: Slave, subjobs: u32) -> Slave {
        slave.running = (0..subjobs)
            .map(|subjob| (BuildId(1), SubjobId(subjob)))
            .collect();
        slave
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn load_is_the_share_of_executors_that_work() {
        let signs = SlaveSigns::default();
        let (idle, busy) = (with_work(slave(), 0), with_work(slave(), 2));
        // What waits on a slave keeps no executor busy.
        let full = with_work(slave(), 9);
        for (slave, at) in [
            (&idle, 15),
            (&busy, 30),
            (&full, 45),
            (&full, 60),
            (&busy, 75),
        ] {
            signs.look([slave].into_iter(), seconds(at));
        }
        let load = signs.of(SLAVE).load;
        assert_eq!(load.len(), 60);
        assert_eq!(load[..58], [None; 58]);
        assert_eq!(load[58..], [Some(0.625), Some(0.5)]);
    }

    #[test]
    fn nothing_is_known_of_a_time_without_looks() {
        let signs = SlaveSigns::default();
        let busy = with_work(slave(), 4);
        signs.look([&busy].into_iter(), seconds(10));
        signs.look([&busy].into_iter(), seconds(310));
        let known = signs.of(SLAVE).load;
        assert_eq!(known.iter().flatten().count(), 1);
        assert_eq!(known[54], Some(1.0));
    }

    #[test]
    fn a_lost_slave_keeps_its_hour_and_one_that_is_not_listed_is_dropped() {
        let signs = SlaveSigns::default();
        let isolation = Some(IsolationLevel::User);
        signs.connected(SLAVE, Some("1.2.3".to_owned()), isolation);
        signs.heard(SLAVE, Timestamp(5_000));
        signs.look([&with_work(slave(), 4)].into_iter(), seconds(10));
        let mut lost = with_work(slave(), 0);
        lost.presence = Presence::Lost {
            reason: "silence".to_owned(),
            at: Timestamp(1),
            is_started_again: false,
            is_stopped: false,
        };
        signs.look([&lost].into_iter(), seconds(20));
        let known = signs.of(SLAVE);
        assert_eq!(known.load[59], Some(1.0));
        assert_eq!(known.last_heard, Some(Timestamp(5_000)));
        assert_eq!(known.version.as_deref(), Some("1.2.3"));
        assert_eq!(known.isolation, isolation);
        signs.look([].into_iter(), seconds(21));
        assert_eq!(signs.of(SLAVE), SignsOfSlave::default());
    }
}
