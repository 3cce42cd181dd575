//! What the master reads for the Binder API.

use super::error::{Origin, SettingsError};
use super::layers::Layers;
use super::values::{Found, PortList, Value as _};
use crate::auth::secret::Secret;

/// The key in the settings files.
const API_KEY: &str = "binder_api_key";

/// The environment variable by which the servers of Binder get their key.
pub(super) const BINDER_API_KEY: &str = "BINDER_API_KEY";

/// Settings of the Binder API.
#[derive(Debug, Clone)]
pub struct BinderSettings {
    /// Its key; none where the master makes one.
    pub api_key: Option<Secret>,
    /// Whether everyone who reaches the port may launch templates.
    pub launch_without_key: bool,
    /// PortList beside the master's own that have the Binder API alone.
    pub ports: Vec<u16>,
}

impl BinderSettings {
    pub(super) fn read(layers: &Layers<'_>, is_loopback: bool) -> Result<Self, SettingsError> {
        let ports: Option<PortList> = layers.get_if_set("binder_ports")?;
        Ok(Self {
            api_key: match layers.get_if_set(API_KEY)? {
                Some(key) => Some(key),
                None => key_of_environment(layers)?,
            },
            launch_without_key: layers
                .get_if_set("launch_without_key")?
                .unwrap_or(is_loopback),
            ports: ports.map(|ports| ports.0).unwrap_or_default(),
        })
    }
}

fn key_of_environment(layers: &Layers<'_>) -> Result<Option<Secret>, SettingsError> {
    let text = (layers.environment)(BINDER_API_KEY).filter(|text| !text.is_empty());
    let key = text.map(|text| {
        Secret::read(&Found {
            key: API_KEY,
            origin: Origin::Environment(BINDER_API_KEY.to_owned()),
            values: vec![text],
        })
    });
    key.transpose()
}
