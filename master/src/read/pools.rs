//! How it goes with the pools, for those who operate the farm.

use clusterrunner_common::clock::Timestamp;
use clusterrunner_core::pools::planning::Counts;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

/// The pools of a master. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pools(Arc<RwLock<Vec<PoolSeen>>>);

impl Pools {
    /// All of them, in the order of the settings.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<PoolSeen> {
        let pools = self.0.read().unwrap_or_else(PoisonError::into_inner);
        pools.clone()
    }

    /// That is how they stand now.
    pub(crate) fn show(&self, pools: Vec<PoolSeen>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = pools;
    }
}

/// A pool as it stands.
#[derive(Clone, Debug)]
pub(crate) struct PoolSeen {
    /// The name of its section.
    pub(crate) name: String,
    /// What starts its slaves: `command`, `slurm` or `kubernetes`.
    pub(crate) provider: &'static str,
    /// How many slaves it has at least.
    pub(crate) min_slaves: u32,
    /// How many slaves it has at most.
    pub(crate) max_slaves: u32,
    /// How many executors each slave has.
    pub(crate) executors: u32,
    /// The labels of its slaves.
    pub(crate) labels: BTreeSet<String>,
    /// How many slaves it is to have.
    pub(crate) wanted_slaves: u64,
    /// How many executors are wanted, more than it may have among them.
    pub(crate) wanted_executors: u64,
    /// What there is.
    pub(crate) counts: Counts,
    /// How often something failed since the start of the master.
    pub(crate) failed: u64,
    /// What failed last, and when.
    pub(crate) last_failure: Option<(Timestamp, String)>,
    /// The name of the reason.
    pub(crate) reason: &'static str,
    /// The reason in words.
    pub(crate) why: String,
    /// What was started.
    pub(crate) slaves: Vec<StartedSeen>,
}

/// Something that was started for a pool.
#[derive(Clone, Debug)]
pub(crate) struct StartedSeen {
    /// Its name, as its provider lists it.
    pub(crate) name: String,
    /// How far it is: `queued`, `starting`, `idle`, `busy`, `leaving`, `lost`, `unknown` or `over`.
    pub(crate) state: &'static str,
    /// Its slave.
    pub(crate) slave: Option<u64>,
}
