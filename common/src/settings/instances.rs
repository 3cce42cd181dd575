//! How a slave runs instances.

use super::error::SettingsError;
use super::layers::Layers;
use super::values::{Bound, Directory, Limit, Number, Ports, Seconds};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of instances and of the templates that they run.
#[derive(Debug, Clone)]
pub struct InstanceSettings {
    /// How many may run at a time.
    pub max_instances: u32,
    /// The first and the last port that they get.
    pub ports: (u16, u16),
    /// How long one may take until its port answers.
    pub start_timeout: Duration,
    /// How often in a row one that ends is started again.
    pub restarts: u32,
    /// How long one has to end when it is asked to.
    pub stop_grace: Duration,
    /// How long one goes on without a word of its slave's process.
    pub alone_for: Duration,
    /// How many bytes of what one prints are kept until the master has them.
    pub max_log_bytes: u64,
    /// Where templates are found, on all slaves.
    pub templates_path: PathBuf,
    /// How many bytes unpacked templates may have; `None` for no bound.
    pub max_template_cache_bytes: Option<u64>,
}

impl InstanceSettings {
    pub(super) fn read(layers: &Layers<'_>) -> Result<Self, SettingsError> {
        type Count<const MOST: u64> = Number<u32, 0, MOST>;
        Ok(Self {
            max_instances: layers.get::<Count<10_000>>("max_instances")?.0,
            ports: layers.get::<Ports>("instance_ports")?.0,
            start_timeout: layers.get::<Seconds<1>>("instance_start_timeout")?.0,
            restarts: layers.get::<Count<1_000_000>>("instance_restarts")?.0,
            stop_grace: layers.get::<Seconds<0>>("instance_stop_grace")?.0,
            alone_for: layers.get::<Seconds<1>>("instance_alone_for")?.0,
            max_log_bytes: layers.get::<Limit>("instance_log_buffer_bytes")?.0,
            templates_path: layers.get::<Directory>("templates_path")?.0,
            max_template_cache_bytes: layers.get::<Bound>("max_template_cache_bytes")?.0,
        })
    }
}
