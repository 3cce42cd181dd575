//! How far a slave keeps the commands of builds apart from its machine.

use super::error::SettingsError;
use super::isolation_values::{Names, Paths, Processes, Processors, Size};
use super::layers::Layers;
use crate::job::isolation::{Isolation, IsolationLevel};
use crate::process::variables::AllowedVariables;
use std::path::PathBuf;

/// What a slave demands of all builds, and what it shows them of itself.
#[derive(Clone, Debug, Default)]
pub struct IsolationSettings {
    /// What holds where a job asks for nothing tighter.
    pub demanded: Isolation,
    /// The name of the user that commands run as at the level `user`; `None` for the slave's own.
    pub run_as: Option<String>,
    /// Which variables of the slave's environment commands have above the level `none`.
    pub allowed: AllowedVariables,
    /// Files and directories in hidden places that commands may read.
    pub shown: Vec<PathBuf>,
    /// Whether commands at the level `user` may make namespaces and mounts of their own.
    pub nested_sandboxes: bool,
}

impl IsolationSettings {
    pub(super) fn read(layers: &Layers<'_>) -> Result<Self, SettingsError> {
        let Names(names) = layers
            .get_if_set("environment_allow")?
            .unwrap_or(Names(Vec::new()));
        let shown: Option<Paths> = layers.get_if_set("isolation_shows")?;
        let network = layers.get("isolation_network")?;
        let level: IsolationLevel = layers.get("isolation")?;
        Ok(Self {
            demanded: Isolation {
                // A network can be taken away only from there on.
                level: match network {
                    true => level,
                    false => level.max(IsolationLevel::User),
                },
                memory_bytes: layers.get::<Size>("atom_memory")?.0,
                pids: layers.get::<Processes>("atom_pids")?.0,
                cpus: layers.get::<Processors>("atom_cpus")?.0,
                network,
            },
            run_as: layers.get_if_set("run_as")?,
            allowed: AllowedVariables::with(names),
            nested_sandboxes: layers.get("nested_sandboxes")?,
            shown: shown.map_or_else(Vec::new, |Paths(paths)| paths),
        })
    }
}
