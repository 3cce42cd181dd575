//! How a slave runs containers.

use super::error::SettingsError;
use super::layers::Layers;
use super::runtimes::RuntimeChoice;
use serde::{Deserialize, Serialize};

/// Which container runtime a slave uses, and what it is started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSettings {
    /// Which one.
    pub runtime: RuntimeChoice,
    /// Stand before each subcommand of the runtime.
    pub flags: Vec<String>,
    /// Stand behind `build`.
    pub build_flags: Vec<String>,
    /// Stand behind `run`.
    pub run_flags: Vec<String>,
    /// The network of containers; none for the runtime's own default.
    pub network: Option<String>,
}

impl ContainerSettings {
    pub(super) fn read(layers: &Layers<'_>) -> Result<Self, SettingsError> {
        let flags =
            |key| Ok::<Vec<String>, SettingsError>(layers.get_if_set(key)?.unwrap_or_default());
        Ok(Self {
            runtime: layers.get("container_runtime")?,
            flags: flags("container_flags")?,
            build_flags: flags("container_build_flags")?,
            run_flags: flags("container_run_flags")?,
            network: layers.get_if_set("container_network")?,
        })
    }
}
