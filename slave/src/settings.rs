//! What a slave must be told; stands in until the settings module is there.

use clusterrunner_common::secret::Secret;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a slave.
#[derive(Clone, Debug)]
pub struct SlaveSettings {
    /// Shared with the master.
    pub secret: Secret,
    /// Below it lies the data of every slave on this host.
    pub base_directory: PathBuf,
    /// This host as the master reaches it.
    pub hostname: String,
    /// What to listen on.
    pub bind_address: IpAddr,
    /// How many subjobs run at a time.
    pub num_executors: u32,
    /// The master's `host:port`.
    pub master_url: String,
    /// Time between signs of life.
    pub heartbeat_interval: Duration,
    /// How long a call may take.
    pub http_timeout: Duration,
    /// How old a signature may be.
    pub signature_max_age: Duration,
    /// Time between asking a process to end and killing it.
    pub kill_grace: Duration,
    /// Whether repositories and remote files may be local paths.
    pub allow_local_sources: bool,
}
