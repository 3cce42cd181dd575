//! What a pool may do: the master reads it from the settings, and its core plans by it.

use std::collections::BTreeSet;
use std::time::Duration;

/// The terms of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTerms {
    /// The name of its section.
    pub name: String,
    /// How many slaves are there even where nothing waits.
    pub min_slaves: u32,
    /// How many there are at most, starting ones too.
    pub max_slaves: u32,
    /// How many executors each of its slaves has.
    pub executors: u32,
    /// The labels that its slaves have.
    pub labels: BTreeSet<String>,
    /// For how long a slave is idle before it is ended.
    pub idle_timeout: Duration,
    /// Within which time all that waits is to be done.
    pub target_wait: Duration,
    /// For how long a slave may take to join.
    pub start_timeout: Duration,
}

impl PoolTerms {
    /// Whether its slaves have all of these labels.
    #[must_use]
    pub fn suits(&self, labels: &BTreeSet<String>) -> bool {
        labels.is_subset(&self.labels)
    }
}
