//! What both services, master and slave, read beside the general settings.

use super::error::SettingsError;
use super::keys::{Depth, GitMemory};
use super::layers::Layers;
use super::values::{Amount, Bound, Days, Limit, Port, Seconds};
use crate::disk::retention::ProjectBounds;
use crate::git::GitLimits;
use crate::http::limits::ServingLimits;
use crate::remote_files::RemoteFileRules;
use std::net::IpAddr;
use std::time::Duration;

/// What both services, master and slave, need beside [`super::GeneralSettings`].
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
    /// Bytes of what set-ups have made that are kept for later builds; `None` for all.
    pub max_setup_cache_bytes: Option<u64>,
    /// What strangers may have.
    pub serving: ServingLimits,
    /// A regular expression for the `Origin` of web pages that may use the API.
    pub cors_allowed_origins_regex: Option<String>,
}

impl ServiceSettings {
    pub(super) fn read(layers: &Layers<'_>) -> Result<Self, SettingsError> {
        let bind_address: IpAddr = layers.get("bind_address")?;
        let allow_local_sources = layers
            .get_if_set("allow_local_sources")?
            .unwrap_or(bind_address.is_loopback());
        let seconds = |key| layers.get::<Seconds<1>>(key).map(|seconds| seconds.0);
        let limit = |key| layers.get::<Limit>(key).map(|limit| limit.0);
        Ok(Self {
            port: layers.get::<Port>("port")?.0,
            bind_address,
            allow_local_sources,
            remote_files: RemoteFileRules {
                allow_local_sources,
                allowed: layers.get_if_set("remote_files_allow")?.unwrap_or_default(),
                max_size: limit("remote_files_max_size")?,
                timeout: seconds("remote_files_timeout")?,
                ..RemoteFileRules::default()
            },
            accept_legacy_peers: layers.get("accept_legacy_peers")?,
            require_signed_reads: layers.get("require_signed_reads")?,
            signature_max_age: seconds("signature_max_age")?,
            fetch_timeout: seconds("fetch_timeout")?,
            min_free_space: layers.get::<Amount>("min_free_space")?.0,
            atom_kill_grace: layers.get::<Seconds<0>>("atom_kill_grace")?.0,
            git_strict_host_key_checking: layers.get("git_strict_host_key_checking")?,
            git_limits: GitLimits {
                entries: limit("git_max_entries")?,
                depth: layers.get::<Depth>("git_max_depth")?.0,
                file_bytes: limit("git_max_file_bytes")?,
                work_tree_bytes: limit("git_max_work_tree_bytes")?,
                pack_bytes: limit("git_max_pack_bytes")?,
                refs: limit("git_max_refs")?,
            },
            git_max_memory_bytes: layers.get::<GitMemory>("git_max_memory_bytes")?.0,
            kept_projects: ProjectBounds {
                max_age: layers.get::<Days>("keep_projects_days")?.0,
                max_bytes: layers.get::<Bound>("keep_projects_bytes")?.0,
            },
            max_setup_cache_bytes: layers.get::<Bound>("max_setup_cache_bytes")?.0,
            serving: ServingLimits::read(layers)?,
            cors_allowed_origins_regex: layers.get_if_set("cors_allowed_origins_regex")?,
        })
    }
}
