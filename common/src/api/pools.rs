//! Slaves on demand.

use crate::ids::SlaveId;
use serde::{Deserialize, Serialize};

/// Answer to `GET /v2/pools`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolsBody {
    /// In the order of the settings.
    pub pools: Vec<PoolView>,
}

/// A pool as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolView {
    /// The name of its section.
    pub name: String,
    /// What starts its slaves: `command`, `slurm` or `kubernetes`.
    pub provider: String,
    /// How many slaves it has at least.
    pub min_slaves: u64,
    /// How many slaves it has at most.
    pub max_slaves: u64,
    /// How many executors each slave has.
    pub executors: u64,
    /// The labels of its slaves.
    pub labels: Vec<String>,
    /// How many slaves it is to have.
    pub wanted_slaves: u64,
    /// How many executors are wanted, more than it may have among them.
    pub wanted_executors: u64,
    /// How many slaves wait in the provider's queue.
    pub queued: u64,
    /// How many slaves are being started.
    pub starting: u64,
    /// How many slaves are there and do nothing.
    pub idle: u64,
    /// How many slaves are there and do something.
    pub busy: u64,
    /// How many slaves end, or are lost and still listed by the provider.
    pub leaving: u64,
    /// How many executors work.
    pub busy_executors: u64,
    /// How often something failed since the start of the master.
    pub failed: u64,
    /// Why it has and wants what it does, for programs.
    pub reason: String,
    /// The same in words.
    pub why: String,
    /// What failed last; none where nothing did, or for those who do not operate the farm.
    pub last_failure: Option<PoolFailureView>,
    /// What was started.
    pub slaves: Vec<PoolSlaveView>,
}

/// Something that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolFailureView {
    /// When it failed, in seconds since 1970.
    pub at: f64,
    /// What failed, in the provider's words.
    pub message: String,
}

/// Something that was started for a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolSlaveView {
    /// Its name, as its provider lists it.
    pub name: String,
    /// `queued`, `starting`, `idle`, `busy`, `leaving`, `lost`, `unknown` or `over`.
    pub state: String,
    /// The number of its slave.
    pub slave_id: Option<SlaveId>,
}
