//! Settings of master, slave and client: command line above file above environment above defaults.
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
mod log_files;
mod retention;
mod secret_file;
#[cfg(test)]
mod tests;

pub use environment::{UnknownVariable, unknown_variables, unknown_variables_here};
pub use error::{Origin, SettingsError};
pub use secret_file::ensure_secret;

use crate::job_config::{TimeLimit, Timeouts};
use crate::logging::LogLevel;
use crate::retention::{BuildBounds, ProjectBounds};
use crate::secret::Secret;
use crate::tls::HttpsSettings;
use file::SettingsFile;
use keys::Program;
use layers::{Layers, expand_home, no_default};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The shipped settings file: every key with its meaning, and the defaults.
pub const SHIPPED_SETTINGS: &str = include_str!("../../conf/clusterrunner.conf");

/// Files and the log, the same in every program.
#[derive(Debug, Clone)]
pub struct GeneralSettings {
    /// The settings file that was read, or where it would be; [`ensure_secret`] writes here.
    pub config_file: PathBuf,
    /// The shared secret; `None` until there is one, see [`GeneralSettings::secret_or_generate`].
    pub secret: Option<Secret>,
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

/// Where the event log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventLogTarget {
    /// To standard output.
    Stdout,
    /// To this file.
    File(PathBuf),
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
    /// Failed heartbeats in a row after which the original's slave ends; at least 1.
    pub heartbeat_failure_threshold: u32,
    /// Whether a signal lets it finish what it runs before it ends.
    pub drain_on_stop: bool,
}

/// Settings of the client commands.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// What every program has.
    pub general: GeneralSettings,
    /// The master's port.
    pub port: u16,
}

/// Settings that the command line gives, by their keys; stronger than any other.
#[derive(Clone, Default)]
pub struct Overrides {
    values: Vec<(&'static str, Vec<String>)>,
}

impl Overrides {
    /// No flags.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key, such as `set("port", "43000")`; the text is taken as it is.
    #[must_use]
    pub fn set(self, key: &'static str, value: impl ToString) -> Self {
        self.set_list(key, [value.to_string()])
    }

    /// As [`Overrides::set`] when the flag was given, else nothing.
    #[must_use]
    pub fn set_if_given(self, key: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }

    /// Sets a key whose value is a list.
    #[must_use]
    pub fn set_list(mut self, key: &'static str, values: impl IntoIterator<Item = String>) -> Self {
        self.values.retain(|(other, _)| *other != key);
        self.values.push((key, values.into_iter().collect()));
        self
    }
}

/// Shows only the keys: one of the values may be the secret.
impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.values.iter().map(|(key, _)| key))
            .finish()
    }
}

