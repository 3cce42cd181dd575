//! Every key: which programs read it, and what its values look like.

use super::error::SettingsError;
use super::image_policy::ImagePolicy;
use super::isolation_values::{Names, Paths, Processes, Processors, Size};
use super::runtimes::RuntimeChoice;
use super::values::{
    Amount, Bound, Days, Directory, Domain, Domains, Found, Host, Labels, Limit, MOST, Number,
    Port, PortList, Ports, PublicUrl, Registration, Seconds, SshPort, Value,
};
use crate::auth::secret::Secret;
use crate::git::MAXIMUM_TREE_DEPTH;
use crate::job::isolation::IsolationLevel;
use crate::logs::logging::LogLevel;
use crate::remote_files::AllowedSources;
use crate::text::nearest::nearest;
use std::net::IpAddr;

/// A program that reads settings. It reads `[general]` and its own section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Master,
    Slave,
    /// All other commands; they read `[master]`, as `build` does in the original.
    Client,
}

impl Program {
    pub(super) fn section(self) -> &'static str {
        match self {
            Self::Master | Self::Client => "master",
            Self::Slave => "slave",
        }
    }
}

pub(super) const SECTIONS: [&str; 3] = ["general", "master", "slave"];

pub(super) struct Key {
    pub(super) name: &'static str,
    /// Its sections beside `[general]`.
    sections: &'static [&'static str],
    /// Whether an empty value counts as left out.
    pub(super) is_text: bool,
    /// Says what is wrong with a value.
    pub(super) check: fn(&Found) -> Result<(), SettingsError>,
}

impl Key {
    /// Whether the program of that section reads it.
    pub(super) fn is_read_by(&self, section: &str) -> bool {
        self.sections.contains(&section)
    }

    pub(super) fn allowed_in(&self, section: &str) -> bool {
        section == "general" || self.sections.contains(&section)
    }

    /// Whether the original's programs know it; they take it in any section.
    pub(super) fn is_original(&self) -> bool {
        ORIGINAL_KEYS.contains(&self.name)
    }

    pub(super) fn sections(&self) -> String {
        let own = self.sections.iter().map(|name| format!("[{name}]"));
        format!("{} or [general]", own.collect::<Vec<_>>().join(", "))
    }
}

