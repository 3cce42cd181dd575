//! Files, names and the log: what every program reads.

use super::ensure_secret;
use super::error::SettingsError;
use super::keys::Program;
use super::keys::no_default;
use super::layers::Layers;
use super::location::default_base_directory;
use super::values::{Amount, Host, Seconds};
use crate::auth::secret::{Secret, SecretError};
use crate::http::tls::{
    Authorities, CA_KEY, CLIENT_CA_KEY, CLIENT_KEYS, HttpsSettings, IDENTITY_KEYS, Identity,
};
use crate::logs::event_log::EventLogTarget;
use crate::logs::logging::LogLevel;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Smaller log files would be rotated at every few lines. The original takes any size.
const LEAST_LOG_FILE: u64 = 4096;

/// Files and the log, the same in every program.
#[derive(Debug, Clone)]
pub struct GeneralSettings {
    /// The settings file that was read, or where it would be; a new secret is written here.
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

impl GeneralSettings {
    pub(super) fn read(layers: &Layers<'_>) -> Result<Self, SettingsError> {
        let base_directory = match layers.path_if_set("base_directory")? {
            Some(path) => path,
            None => default_base_directory(layers.environment)?,
        };
        let logs = base_directory.join("log");
        let event_log = match layers.path("eventlog_filename")? {
            name if name == Path::new("STDOUT") => EventLogTarget::Stdout,
            name => EventLogTarget::File(logs.join(name)),
        };
        let secret: Option<Secret> = layers.get_if_set("secret")?;
        let secret_weakness = secret.as_ref().and_then(Secret::weakness);
        if let Some(weakness) = secret_weakness
            && !layers.get("accept_legacy_peers")?
        {
            return Err(layers.wrong("secret", weakness));
        }
        Ok(Self {
            config_file: layers.config_file.clone(),
            warnings: layers.warnings.clone(),
            secret,
            secret_weakness,
            // It may be weak: nobody can try one without asking a daemon.
            read_token: layers.get_if_set("read_token")?,
            https: https(layers)?,
            hostname: match layers.get_if_set("hostname")? {
                Some(Host(name)) => name,
                None => node_name()?,
            },
            // `deploy` takes it as ssh does, with user and port; what it starts gets an address of its own.
            master_hostname: match layers.program {
                Program::Master | Program::Client => layers.get("master_hostname")?,
                Program::Slave => layers.get::<Host>("master_hostname")?.0,
            },
            slaves: layers.get("slaves")?,
            default_http_timeout: layers.get::<Seconds<1>>("default_http_timeout")?.0,
            log_level: layers.get("log_level")?,
            log_file: logs.join(layers.path("log_filename")?),
            max_log_file_size: layers
                .get::<Amount>("max_log_file_size")?
                .0
                .max(LEAST_LOG_FILE),
            event_log,
            base_directory,
        })
    }

    /// The secret that was set, or else that of the settings file, where one is generated if need be.
    ///
    /// # Errors
    /// As `ensure_secret`.
    pub fn secret_or_generate(&self) -> Result<Secret, SettingsError> {
        match &self.secret {
            Some(secret) => Ok(secret.clone()),
            None => ensure_secret(&self.config_file),
        }
    }

    /// The same for the slave that listens on `port`: slaves of one machine must not write into one
    /// file. Only the slave on the usual port has the names as they are set.
    #[must_use]
    pub fn with_files_of_slave(self, port: u16) -> Self {
        const USUAL_PORT: u16 = 43001;
        if port == USUAL_PORT {
            return self;
        }
        let own = |path: &Path| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let ending = path.extension().map(|ending| ending.to_string_lossy());
            let ending = ending.map_or_else(String::new, |ending| format!(".{ending}"));
            path.with_file_name(format!("{stem}_{port}{ending}"))
        };
        let event_log = match &self.event_log {
            EventLogTarget::Stdout => EventLogTarget::Stdout,
            EventLogTarget::File(path) => EventLogTarget::File(own(path)),
        };
        Self {
            log_file: own(&self.log_file),
            event_log,
            ..self
        }
    }
}

/// In the place of a file: the authorities that the system knows.
const SYSTEM: &str = "SYSTEM";

/// HTTPS, as far as it can be read without its files.
fn https(layers: &Layers<'_>) -> Result<HttpsSettings, SettingsError> {
    let authorities = match layers.path_if_set(CA_KEY)? {
        Some(name) if name == Path::new(SYSTEM) => Some(Authorities::System),
        _ => layers.file_if_set(CA_KEY)?.map(Authorities::File),
    };
    Ok(HttpsSettings {
        identity: identity(layers, IDENTITY_KEYS)?,
        authorities,
        client_identity: identity(layers, CLIENT_KEYS)?,
        client_authorities: layers.file_if_set(CLIENT_CA_KEY)?,
    })
}

/// A certificate and its key, which come together or not at all.
fn identity(
    layers: &Layers<'_>,
    (certificate, key): (&'static str, &'static str),
) -> Result<Option<Identity>, SettingsError> {
    let half = |set, missing| SettingsError::HalfIdentity { set, missing };
    match (layers.file_if_set(certificate)?, layers.file_if_set(key)?) {
        (Some(certificate), Some(key)) => Ok(Some(Identity { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(half(certificate, key)),
        (None, Some(_)) => Err(half(key, certificate)),
    }
}

fn node_name() -> Result<String, SettingsError> {
    let system = rustix::system::uname();
    match system.nodename().to_str() {
        Ok(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(no_default("hostname", "the machine has no node name")),
    }
}
