//! What a slave reads.

use super::containers::ContainerSettings;
use super::error::SettingsError;
use super::instances::InstanceSettings;
use super::isolation::IsolationSettings;
use super::keys::{Count, Program};
use super::layers::Layers;
use super::values::{Bound, Labels, Port, Seconds};
use super::{GeneralSettings, Overrides, ServiceSettings};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Settings of a slave.
#[derive(Debug, Clone)]
pub struct SlaveSettings {
    /// What every program has.
    pub general: GeneralSettings,
    /// What both services have.
    pub service: ServiceSettings,
    /// Subjobs at the same time; at least 1.
    pub num_executors: u32,
    /// Whether nobody has said how many.
    pub has_default_executors: bool,
    /// What jobs may ask for in a slave.
    pub labels: BTreeSet<String>,
    /// The port of the master on [`GeneralSettings::master_hostname`].
    pub master_port: u16,
    /// Bytes of an atom's console that are kept; `None` for all.
    pub max_console_size: Option<u64>,
    /// The time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Whether its master can call it. One that can not be called polls for its calls.
    pub reachable: bool,
    /// How long a poll is kept open at the master.
    pub poll_length: Duration,
    /// Whether a signal lets it finish what it runs before it ends.
    pub drain_on_stop: bool,
    /// Whether it ends when its master knows neither its key nor what it joins with.
    pub end_when_unknown: bool,
    /// The file with the token with which it joins its master.
    pub join_token_file: Option<PathBuf>,
    /// Whether it forgets the master that it has joined, to join another. No setting, but an option of the command line.
    pub forgets_master: bool,
    /// How it runs containers.
    pub containers: ContainerSettings,
    /// How far builds are kept apart from it.
    pub isolation: IsolationSettings,
    /// How instances are run.
    pub instances: InstanceSettings,
}

/// Loads the settings of a slave; arguments and errors as for [`super::load_master`].
///
/// # Errors
/// As [`super::load_master`].
pub fn load_slave(
    config_file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    flags: &Overrides,
) -> Result<SlaveSettings, SettingsError> {
    let layers = Layers::read_files(Program::Slave, config_file, &environment, flags)?;
    Ok(SlaveSettings {
        general: GeneralSettings::read(&layers)?,
        service: ServiceSettings::read(&layers)?,
        num_executors: layers.get::<Count>("num_executors")?.0,
        has_default_executors: layers.is_default("num_executors"),
        labels: layers
            .get_if_set("labels")?
            .map_or_else(BTreeSet::new, |Labels(labels)| labels),
        master_port: layers.get::<Port>("master_port")?.0,
        max_console_size: layers.get::<Bound>("max_console_size")?.0,
        heartbeat_interval: layers.get::<Seconds<1>>("heartbeat_interval")?.0,
        reachable: layers.get("reachable")?,
        poll_length: layers.get::<Seconds<1>>("poll_length")?.0,
        drain_on_stop: layers.get("drain_on_stop")?,
        end_when_unknown: layers.get("end_when_unknown")?,
        join_token_file: layers.path_if_set("join_token_file")?,
        forgets_master: false,
        containers: ContainerSettings::read(&layers)?,
        isolation: IsolationSettings::read(&layers)?,
        instances: InstanceSettings::read(&layers)?,
    })
}
