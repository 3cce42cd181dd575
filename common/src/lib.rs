//! What ClusterRunner's daemons and its client agree on.

pub mod job_config;
pub mod logging;
mod nearest;
pub mod secret;
pub mod settings;
