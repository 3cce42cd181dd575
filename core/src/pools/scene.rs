//! What pools need to know of the cluster, in one look whose cost does not grow with the atoms.

use super::terms::ms;
use crate::Cluster;
use crate::builds::build::{Build, BuildState};
use crate::slaves::key_facts::Joining;
use crate::slaves::slave::{BuildOnSlave, Presence, Slave};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{PublicKey, SlaveId, TokenId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many builds are looked at: where there are more, these alone want more slaves than there are.
const BUILDS: usize = 2000;

/// How long an atom is taken to last whose build has never run: long enough that a handful of them gets several
/// executors, and short enough that thousands do not get thousands.
pub const UNKNOWN_ATOM_MS: u64 = 20_000;

/// How long a set-up is taken to last that was never seen.
pub const UNKNOWN_SETUP_MS: u64 = 10_000;

/// What pools need to know of the cluster.
#[derive(Clone, Debug)]
pub struct Scene {
    /// When the look was.
    pub now: Timestamp,
    /// What waits, by builds.
    pub demands: Vec<Demand>,
    /// The living slaves, by their ids.
    pub slaves: BTreeMap<SlaveId, SlaveSeen>,
    /// The join tokens whose names begin as those of pools do.
    pub tokens: BTreeMap<TokenId, TokenSeen>,
    /// Whether some living slave has joined with a token that is not there any more.
    pub has_strays: bool,
}

/// What waits of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// What it asks for in a slave.
    pub labels: BTreeSet<String>,
    /// How many subjobs wait.
    pub waiting: u64,
    /// How long one executor would take for them, in milliseconds.
    pub work_ms: u64,
    /// How long a set-up takes on a slave, in milliseconds.
    pub setup_ms: u64,
    /// How many executors work on it.
    pub busy: u64,
    /// How long one executor would take for what slaves have of it, in milliseconds; of each subjob no more than the
    /// target of the look, since its executor does nothing else within that.
    pub held_ms: u64,
    /// How many executors it may have, if that is bounded.
    pub most: Option<u64>,
}

/// A living slave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlaveSeen {
    /// Its labels.
    pub labels: BTreeSet<String>,
    /// How many executors it has.
    pub executors: u64,
    /// How many of them work.
    pub busy: u64,
    /// Whether it gets new work.
    pub takes_work: bool,
    /// Whether it does nothing at all: no atom, set-up, delivery or instance.
    pub is_idle: bool,
    /// Whether it is quarantined.
    pub is_sick: bool,
}

/// A join token of a pool, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSeen {
    /// The name of what was started with it.
    pub name: String,
    /// When that was.
    pub created: Timestamp,
    /// What has joined with it.
    pub joined: Option<JoinedSeen>,
}

/// A slave that has joined with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinedSeen {
    /// When it joined.
    pub at: Timestamp,
    /// The slave; none where it is not registered any more.
    pub slave: Option<(SlaveId, PoolPresence)>,
}

/// Whether a slave of a pool is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolPresence {
    /// It is.
    Alive,
    /// It takes nothing new and finishes what it runs.
    Finishing,
    /// It ends, and has still something to say.
    Ending,
    /// It has ended, as it was told or because it said so.
    Leaving,
    /// It was lost.
    Lost(Timestamp),
}

impl Scene {
    /// The look. `prefix` begins the names of what pools of this farm start; `target` is the shortest of the pools.
    #[must_use]
    pub fn of(cluster: &Cluster, prefix: &str, target: Duration, now: Timestamp) -> Self {
        let target_ms = ms(target);
        let demands = cluster.working().take(BUILDS);
        let demands = demands.filter_map(|build| Demand::of(build, target_ms));
        let tokens = cluster.slave_keys().tokens();
        let tokens = tokens.filter(|(_, token)| token.said.name.starts_with(prefix));
        let mut tokens: BTreeMap<_, _> = tokens
            .map(|(id, token)| {
                // One that is used up without a key was ended, and its master before it was revoked.
                let joined = JoinedSeen {
                    at: token.created,
                    slave: None,
                };
                let seen = TokenSeen {
                    name: token.said.name.clone(),
                    created: token.created,
                    joined: token.is_used_up().then_some(joined),
                };
                (id, seen)
            })
            .collect();
        let known: BTreeSet<TokenId> = cluster.slave_keys().tokens().map(|(id, _)| id).collect();
        let mut of_key: BTreeMap<PublicKey, TokenId> = BTreeMap::new();
        let mut strays = BTreeSet::new();
        for (key, joined) in cluster.slave_keys().keys() {
            let Joining::Token(token) = joined.by else {
                continue;
            };
            if let Some(seen) = tokens.get_mut(&token) {
                let at = joined.joined;
                seen.joined = Some(JoinedSeen { at, slave: None });
                of_key.insert(*key, token);
            } else if !known.contains(&token) {
                strays.insert(*key);
            }
        }
        let mut has_strays = false;
        for slave in cluster.slaves.values() {
            let Some(key) = slave.key else { continue };
            has_strays |= slave.is_alive() && strays.contains(&key);
            let token = of_key.get(&key).and_then(|token| tokens.get_mut(token));
            if let Some(joined) = token.and_then(|token| token.joined.as_mut())
                && let Some(presence) = PoolPresence::of(&slave.presence)
            {
                joined.slave = Some((slave.id, presence));
            }
        }
        let slaves = cluster.slaves().filter(|slave| slave.is_alive());
        Self {
            now,
            demands: demands.collect(),
            slaves: slaves
                .map(|slave| (slave.id, SlaveSeen::of(cluster, slave)))
                .collect(),
            tokens,
            has_strays,
        }
    }
}