pub(super) const fn key_of<T: Value>(name: &'static str, sections: &'static [&'static str]) -> Key {
    Key {
        name,
        sections,
        is_text: T::IS_TEXT,
        check: |found| T::read(found).map(drop),
    }
}

const ALL: &[&str] = &["master", "slave"];
const MASTER: &[&str] = &["master"];
const SLAVE: &[&str] = &["slave"];

pub(super) type Count = Number<u32, 1, { u32::MAX as u64 }>;
pub(super) type Depth = Number<u32, 1, { MAXIMUM_TREE_DEPTH as u64 }>;
/// With less git can not even begin.
pub(super) type GitMemory = Number<u64, { 64 << 20 }, MOST>;

/// A log with less has no room for what a process says when it starts.
pub(super) type LogSize = Number<u64, { 64 << 10 }, MOST>;

pub(super) const KEYS: &[Key] = &[
    key_of::<Secret>("secret", ALL),
    key_of::<Secret>("read_token", ALL),
    key_of::<bool>("accept_legacy_peers", ALL),
    key_of::<String>("https_cert_file", ALL),
    key_of::<String>("https_key_file", ALL),
    key_of::<String>("https_ca_file", ALL),
    key_of::<String>("https_client_cert_file", ALL),
    key_of::<String>("https_client_key_file", ALL),
    key_of::<String>("https_client_ca_file", ALL),
    key_of::<String>("base_directory", ALL),
    key_of::<Host>("hostname", ALL),
    key_of::<String>("master_hostname", ALL),
    key_of::<Vec<String>>("slaves", ALL),
    key_of::<Seconds<1>>("default_http_timeout", ALL),
    key_of::<LogLevel>("log_level", ALL),
    key_of::<String>("log_filename", ALL),
    key_of::<Amount>("max_log_file_size", ALL),
    key_of::<String>("eventlog_filename", ALL),
    key_of::<Port>("port", ALL),
    key_of::<IpAddr>("bind_address", ALL),
    key_of::<bool>("allow_local_sources", ALL),
    key_of::<AllowedSources>("remote_files_allow", ALL),
    key_of::<Limit>("remote_files_max_size", ALL),
    key_of::<Seconds<1>>("remote_files_timeout", ALL),
    key_of::<bool>("require_signed_reads", ALL),
    key_of::<Seconds<1>>("signature_max_age", ALL),
    key_of::<Bound>("max_connections", ALL),
    key_of::<Bound>("max_connections_of_address", ALL),
    key_of::<Bound>("max_unproved_requests", ALL),
    key_of::<Seconds<1>>("fetch_timeout", ALL),
    key_of::<Amount>("min_free_space", ALL),
    key_of::<Seconds<0>>("atom_kill_grace", ALL),
    key_of::<bool>("git_strict_host_key_checking", ALL),
    key_of::<Limit>("git_max_entries", ALL),
    key_of::<Depth>("git_max_depth", ALL),
    key_of::<Limit>("git_max_file_bytes", ALL),
    key_of::<Limit>("git_max_work_tree_bytes", ALL),
    key_of::<Limit>("git_max_pack_bytes", ALL),
    key_of::<Limit>("git_max_refs", ALL),
    key_of::<GitMemory>("git_max_memory_bytes", ALL),
    key_of::<String>("cors_allowed_origins_regex", ALL),
    key_of::<bool>("get_project_from_master", ALL),
    key_of::<Days>("keep_projects_days", ALL),
    key_of::<Bound>("keep_projects_bytes", ALL),
    key_of::<Bound>("max_setup_cache_bytes", ALL),
    key_of::<bool>("compat_exit_codes", MASTER),
    key_of::<Registration>("registration", MASTER),
    key_of::<Port>("router_port", MASTER),
    key_of::<SshPort>("ssh_port", MASTER),
    key_of::<Days>("keep_builds_days", MASTER),
    key_of::<Bound>("keep_builds", MASTER),
    key_of::<Amount>("keep_audit_entries", MASTER),
    key_of::<Bound>("keep_results_bytes", MASTER),
    key_of::<Days>("keep_partial_results_days", MASTER),
    key_of::<bool>("hunt_flakes", MASTER),
    key_of::<Bound>("keep_templates", MASTER),
    key_of::<Bound>("keep_templates_bytes", MASTER),
    key_of::<Seconds<1>>("slave_lost_after", MASTER),
    key_of::<Seconds<0>>("default_atom_timeout", MASTER),
    key_of::<Seconds<0>>("default_atomizer_timeout", MASTER),
    key_of::<Seconds<0>>("default_setup_timeout", MASTER),
    key_of::<Seconds<0>>("default_teardown_timeout", MASTER),
    key_of::<String>("build_symlink_directory", MASTER),
    key_of::<Limit>("max_code_upload_bytes", MASTER),
    key_of::<Limit>("max_working_tree_bytes", MASTER),
    key_of::<Bound>("keep_working_trees_bytes", MASTER),
    key_of::<ImagePolicy>("image_policy", MASTER),
    key_of::<Limit>("max_snapshot_bytes", MASTER),
    key_of::<LogSize>("max_app_log_bytes", MASTER),
    key_of::<LogSize>("max_instance_log_bytes", MASTER),
    key_of::<Domain>("app_domain", MASTER),
    key_of::<Domains>("further_hostnames", MASTER),
    key_of::<Seconds<0>>("deploy_wait", MASTER),
    key_of::<Secret>("builder_key", MASTER),
    key_of::<Secret>("binder_api_key", MASTER),
    key_of::<bool>("launch_without_key", MASTER),
    key_of::<PortList>("binder_ports", MASTER),
    key_of::<String>("on_finish", MASTER),
    key_of::<Seconds<1>>("on_finish_timeout", MASTER),
    key_of::<PublicUrl>("public_url", MASTER),
    key_of::<Seconds<0>>("unresponsive_slaves_cleanup_interval", MASTER),
    key_of::<Count>("num_executors", SLAVE),
    key_of::<Labels>("labels", SLAVE),
    key_of::<String>("join_token_file", SLAVE),
    key_of::<Port>("master_port", SLAVE),
    key_of::<Bound>("max_console_size", SLAVE),
    key_of::<Seconds<1>>("heartbeat_interval", SLAVE),
    key_of::<Amount>("heartbeat_failure_threshold", SLAVE),
    key_of::<bool>("reachable", SLAVE),
    key_of::<Seconds<1>>("poll_length", SLAVE),
    key_of::<bool>("drain_on_stop", SLAVE),
    key_of::<bool>("end_when_unknown", SLAVE),
    key_of::<RuntimeChoice>("container_runtime", SLAVE),
    key_of::<Vec<String>>("container_flags", SLAVE),
    key_of::<Vec<String>>("container_build_flags", SLAVE),
    key_of::<Vec<String>>("container_run_flags", SLAVE),
    key_of::<String>("container_network", SLAVE),
    key_of::<IsolationLevel>("isolation", SLAVE),
    key_of::<String>("run_as", SLAVE),
    key_of::<Size>("atom_memory", SLAVE),
    key_of::<Processes>("atom_pids", SLAVE),
    key_of::<Processors>("atom_cpus", SLAVE),
    key_of::<bool>("isolation_network", SLAVE),
    key_of::<Names>("environment_allow", SLAVE),
    key_of::<Paths>("isolation_shows", SLAVE),
    key_of::<bool>("nested_sandboxes", SLAVE),
    key_of::<Number<u32, 0, 10_000>>("max_instances", SLAVE),
    key_of::<Ports>("instance_ports", SLAVE),
    key_of::<Seconds<1>>("instance_start_timeout", SLAVE),
    key_of::<Number<u32, 0, 1_000_000>>("instance_restarts", SLAVE),
    key_of::<Seconds<0>>("instance_stop_grace", SLAVE),
    key_of::<Seconds<1>>("instance_alone_for", SLAVE),
    key_of::<Limit>("instance_log_buffer_bytes", SLAVE),
    key_of::<Directory>("templates_path", SLAVE),
    key_of::<Bound>("max_template_cache_bytes", SLAVE),
];

/// What the original's programs know; they refuse a file with any other key.
pub(super) const ORIGINAL_KEYS: [&str; 22] = [
    "secret",
    "base_directory",
    "log_level",
    "build_symlink_directory",
    "hostname",
    "slaves",
    "port",
    "num_executors",
    "master_hostname",
    "master_port",
    "log_filename",
    "max_log_file_size",
    "eventlog_filename",
    "git_strict_host_key_checking",
    "cors_allowed_origins_regex",
    "get_project_from_master",
    "default_http_timeout",
    "https_cert_file",
    "https_key_file",
    "heartbeat_interval",
    "heartbeat_failure_threshold",
    "unresponsive_slaves_cleanup_interval",
];

/// Those that nobody else may read.
pub(super) const SECRET_KEYS: [&str; 4] = ["secret", "read_token", "binder_api_key", "builder_key"];

pub(super) fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

pub(super) fn nearest_key(key: &str) -> Option<String> {
    nearest(key, KEYS.iter().map(|key| key.name)).map(str::to_owned)
}

/// The environment variable that sets a key.
pub(super) fn variable(key: &str) -> String {
    format!("CLUSTERRUNNER_{}", key.to_uppercase())
}

pub(super) fn no_default(key: &'static str, why: &'static str) -> SettingsError {
    SettingsError::NoDefault {
        key,
        why,
        variable: variable(key),
    }
}
