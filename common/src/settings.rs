//! Settings of master, slave and client: command line above files above environment above defaults.
//!
//! Owns the settings file (the original's format), which keys there are, and the secret in it. The shipped
//! `conf/clusterrunner.conf` documents every key and, parsed as the lowest layer, is the defaults. No global:
//! each program loads its struct once and hands out what its parts need.

mod apps;
mod binder;
mod client;
mod containers;
mod environment;
mod error;
mod file;
mod general;
mod home;
mod image_policy;
mod instances;
mod isolation;
mod isolation_values;
mod keys;
mod layers;
mod lines;
mod location;
mod master;
mod notify;
mod origins;
mod overrides;
mod pool;
mod runtimes;
mod second_file;
mod secret_file;
mod section;
mod service;
mod serving;
mod slave;
#[cfg(test)]
mod tests;
mod values;

pub use apps::AppSettings;
pub use binder::BinderSettings;
pub use client::{ClientSettings, load_client};
pub use containers::ContainerSettings;
pub use environment::{TOKEN_VARIABLE, UnknownVariable, unknown_variables_here};
pub use error::{Origin, SettingsError};
pub use general::GeneralSettings;
pub use image_policy::ImagePolicy;
pub use instances::InstanceSettings;
pub use isolation::IsolationSettings;
pub use location::default_config_file;
pub use master::{MasterSettings, OnFinish, load_master};
pub use notify::{CommitStatuses, Forge, NotifyReceiver, NotifyTarget, WRITTEN_KEY, Webhook};
pub use origins::{Reader, SettingOrigin, SettingValue, SettingWithOrigin, settings_with_origins};
pub use overrides::Overrides;
pub use pool::{
    CommandPool, KubernetesAccess, KubernetesPool, PoolProvider, PoolSettings, SlurmPool,
    Toleration,
};
pub use runtimes::{RUNTIMES, RuntimeChoice};
pub use second_file::second_file;
use secret_file::ensure_secret;
pub use service::ServiceSettings;
pub use slave::{SlaveSettings, load_slave};
pub use values::{Registration, SshPort};

/// The shipped settings file: every key with its meaning, and the defaults.
pub(crate) const SHIPPED_SETTINGS: &str = include_str!("../../conf/clusterrunner.conf");
