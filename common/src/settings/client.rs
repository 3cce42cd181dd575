//! What the client commands read.

use super::error::SettingsError;
use super::keys::Program;
use super::layers::Layers;
use super::values::{Amount, Port, Seconds};
use super::{GeneralSettings, Overrides};
use std::path::Path;
use std::time::Duration;

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
    /// Bytes that daemons keep free on the disk of the base directory.
    pub min_free_space: u64,
    /// How old a signature may be for a daemon that takes it.
    pub signature_max_age: Duration,
}

/// Loads the settings of a client command, which reads `[general]` and, for the master's port,
/// `[master]`; arguments and errors as for [`super::load_master`].
///
/// # Errors
/// As [`super::load_master`].
pub fn load_client(
    config_file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    flags: &Overrides,
) -> Result<ClientSettings, SettingsError> {
    let layers = Layers::read_files(Program::Client, config_file, &environment, flags)?;
    Ok(ClientSettings {
        general: GeneralSettings::read(&layers)?,
        accept_legacy_peers: layers.get("accept_legacy_peers")?,
        compat_exit_codes: layers.get("compat_exit_codes")?,
        port: layers.get::<Port>("port")?.0,
        min_free_space: layers.get::<Amount>("min_free_space")?.0,
        signature_max_age: layers.get::<Seconds<1>>("signature_max_age")?.0,
    })
}
