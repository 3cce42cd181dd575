//! What ClusterRunner's daemons and its client agree on.

pub mod job_config;
mod nearest;
pub mod secret;
