//! Each program's settings, made of all layers.

use super::error::SettingsError;
use super::file::SettingsFile;
use super::keys::Program;
use super::layers::{Layers, no_default};
use super::location::{default_base_directory, default_config_file, read_file};
use super::second_file::second_file;
use super::secret_file::make_missing;
use super::{
    ClientSettings, GeneralSettings, MasterSettings, Overrides, SHIPPED_SETTINGS, ServiceSettings,
    SlaveSettings, https, retention,
};
use crate::auth::secret::Secret;
use crate::git::GitLimits;
use crate::job::config::{TimeLimit, Timeouts};
use crate::logs::event_log::EventLogTarget;
use crate::remote_files::RemoteFileRules;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Smaller log files would be rotated at every few lines. The original takes any size.
const LEAST_LOG_FILE: u64 = 4096;

/// Loads the settings of the master.
///
/// `config_file` is the file named on the command line, which is made if it is not there, as the original does;
/// with `None` the file of [`default_config_file`] is read if there is one. With each of them goes its
/// [`second_file`]. `environment` gives the value of a variable.
///
/// # Errors
/// [`SettingsError`], whose message names the line and the cure. The whole file is checked, also
/// the sections of other programs.
pub fn load_master(
    config_file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    flags: &Overrides,
) -> Result<MasterSettings, SettingsError> {
    let (read, layers) = layers(Program::Master, config_file, &environment, flags)?;
    Ok(MasterSettings {
        general: general(read, &layers)?,
        service: service(&layers)?,
        slave_lost_after: slave_lost_after(&layers)?,
        legacy_slave_lost_after: legacy_slave_lost_after(&layers)?,
        default_timeouts: Timeouts {
            atom: Some(time_limit(&layers, "default_atom_timeout")?),
            atomizer: Some(time_limit(&layers, "default_atomizer_timeout")?),
            setup: Some(time_limit(&layers, "default_setup_timeout")?),
            teardown: Some(time_limit(&layers, "default_teardown_timeout")?),
        },
        kept_builds: retention::builds(&layers)?,
        get_project_from_master: layers.boolean("get_project_from_master")?,
        build_symlink_directory: layers.path("build_symlink_directory")?,
        unresponsive_slaves_cleanup_interval: layers
            .seconds("unresponsive_slaves_cleanup_interval")?,
    })
}

/// Loads the settings of a slave; arguments and errors as for [`load_master`].
///
/// # Errors
/// As [`load_master`].
pub fn load_slave(
    config_file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    flags: &Overrides,
) -> Result<SlaveSettings, SettingsError> {
    let (read, layers) = layers(Program::Slave, config_file, &environment, flags)?;
    Ok(SlaveSettings {
        general: general(read, &layers)?,
        service: service(&layers)?,
        num_executors: layers.number("num_executors")?,
        labels: layers.list_if_given("labels")?.into_iter().collect(),
        master_port: layers.number("master_port")?,
        max_console_size: match layers.number("max_console_size")? {
            0 => None,
            bytes => Some(bytes),
        },
        heartbeat_interval: layers.seconds("heartbeat_interval")?,
        heartbeat_failure_threshold: layers.number("heartbeat_failure_threshold")?,
        drain_on_stop: layers.boolean("drain_on_stop")?,
    })
}

/// Loads the settings of a client command, which reads `[general]` and, for the master's port,
/// `[master]`; arguments and errors as for [`load_master`].
///
/// # Errors
/// As [`load_master`].
pub fn load_client(
    config_file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    flags: &Overrides,
) -> Result<ClientSettings, SettingsError> {
    let (read, layers) = layers(Program::Client, config_file, &environment, flags)?;
    Ok(ClientSettings {
        general: general(read, &layers)?,
        accept_legacy_peers: layers.boolean("accept_legacy_peers")?,
        compat_exit_codes: layers.boolean("compat_exit_codes")?,
        port: layers.number("port")?,
    })
}

/// What was read, beside the settings themselves.
struct Read {
    path: PathBuf,
    warnings: Vec<String>,
}

fn layers<'a>(
    program: Program,
    config_file: Option<&Path>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    flags: &'a Overrides,
) -> Result<(Read, Layers<'a>), SettingsError> {
    let mut made = None;
    let path = match config_file {
        Some(path) => {
            made = make_missing(path)?.then(|| {
                format!(
                    "there was no settings file {}; a new one was made",
                    path.display()
                )
            });
            path.to_owned()
        }
        None => default_config_file(environment)?,
    };
    let mut files = Vec::new();
    for path in [second_file(&path), path.clone()] {
        files.extend(read_file(&path)?);
    }
    let told = files.iter_mut().rev();
    let told = told.flat_map(|file| std::mem::take(&mut file.warnings));
    let warnings = made.into_iter().chain(told).collect();
    let defaults = SettingsFile::parse(SHIPPED_SETTINGS, Path::new("conf/clusterrunner.conf"))?;
    let layers = Layers {
        program,
        flags,
        files,
        environment,
        defaults,
    };
    layers.check_flags()?;
    let read = Read { path, warnings };
    Ok((read, layers))
}