/// Loads the settings of the master.
///
/// `config_file` is the file named on the command line, which must be there; with `None` the file of
/// [`default_config_file`] is read if there is one. `environment` gives the value of a variable.
///
/// # Errors
/// [`SettingsError`], whose message names the line and the cure. The whole file is checked, also
/// the sections of other programs.
pub fn load_master(
    config_file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    flags: &Overrides,
) -> Result<MasterSettings, SettingsError> {
    let (config_file, layers) = layers(Program::Master, config_file, &environment, flags)?;
    Ok(MasterSettings {
        general: general(config_file, &layers)?,
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
    let (config_file, layers) = layers(Program::Slave, config_file, &environment, flags)?;
    Ok(SlaveSettings {
        general: general(config_file, &layers)?,
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
    let (config_file, layers) = layers(Program::Client, config_file, &environment, flags)?;
    Ok(ClientSettings {
        general: general(config_file, &layers)?,
        port: layers.number("port")?,
    })
}

/// The settings file that is read when none is named: `clusterrunner.conf` in the default base directory, which
/// is `CLUSTERRUNNER_BASE_DIRECTORY` of the environment, else `/var/lib/clusterrunner` if that is a directory,
/// else `~/.clusterrunner`.
///
/// # Errors
/// [`SettingsError::NoDefault`] when the home directory is needed but not known.
pub fn default_config_file(
    environment: impl Fn(&str) -> Option<String>,
) -> Result<PathBuf, SettingsError> {
    Ok(default_base_directory(&environment)?.join("clusterrunner.conf"))
}

fn default_base_directory(
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<PathBuf, SettingsError> {
    const KEY: &str = "base_directory";
    const SYSTEM_WIDE: &str = "/var/lib/clusterrunner";
    match environment(&keys::variable(KEY)).filter(|path| !path.is_empty()) {
        Some(path) => expand_home(KEY, &path, environment),
        None if Path::new(SYSTEM_WIDE).is_dir() => Ok(PathBuf::from(SYSTEM_WIDE)),
        None => expand_home(KEY, "~/.clusterrunner", environment),
    }
}

fn layers<'a>(
    program: Program,
    config_file: Option<&Path>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    flags: &'a Overrides,
) -> Result<(PathBuf, Layers<'a>), SettingsError> {
    let (path, file) = match config_file {
        Some(path) => (
            path.to_owned(),
            Some(read_file(path)?.ok_or_else(|| SettingsError::Missing {
                path: path.to_owned(),
            })?),
        ),
        None => {
            let path = default_config_file(environment)?;
            let file = read_file(&path)?;
            (path, file)
        }
    };
    let defaults = SettingsFile::parse(SHIPPED_SETTINGS, Path::new("conf/clusterrunner.conf"))?;
    let layers = Layers {
        program,
        flags,
        file,
        environment,
        defaults,
    };
    layers.check_flags()?;
    Ok((path, layers))
}

/// `None` when there is no such file.
fn read_file(path: &Path) -> Result<Option<SettingsFile>, SettingsError> {
    let failed = |source: io::Error| SettingsError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    let settings = SettingsFile::parse(&text, path)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if settings.holds_secret() && mode & 0o077 != 0 {
        return Err(SettingsError::Permissions {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(Some(settings))
}

fn general(config_file: PathBuf, layers: &Layers<'_>) -> Result<GeneralSettings, SettingsError> {
    let base_directory = match layers.optional_path("base_directory")? {
        Some(path) => path,
        None => default_base_directory(layers.environment)?,
    };
    let logs = base_directory.join("log");
    let event_log = match layers.path("eventlog_filename")? {
        name if name == Path::new("STDOUT") => EventLogTarget::Stdout,
        name => EventLogTarget::File(logs.join(name)),
    };
    Ok(GeneralSettings {
        config_file,
        secret: layers.secret("secret")?,
        read_token: layers.secret("read_token")?,
        https: https::settings(layers)?,
        hostname: match layers.optional_text("hostname")? {
            Some(name) => name,
            None => node_name()?,
        },
        master_hostname: layers.text("master_hostname")?,
        slaves: layers.list("slaves")?,
        default_http_timeout: layers.seconds("default_http_timeout")?,
        log_level: layers.level("log_level")?,
        log_file: logs.join(layers.path("log_filename")?),
        max_log_file_size: layers.number("max_log_file_size")?,
        event_log,
        base_directory,
    })
}

fn service(layers: &Layers<'_>) -> Result<ServiceSettings, SettingsError> {
    let bind_address = layers.address("bind_address")?;
    Ok(ServiceSettings {
        port: layers.number("port")?,
        bind_address,
        allow_local_sources: layers
            .optional_boolean("allow_local_sources")?
            .unwrap_or(bind_address.is_loopback()),
        accept_legacy_peers: layers.boolean("accept_legacy_peers")?,
        require_signed_reads: layers.boolean("require_signed_reads")?,
        signature_max_age: layers.seconds("signature_max_age")?,
        fetch_timeout: layers.seconds("fetch_timeout")?,
        min_free_space: layers.number("min_free_space")?,
        atom_kill_grace: layers.seconds("atom_kill_grace")?,
        git_strict_host_key_checking: layers.boolean("git_strict_host_key_checking")?,
        kept_projects: retention::projects(layers)?,
        cors_allowed_origins_regex: layers.optional_text("cors_allowed_origins_regex")?,
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
