//! How much of what is over is kept. `None` is no bound.

use std::time::Duration;

/// Bounds of the builds that are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildBounds {
    /// How long a build is kept after its end.
    pub max_age: Option<Duration>,
    /// How many are kept.
    pub max_number: Option<u64>,
    /// How many bytes the results of all of them have together.
    pub max_bytes: Option<u64>,
    /// How long the results of builds are kept that were canceled or failed.
    pub max_partial_age: Option<Duration>,
}

/// Bounds of the copies of projects: mirrors of repositories, and work trees of builds that are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProjectBounds {
    /// How long one is kept that nobody uses.
    pub max_age: Option<Duration>,
    /// How many bytes all of them have together.
    pub max_bytes: Option<u64>,
}
