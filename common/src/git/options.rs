//! What the settings say about reaching repositories.

use super::GitLimits;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long connecting may take unless the settings say otherwise.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connected server may be silent. Longer than connecting: a server that counts the objects of a large
/// repository is silent meanwhile.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How repositories are reached: what the settings allow, and for how long a server may keep us waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitOptions {
    /// Whether submodules may lie at `file://` URLs and paths of this machine (setting `allow_local_sources`). For the
    /// repository itself that was asked when its [`GitUrl`](super::GitUrl) was parsed.
    pub allow_local_sources: bool,
    /// Whether ssh refuses hosts whose key it does not know (setting `git_strict_host_key_checking`).
    pub strict_host_key_checking: bool,
    /// The ssh program and its first arguments, by default `ssh`. An argument vector: no shell reads it. Options given
    /// here win over the ones this module adds.
    pub ssh_command: Option<Vec<String>>,
    /// How long connecting to a server may take.
    pub connect_timeout: Duration,
    /// How long a connected server may send nothing before it is given up.
    pub idle_timeout: Duration,
    /// Certificates (PEM, each may hold several) trusted for https besides those of the system.
    pub root_certificates: Vec<Vec<u8>>,
    /// How large a repository may be.
    pub limits: GitLimits,
}

impl Default for GitOptions {
    /// As a fresh configuration has it: no local sources, unknown ssh hosts accepted (as the original does), 30 seconds
    /// to connect, 60 seconds of silence.
    fn default() -> Self {
        Self {
            allow_local_sources: false,
            strict_host_key_checking: false,
            ssh_command: None,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            root_certificates: Vec::new(),
            limits: GitLimits::default(),
        }
    }
}
