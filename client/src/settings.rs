//! The settings as far as a client needs them.

use crate::options::CommonOptions;
use crate::trouble::Trouble;
use clusterrunner_common::secret::Secret;
use clusterrunner_common::settings::{
    ClientSettings, Overrides, SettingsError, load_client, load_slave,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a client knows of its farm.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where the daemons of this machine keep their files.
    pub(crate) base_directory: PathBuf,
    /// Where the daemons of this machine log.
    pub(crate) log_directory: PathBuf,
    pub(crate) secret: Secret,
    /// This machine's name.
    pub(crate) hostname: String,
    /// The master's port.
    pub(crate) port: u16,
    /// The machine that the master runs on.
    pub(crate) master_hostname: String,
    /// The machines that slaves run on.
    pub(crate) slaves: Vec<String>,
    pub(crate) http_timeout: Duration,
    /// The file that was named on the command line.
    pub(crate) config_file: Option<PathBuf>,
}

impl Settings {
    /// Reads the settings; the secret is generated where there is none yet.
    pub(crate) fn load(common: &CommonOptions) -> Result<Self, Trouble> {
        let ClientSettings { general, port } = read(common)?;
        let secret = general.secret_or_generate().map_err(wrong)?;
        let config_file = match &common.config_file {
            Some(path) => Some(absolute(path)?),
            None => None,
        };
        let base_directory = absolute(&general.base_directory)?;
        Ok(Self {
            log_directory: base_directory.join("log"),
            base_directory,
            secret,
            hostname: general.hostname,
            port,
            master_hostname: general.master_hostname,
            slaves: general.slaves,
            http_timeout: general.default_http_timeout,
            config_file,
        })
    }

    /// Where the daemons of this machine keep their files; for commands that call nobody.
    pub(crate) fn base_directory(common: &CommonOptions) -> Result<PathBuf, Trouble> {
        absolute(&read(common)?.general.base_directory)
    }

    /// The port of a slave on this machine.
    pub(crate) fn slave_port(common: &CommonOptions) -> Result<u16, Trouble> {
        let slave = load_slave(
            common.config_file.as_deref(),
            environment,
            &Overrides::new(),
        );
        Ok(slave.map_err(wrong)?.service.port)
    }
}

fn read(common: &CommonOptions) -> Result<ClientSettings, Trouble> {
    load_client(
        common.config_file.as_deref(),
        environment,
        &Overrides::new(),
    )
    .map_err(wrong)
}

fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

fn wrong(error: SettingsError) -> Trouble {
    Trouble::usage(error.to_string())
}

fn absolute(path: &Path) -> Result<PathBuf, Trouble> {
    std::path::absolute(path)
        .map_err(|error| Trouble::usage(format!("'{}': {error}", path.display())))
}
