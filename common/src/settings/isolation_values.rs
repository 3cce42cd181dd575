//! The texts of settings that say how far commands are kept apart, and what they may use.

use super::error::SettingsError;
use super::values::{Found, Value};
use crate::job::isolation::{CPUS_FORM, Cpus, IsolationLevel};
use crate::process::variables::AllowedVariables;
use crate::text::byte_size::{BYTE_SIZE_FORM, byte_size};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

impl Value for IsolationLevel {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        found.parse("none, limits, user or container")
    }
}

/// Bytes, with a unit perhaps; 0 for no limit.
pub(super) struct Size(pub(super) Option<u64>);

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
pub(super) struct Processes(pub(super) Option<NonZeroU32>);

impl Value for Processes {
    fn read(found: &Found) -> Result<Self, SettingsError> {
        let number: u32 = found.parse("a whole number of processes, or 0 for no limit")?;
        Ok(Self(NonZeroU32::new(number)))
    }
}

/// A number of processors; 0 for no limit.
pub(super) struct Processors(pub(super) Option<Cpus>);

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
pub(super) struct Names(pub(super) Vec<String>);

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
pub(super) struct Paths(pub(super) Vec<PathBuf>);

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
