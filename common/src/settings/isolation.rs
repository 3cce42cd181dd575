//! How far a slave keeps the commands of builds apart from its machine.

use super::error::SettingsError;
use super::layers::Layers;
use super::values::{Found, Value};
use crate::job::isolation::{CPUS_FORM, Cpus, Isolation, IsolationLevel};
use crate::process::variables::AllowedVariables;
use crate::text::byte_size::{BYTE_SIZE_FORM, byte_size};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

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
            shown: shown.map_or_else(Vec::new, |Paths(paths)| paths),
        })
    }
}

impl Value for IsolationLevel {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        found.parse("none, limits, user or container")
    }
}

/// Bytes, with a unit perhaps; 0 for no limit.
pub(super) struct Size(Option<u64>);

impl Value for Size {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let text: String = found.parse(BYTE_SIZE_FORM)?;
        match byte_size(&text) {
            Some(0) => Ok(Self(None)),
            Some(size) if size >= LEAST_MEMORY => Ok(Self(Some(size))),
            _ => Err(found.wrong(format!(
                "expected {BYTE_SIZE_FORM}, 4 MiB or more, or 0 for no limit, found \"{text}\""
            ))),
        }
    }
}

/// With less no shell starts.
const LEAST_MEMORY: u64 = 4 << 20;

/// A number of processes; 0 for no limit.
pub(super) struct Processes(Option<NonZeroU32>);

impl Value for Processes {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let number: u32 = found.parse("a whole number of processes, or 0 for no limit")?;
        Ok(Self(NonZeroU32::new(number)))
    }
}

/// A number of processors; 0 for no limit.
pub(super) struct Processors(Option<Cpus>);

impl Value for Processors {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let text: String = found.parse(CPUS_FORM)?;
        if text == "0" {
            return Ok(Self(None));
        }
        let cpus = text.parse();
        let cpus = cpus.map_err(|()| {
            found.wrong(format!(
                "expected {CPUS_FORM}, or 0 for no limit, found \"{text}\""
            ))
        });
        cpus.map(|cpus| Self(Some(cpus)))
    }
}

/// Names of variables, each with a star at its end perhaps.
pub(super) struct Names(Vec<String>);

impl Value for Names {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let names = Vec::<String>::read(found)?;
        match names.iter().find(|name| !AllowedVariables::is_form(name)) {
            Some(wrong) => Err(found.wrong(format!(
                "expected names of variables such as JAVA_HOME, or their beginnings such as CI_*, found \"{wrong}\""
            ))),
            None => Ok(Self(names)),
        }
    }
}

/// Absolute paths.
pub(super) struct Paths(Vec<PathBuf>);

impl Value for Paths {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let paths = Vec::<String>::read(found)?;
        match paths.iter().find(|path| !Path::new(path).is_absolute()) {
            Some(wrong) => Err(found.wrong(format!(
                "expected absolute paths such as /home/ci/.cargo, found \"{wrong}\""
            ))),
            None => Ok(Self(paths.into_iter().map(PathBuf::from).collect())),
        }
    }
}
