//! The settings as far as a client needs them.

use crate::options::CommonOptions;
use crate::trouble::Trouble;
use clusterrunner_common::secret::Secret;
use std::path::PathBuf;
use std::time::Duration;

/// What a client needs to know of a farm.
#[derive(Debug)]
pub(crate) struct ClientSettings {
    pub(crate) base_directory: PathBuf,
    pub(crate) secret: Secret,
    /// Where the master is, if `--master-url` does not say it.
    pub(crate) hostname: String,
    pub(crate) port: u16,
    pub(crate) slave_port: u16,
    pub(crate) http_timeout: Duration,
}

impl ClientSettings {
    /// Reads the settings.
    pub(crate) fn load(_common: &CommonOptions) -> Result<Self, Trouble> {
        let var = |name: &str| std::env::var(name).ok();
        let number = |name: &str, otherwise| {
            var(name)
                .and_then(|text| text.parse().ok())
                .unwrap_or(otherwise)
        };
        let secret =
            var("CLUSTERRUNNER_SECRET").unwrap_or_else(|| "not a secret at all".to_owned());
        Ok(Self {
            base_directory: var("CLUSTERRUNNER_BASE_DIRECTORY")
                .unwrap_or_default()
                .into(),
            secret: Secret::new(secret).map_err(|error| Trouble::usage(error.to_string()))?,
            hostname: "localhost".to_owned(),
            port: number("CLUSTERRUNNER_MASTER_PORT", 43000),
            slave_port: number("CLUSTERRUNNER_SLAVE_PORT", 43001),
            http_timeout: Duration::from_secs(30),
        })
    }
}
