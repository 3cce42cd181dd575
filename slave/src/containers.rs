//! The container runtime of this machine: podman or docker, as the settings say. It builds images, saves and loads
//! them, and runs containers. All calls block.
//!
//! What a container is to be told and others may not see never stands on a command line. All that is made here carries
//! a label with the data directory of the slave, by which a slave that starts again finds what an earlier life left.

mod builds;
mod client;
mod environment;
mod error;
mod images;
mod limits;
mod running;
mod trial;

pub(crate) use builds::{BuildContainer, BuildContainers, ContainerPlace};
pub(crate) use error::ContainerError;
pub(crate) use images::ImageBuild;
pub(crate) use running::{ContainerRun, Mount, Published, Role};
pub(crate) use trial::Availability;

use clusterrunner_common::settings::{ContainerSettings, RUNTIMES, RuntimeChoice};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Carries [`ContainerRuntime::to_text`] to processes that the slave starts.
pub(crate) const RUNTIME_VARIABLE: &str = "CLUSTERRUNNER_CONTAINERS";

/// The label that says whose something is.
const OWNER: &str = "clusterrunner.slave";

/// A program that runs containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerRuntime {
    kind: Kind,
    program: PathBuf,
    settings: ContainerSettings,
    /// The data directory of the slave.
    owner: String,
}

/// What differs between the runtimes is few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Podman,
    Docker,
}

impl ContainerRuntime {
    /// Those that are installed of the ones that the settings allow, the preferred one first. Nothing says yet that a
    /// container runs. `owner` is the data directory of the slave.
    ///
    /// # Errors
    /// When the settings name one that is not there.
    pub(crate) fn installed(
        settings: &ContainerSettings,
        owner: &Path,
    ) -> Result<Vec<Self>, ContainerError> {
        let runtime = |name: &str| {
            let program = program(name)?;
            let kind = match program.file_name().and_then(OsStr::to_str) {
                Some("docker") => Kind::Docker,
                _ => Kind::Podman,
            };
            Some(Self {
                kind,
                program,
                settings: settings.clone(),
                owner: owner.display().to_string(),
            })
        };
        match &settings.runtime {
            RuntimeChoice::None => Ok(Vec::new()),
            RuntimeChoice::Auto => Ok(RUNTIMES.into_iter().filter_map(runtime).collect()),
            RuntimeChoice::Named(name) => match runtime(name) {
                Some(runtime) => Ok(vec![runtime]),
                None => Err(ContainerError::NoRuntime { name: name.clone() }),
            },
        }
    }

    /// All that another process needs to use it, see [`Self::from_text`].
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The runtime that [`Self::to_text`] told of.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// What users call it.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Podman => "podman",
            Kind::Docker => "docker",
        }
    }

    /// Whether containers have the network of this machine, so that no two programs can have the same port.
    pub(crate) fn shares_network(&self) -> bool {
        self.settings.network.as_deref() == Some("host")
    }

    /// The runtime with a subcommand and no more. It sees nothing of our own settings.
    fn command(&self, subcommand: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.settings.flags).args(subcommand);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CLUSTERRUNNER_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Marks what is made as this slave's.
    fn label(&self, command: &mut Command) {
        command.arg("--label").arg(self.owner_label());
    }

    fn owner_label(&self) -> String {
        format!("{OWNER}={}", self.owner)
    }
}

/// The program of this name on PATH, or of this path.
fn program(name: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        let metadata = std::fs::metadata(path);
        metadata
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(is_program);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(is_program)
}

#[cfg(test)]
pub(crate) mod tests;
