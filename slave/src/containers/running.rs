//! Containers: run in the foreground, found again, removed.

use super::client::{self, SHORT};
use super::{ContainerError, ContainerRuntime, Kind, environment};
use clusterrunner_common::process::command::MARK_VARIABLE;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The least share of the processors that runtimes take.
const LEAST_SHARES: u32 = 2;

/// How often the removal of a container is tried, and the pause between two tries.
const REMOVALS: u32 = 5;
const BETWEEN_REMOVALS: Duration = Duration::from_millis(200);

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs commands of a build, no longer than its slave's process lives.
    Build,
    /// Is an instance, which may outlive the slave's process.
    Instance,
    /// Shows that containers run.
    Trial,
}

/// A container that is to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContainerRun<'a> {
    /// Its name, by which it is removed. No other container of the machine may have it.
    pub(crate) name: &'a str,
    /// What it is for.
    pub(crate) role: Role,
    /// Its image.
    pub(crate) image: &'a str,
    /// What takes the place of the image's own entry point.
    pub(crate) entry: Option<&'a str>,
    /// What runs in it; empty for what the image says.
    pub(crate) command: &'a [String],
    /// Where its program listens.
    pub(crate) port: Option<Published>,
    /// The most memory that it may have, in bytes.
    pub(crate) max_memory_bytes: Option<u64>,
    /// Its share of busy processors, where 1024 is the usual one.
    pub(crate) cpu_shares: Option<u32>,
    /// Directories of the machine that are in it too.
    pub(crate) mounts: &'a [Mount<'a>],
    /// Marks its processes, see [`MARK_VARIABLE`].
    pub(crate) mark: &'a str,
    /// Whether it has the network that the settings say.
    pub(crate) has_network: bool,
}

/// The port of a program in a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// A free port of the machine, at which it is to be reached.
    pub(crate) port: u16,
    /// The port that the image expects it to listen on.
    pub(crate) exposed: Option<u16>,
}

/// A directory that is in a container at the same path as on the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mount<'a> {
    pub(crate) path: &'a Path,
    pub(crate) is_read_only: bool,
}

impl ContainerRuntime {
    /// The command that runs a container in the foreground: it ends when the container does, with its exit code, and the
    /// container is then removed. TERM reaches the container's first process; a kill of the command does not end the
    /// container, see [`Self::remove`].
    ///
    /// A program that is to listen finds where in `PORT`: its image's own port, unless containers share the
    /// network of the machine.
    ///
    /// # Errors
    /// When a variable can not be given.
    pub(crate) fn run_command<'a>(
        &self,
        run: &ContainerRun<'_>,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Command, ContainerError> {
        let mut command = self.prepared(run);
        let port = run.port.map(|port| self.inner_port(port).to_string());
        let port = port.as_deref().map(|port| ("PORT", port));
        let others = variables.into_iter();
        let mut given: Vec<(&str, &str)> = others
            .filter(|(name, _)| port.is_none() || *name != "PORT")
            .collect();
        given.extend(port);
        environment::give(&mut command, given)?;
        command.arg(run.image).args(run.command);
        Ok(command)
    }

    /// The port on which a program in a container is to listen.
    pub(crate) fn inner_port(&self, port: Published) -> u16 {
        match port.exposed {
            Some(exposed) if !self.shares_network() => exposed,
            Some(_) | None => port.port,
        }
    }

    /// All but the variables, the image and what runs in it.
    pub(super) fn prepared(&self, run: &ContainerRun<'_>) -> Command {
        let mut command = self.command(&["run", "--rm", "--log-driver=none", "--name", run.name]);
        self.label(&mut command);
        command.args(["--label", run.role.label()]);
        command
            .arg("--env")
            .arg(format!("{MARK_VARIABLE}={}", run.mark));
        if let Some(network) = &self.settings.network
            && run.has_network
        {
            command.arg(format!("--network={network}"));
        }
        if let Some(port) = run.port
            && !self.shares_network()
        {
            let inner = self.inner_port(port);
            command.arg(format!("--publish={}:{inner}", port.port));
        }
        if let Some(bytes) = run.max_memory_bytes {
            command.arg(format!("--memory={bytes}b"));
        }
        if let Some(shares) = run.cpu_shares {
            command.arg(format!("--cpu-shares={}", shares.max(LEAST_SHARES)));
        }
        if let Some(entry) = run.entry {
            command.arg(format!("--entrypoint={entry}"));
        }
        for mount in run.mounts {
            let path = mount.path.display();
            let read_only = if mount.is_read_only { ":ro" } else { "" };
            command.arg(format!("--volume={path}:{path}{read_only}"));
        }
        command.args(&self.settings.run_flags);
        command
    }

    /// Kills and removes a container. One that is not there is as good. Blocks.
    pub(crate) fn remove(&self, name: &str) -> Result<(), ContainerError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_to_remove(name) {
                // It ended by itself just when it was to be killed: the runtime fails then, and leaves it as it is.
                Err(ContainerError::Failed { .. }) if tries < REMOVALS => {
                    std::thread::sleep(BETWEEN_REMOVALS);
                }
                removed => return removed,
            }
        }
    }

    fn try_to_remove(&self, name: &str) -> Result<(), ContainerError> {
        let mut command = match self.kind {
            Kind::Podman => self.command(&["rm", "--force", "--ignore", "--volumes", "--time=0"]),
            Kind::Docker => self.command(&["rm", "--force", "--volumes"]),
        };
        match client::output(command.arg(name), SHORT) {
            Err(ContainerError::Failed { output, .. }) if is_gone(&output) => Ok(()),
            removed => removed.map(drop),
        }
    }

    /// The names of the containers of this slave, of any of its lives, that are for this.
    pub(crate) fn containers(&self, role: Role) -> Result<Vec<String>, ContainerError> {
        let of_slave = format!("label={}", self.owner_label());
        let of_role = format!("label={}", role.label());
        let mut command = self.command(&["ps", "--all", "--format", "{{.Names}}"]);
        command.args(["--filter", &of_slave, "--filter", &of_role]);
        let printed = client::output(&mut command, SHORT)?;
        Ok(printed.lines().map(str::to_owned).collect())
    }

    /// Removes all containers of this slave that are for this.
    pub(crate) fn remove_all(&self, role: Role) -> Result<(), ContainerError> {
        for name in self.containers(role)? {
            self.remove(&name)?;
        }
        Ok(())
    }
}

impl Role {
    fn label(self) -> &'static str {
        match self {
            Self::Build => "clusterrunner.role=build",
            Self::Instance => "clusterrunner.role=instance",
            Self::Trial => "clusterrunner.role=trial",
        }
    }
}

/// Whether a runtime says that there is no such container.
fn is_gone(output: &str) -> bool {
    let output = output.to_ascii_lowercase();
    output.contains("no such container") || output.contains("is already in progress")
}
