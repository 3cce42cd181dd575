//! Settings of master, slave and client: command line above files above environment above defaults.
//!
//! Owns the settings file (the original's format), which keys there are, and the secret in it. The shipped
//! `conf/clusterrunner.conf` documents every key and, parsed as the lowest layer, is the defaults. No global:
//! each program loads its struct once and hands out what its parts need.

mod environment;
mod error;
mod file;
mod https;
mod keys;
mod layers;
mod lines;
mod load;
mod location;
mod log_files;
mod overrides;
mod retention;
mod second_file;
mod secret_file;
#[cfg(test)]
mod tests;

pub use environment::{UnknownVariable, unknown_variables_here};
pub use error::{Origin, SettingsError};
pub use load::{load_client, load_master, load_slave};
pub use location::default_config_file;
pub use overrides::Overrides;
pub use second_file::second_file;
pub use secret_file::ensure_secret;

use crate::auth::secret::{Secret, SecretError};
use crate::disk::retention::{BuildBounds, ProjectBounds};
use crate::git::GitLimits;
use crate::http::tls::HttpsSettings;
use crate::job::config::Timeouts;
use crate::logs::event_log::EventLogTarget;
use crate::logs::logging::LogLevel;
use crate::remote_files::RemoteFileRules;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The shipped settings file: every key with its meaning, and the defaults.
pub const SHIPPED_SETTINGS: &str = include_str!("../../conf/clusterrunner.conf");

/// Files and the log, the same in every program.
#[derive(Debug, Clone)]
pub struct GeneralSettings {
    /// The settings file that was read, or where it would be; [`ensure_secret`] writes here.
    pub config_file: PathBuf,
    /// What of the settings files has no effect, and that one was made; to be told.
    pub warnings: Vec<String>,
    /// The shared secret; `None` until there is one, see [`GeneralSettings::secret_or_generate`].
    pub secret: Option<Secret>,
    /// Why the secret is one that only `accept_legacy_peers` lets pass.
    pub secret_weakness: Option<SecretError>,
    /// Opens reads where they need a proof; it opens nothing else.
    pub read_token: Option<Secret>,
    /// HTTPS, for those who listen and those who call.
    pub https: HttpsSettings,
    /// Where all files are kept; not checked to exist.
    pub base_directory: PathBuf,
    /// The name by which others reach this machine.
    pub hostname: String,
    /// The machine that runs the master.
    pub master_hostname: String,
    /// The machines that run slaves.
    pub slaves: Vec<String>,
    /// How long to wait for an answer to a request.
    pub default_http_timeout: Duration,
    /// What is logged.
    pub log_level: LogLevel,
    /// The log file, below `log` in the base directory unless an absolute path is set.
    pub log_file: PathBuf,
    /// Bytes after which the log file is rotated.
    pub max_log_file_size: u64,
    /// Where events are written.
    pub event_log: EventLogTarget,
}

/// What both services, master and slave, need beside [`GeneralSettings`].
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// The port to listen on; 0 lets the system choose.
    pub port: u16,
    /// The address to listen on.
    pub bind_address: IpAddr,
    /// Whether builds may name directories and repositories of this machine by path.
    pub allow_local_sources: bool,
    /// What remote files may be and where they may come from.
    pub remote_files: RemoteFileRules,
    /// Whether masters, slaves and clients of the original are let in with what they send as proof.
    pub accept_legacy_peers: bool,
    /// Whether reads, too, need a signature or the read token.
    pub require_signed_reads: bool,
    /// How old a signature may be.
    pub signature_max_age: Duration,
    /// How long a git server may be silent.
    pub fetch_timeout: Duration,
    /// Bytes of the disk that are kept back; with fewer free, nothing new is begun.
    pub min_free_space: u64,
    /// The time between SIGTERM and SIGKILL when a command is canceled; may be zero.
    pub atom_kill_grace: Duration,
    /// Whether ssh refuses hosts that are not in `known_hosts`.
    pub git_strict_host_key_checking: bool,
    /// How large a repository may be.
    pub git_limits: GitLimits,
    /// How much memory a process may take for git.
    pub git_max_memory_bytes: u64,
    /// How much of the copies of projects is kept that nobody uses.
    pub kept_projects: ProjectBounds,
    /// A regular expression for the `Origin` of web pages that may use the API.
    pub cors_allowed_origins_regex: Option<String>,
}

/// Settings of the master.
#[derive(Debug, Clone)]
pub struct MasterSettings {
    /// What every program has.
    pub general: GeneralSettings,
    /// What both services have.
    pub service: ServiceSettings,
    /// A slave that was silent for this long is given up.
    pub slave_lost_after: Duration,
    /// The same for slaves of the original, which give signs of life more seldom.
    pub legacy_slave_lost_after: Duration,
    /// How long commands may run whose job does not say.
    pub default_timeouts: Timeouts,
    /// How much is kept of builds that are over.
    pub kept_builds: BuildBounds,
    /// Whether slaves get the project from the master.
    pub get_project_from_master: bool,
    /// Where links to the projects of builds are made.
    pub build_symlink_directory: PathBuf,
    /// The original's interval of looking for silent slaves; nothing uses it.
    pub unresponsive_slaves_cleanup_interval: Duration,
}

/// Settings of a slave.
#[derive(Debug, Clone)]
pub struct SlaveSettings {
    /// What every program has.
    pub general: GeneralSettings,
    /// What both services have.
    pub service: ServiceSettings,
    /// Subjobs at the same time; at least 1.
    pub num_executors: u32,
    /// What jobs may ask for in a slave.
    pub labels: BTreeSet<String>,
    /// The port of the master on [`GeneralSettings::master_hostname`].
    pub master_port: u16,
    /// Bytes of an atom's console that are kept; `None` for all.
    pub max_console_size: Option<u64>,
    /// The time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Failed heartbeats in a row after which the original's slave ends, at least 1; nothing uses it.
    pub heartbeat_failure_threshold: u32,
    /// Whether a signal lets it finish what it runs before it ends.
    pub drain_on_stop: bool,
}

/// Settings of the client commands.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// What every program has.
    pub general: GeneralSettings,
    /// Whether a master of the original is given the weaker proof that it asks for.
    pub accept_legacy_peers: bool,
    /// Whether `build` ends with the original's exit codes.
    pub compat_exit_codes: bool,
    /// The master's port.
    pub port: u16,
}

impl GeneralSettings {
    /// The secret that was set, or else that of the settings file, where one is generated if need be.
    ///
    /// # Errors
    /// As [`ensure_secret`].
    pub fn secret_or_generate(&self) -> Result<Secret, SettingsError> {
        match &self.secret {
            Some(secret) => Ok(secret.clone()),
            None => ensure_secret(&self.config_file),
        }
    }
}