fn general(read: Read, layers: &Layers<'_>) -> Result<GeneralSettings, SettingsError> {
    let base_directory = match layers.optional_path("base_directory")? {
        Some(path) => path,
        None => default_base_directory(layers.environment)?,
    };
    let logs = base_directory.join("log");
    let event_log = match layers.path("eventlog_filename")? {
        name if name == Path::new("STDOUT") => EventLogTarget::Stdout,
        name => EventLogTarget::File(logs.join(name)),
    };
    let secret = layers.secret("secret", layers.boolean("accept_legacy_peers")?)?;
    Ok(GeneralSettings {
        config_file: read.path,
        warnings: read.warnings,
        secret_weakness: secret.as_ref().and_then(Secret::weakness),
        secret,
        read_token: layers.secret("read_token", true)?,
        https: https::settings(layers)?,
        hostname: match layers.optional_host("hostname")? {
            Some(name) => name,
            None => node_name()?,
        },
        master_hostname: match layers.program {
            // `deploy` takes it as ssh does, with user and port; what it starts gets an address of its own.
            Program::Master | Program::Client => layers.text("master_hostname")?,
            Program::Slave => layers
                .optional_host("master_hostname")?
                .ok_or_else(|| no_default("master_hostname", "the shipped settings have none"))?,
        },
        slaves: layers.list("slaves")?,
        default_http_timeout: layers.seconds("default_http_timeout")?,
        log_level: layers.level("log_level")?,
        log_file: logs.join(layers.path("log_filename")?),
        max_log_file_size: layers
            .number::<u64>("max_log_file_size")?
            .max(LEAST_LOG_FILE),
        event_log,
        base_directory,
    })
}

fn service(layers: &Layers<'_>) -> Result<ServiceSettings, SettingsError> {
    let bind_address = layers.address("bind_address")?;
    let allow_local_sources = layers
        .optional_boolean("allow_local_sources")?
        .unwrap_or(bind_address.is_loopback());
    Ok(ServiceSettings {
        port: layers.number("port")?,
        bind_address,
        allow_local_sources,
        remote_files: remote_files(layers, allow_local_sources)?,
        accept_legacy_peers: layers.boolean("accept_legacy_peers")?,
        require_signed_reads: layers.boolean("require_signed_reads")?,
        signature_max_age: layers.seconds("signature_max_age")?,
        fetch_timeout: layers.seconds("fetch_timeout")?,
        min_free_space: layers.number("min_free_space")?,
        atom_kill_grace: layers.seconds("atom_kill_grace")?,
        git_strict_host_key_checking: layers.boolean("git_strict_host_key_checking")?,
        git_limits: GitLimits {
            entries: layers.number("git_max_entries")?,
            depth: layers.number("git_max_depth")?,
            file_bytes: layers.number("git_max_file_bytes")?,
            work_tree_bytes: layers.number("git_max_work_tree_bytes")?,
            pack_bytes: layers.number("git_max_pack_bytes")?,
            refs: layers.number("git_max_refs")?,
        },
        git_max_memory_bytes: layers.number("git_max_memory_bytes")?,
        kept_projects: retention::projects(layers)?,
        cors_allowed_origins_regex: layers.optional_text("cors_allowed_origins_regex")?,
    })
}

fn remote_files(
    layers: &Layers<'_>,
    allow_local_sources: bool,
) -> Result<RemoteFileRules, SettingsError> {
    Ok(RemoteFileRules {
        allow_local_sources,
        allowed: layers.sources("remote_files_allow")?,
        max_size: layers.number("remote_files_max_size")?,
        timeout: layers.seconds("remote_files_timeout")?,
        ..RemoteFileRules::default()
    })
}

/// A file of the original may have `heartbeat_interval = 60`: a fixed default of 15 s would lose all slaves
/// again and again, so the default follows the interval.
fn slave_lost_after(layers: &Layers<'_>) -> Result<Duration, SettingsError> {
    const HEARTBEATS: u32 = 3;
    let heartbeat = layers
        .seconds_for("heartbeat_interval", Program::Slave.section())?
        .ok_or_else(|| no_default("heartbeat_interval", "the shipped settings have none"))?;
    let Some(lost_after) = layers.seconds_for("slave_lost_after", Program::Master.section())?
    else {
        return Ok(heartbeat.saturating_mul(HEARTBEATS));
    };
    if lost_after <= heartbeat {
        return Err(SettingsError::LostBeforeHeartbeat {
            lost_after: lost_after.as_secs(),
            heartbeat: heartbeat.as_secs(),
        });
    }
    Ok(lost_after)
}

/// Slaves of the original call every 60 s unless their own file says otherwise.
fn legacy_slave_lost_after(layers: &Layers<'_>) -> Result<Duration, SettingsError> {
    const THREE_OF_THEIR_HEARTBEATS: Duration = Duration::from_secs(180);
    let of_all = slave_lost_after(layers)?;
    let is_set = layers
        .seconds_for("slave_lost_after", Program::Master.section())?
        .is_some();
    Ok(if is_set {
        of_all
    } else {
        of_all.max(THREE_OF_THEIR_HEARTBEATS)
    })
}

fn time_limit(layers: &Layers<'_>, key: &'static str) -> Result<TimeLimit, SettingsError> {
    let limit = layers.seconds(key)?;
    Ok(TimeLimit::from_seconds(limit.as_secs()))
}

fn node_name() -> Result<String, SettingsError> {
    let system = rustix::system::uname();
    match system.nodename().to_str() {
        Ok(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(no_default("hostname", "the machine has no node name")),
    }
}