impl PoolPresence {
    fn of(presence: &Presence) -> Option<Self> {
        match presence {
            Presence::Alive => Some(Self::Alive),
            Presence::ShuttingDown => Some(Self::Finishing),
            Presence::Ending => Some(Self::Ending),
            Presence::ShutDown => Some(Self::Leaving),
            Presence::Lost {
                is_stopped: true, ..
            } => Some(Self::Leaving),
            Presence::Lost { at, .. } => Some(Self::Lost(*at)),
            Presence::Replaced => None,
        }
    }
}

impl SlaveSeen {
    fn of(cluster: &Cluster, slave: &Slave) -> Self {
        let mut places = slave.builds.values();
        let sets_up = places.any(|place| !matches!(place, BuildOnSlave::Ready));
        Self {
            labels: slave.labels.clone(),
            executors: u64::from(slave.num_executors),
            busy: slave.num_busy() as u64,
            takes_work: slave.takes_work(),
            is_idle: slave.running.is_empty()
                && slave.delivering.is_empty()
                && !sets_up
                && slave.reserved_for.is_none()
                && cluster.instances_on(slave.id).next().is_none(),
            is_sick: slave.quarantine.is_some(),
        }
    }
}

impl Demand {
    /// What waits of a build, and who works on it.
    fn of(build: &Build, target_ms: u64) -> Option<Self> {
        let waiting = build.num_unstarted() as u64;
        let busy = build.num_executors() as u64;
        if waiting == 0 && busy == 0 {
            return None;
        }
        let first = build.subjobs.first();
        let is_known = first.is_some_and(|subjob| !subjob.atoms_expected_ms.is_empty());
        let work_ms = match (&build.state, is_known) {
            (BuildState::Building(progress), true) => {
                let queued = [&progress.unstarted, &progress.again];
                let aside = build.set_aside().map(|(_, subjob)| subjob.expected_ms());
                queued
                    .map(|queued| queued.expected_ms())
                    .iter()
                    .sum::<u64>()
                    + aside.sum::<u64>()
            }
            (_, true) => expected_of_all(build),
            (_, false) => waiting.saturating_mul(UNKNOWN_ATOM_MS),
        };
        let most = build.plan.as_ref().and_then(|plan| plan.max_executors);
        let held = build.progress().into_iter();
        let held = held.flat_map(|progress| progress.running.keys());
        let held = held.filter_map(|id| build.subjob(*id));
        let held = held.map(|subjob| match is_known {
            true => subjob.expected_ms().min(target_ms),
            false => UNKNOWN_ATOM_MS.min(target_ms),
        });
        Some(Self {
            labels: build.labels().cloned().unwrap_or_default(),
            waiting,
            work_ms,
            setup_ms: build.setup_ms().unwrap_or(UNKNOWN_SETUP_MS),
            busy,
            held_ms: held.sum(),
            most: most.map(|most| u64::from(most.get())),
        })
    }
}

/// How long all subjobs of a build take that no slave has begun; where there are very many, as some of them say.
fn expected_of_all(build: &Build) -> u64 {
    const LOOKED_AT: usize = 500;
    let every = build.subjobs.len().div_ceil(LOOKED_AT).max(1);
    let some = build.subjobs.iter().step_by(every);
    let (number, sum) = some.fold((0_u64, 0_u64), |(number, sum), subjob| {
        (number + 1, sum.saturating_add(subjob.expected_ms()))
    });
    let mean = sum.checked_div(number).unwrap_or(0);
    mean.saturating_mul(build.subjobs.len() as u64)
}
