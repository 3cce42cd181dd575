//! The names of what pools start: `cr-<farm>-<pool>-<random>`. By them the jobs of an earlier life of this master are told
//! from those of other farms.

use clusterrunner_common::clock::random_bytes;

/// Begins the names of what all pools of a farm start.
#[must_use]
pub(super) fn farm_prefix(farm: &str) -> String {
    format!("cr-{farm}-")
}

/// Begins the names of what a pool starts.
#[must_use]
pub(super) fn pool_prefix(farm: &str, pool: &str) -> String {
    // Names of pools have no hyphen, so no prefix begins another.
    format!("{}{pool}-", farm_prefix(farm))
}

/// Another name with a prefix.
#[must_use]
pub(super) fn fresh(prefix: &str) -> String {
    format!("{prefix}{}", hex::encode(random_bytes::<5>()))
}
