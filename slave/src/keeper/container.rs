//! An instance that is a container: the runtime runs it in the foreground, as a process below the keeper.

use super::CanNotStart;
use super::protocol::{ContainerRun, KeeperOrder};
use super::reaper::Reaper;
use super::start::{self, variables};
use crate::containers::{self, Published, Role};
use sha2::{Digest as _, Sha256};
use std::process::Command;

/// A shell that images with any shell have.
const SHELL: &str = "/bin/sh";

/// Has bash read a text, and the shell itself where there is no bash.
const WITH_BASH: &str =
    "if [ -x /bin/bash ]; then exec /bin/bash -c \"$0\"; else exec /bin/sh -c \"$0\"; fi";

/// The name of the container of the instance with this mark. No other on the machine has it.
pub(crate) fn container_name(mark: &str) -> String {
    let digest = hex::encode(Sha256::digest(mark.as_bytes()));
    let digits = digest.get(..24).unwrap_or_default();
    format!("clusterrunner-instance-{digits}")
}

impl ContainerRun {
    /// The command that runs the container of an instance that is reached at this port.
    pub(super) fn command(
        &self,
        order: &KeeperOrder,
        port: Option<u16>,
    ) -> Result<Command, CanNotStart> {
        let instance = &order.instance;
        let name = container_name(&order.mark);
        let exposed = match instance.description() {
            Some(description) => description.port,
            None => self.exposed,
        };
        let in_shell = start::for_bash(&instance.command).map(|text| {
            let words = ["-c", WITH_BASH, text];
            words.map(str::to_owned)
        });
        let run = containers::ContainerRun {
            name: &name,
            role: Role::Instance,
            image: &self.image,
            entry: in_shell.is_some().then_some(SHELL),
            command: match &in_shell {
                Some(words) => words,
                None => &instance.command,
            },
            port: port.map(|port| Published { port, exposed }),
            max_memory_bytes: instance.max_memory_bytes,
            cpu_shares: instance.cpu_shares.filter(|shares| *shares > 0),
            mounts: &[],
            mark: &order.mark,
            has_network: true,
        };
        let variables = variables(instance, port);
        let variables = variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let command = self.runtime.run_command(&run, variables);
        command.map_err(|error| CanNotStart(error.to_string()))
    }

    /// Removes the container, if it is there. Says why it could not be.
    pub(super) async fn remove(&self, order: &KeeperOrder, reaper: &Reaper) -> Result<(), String> {
        let (runtime, name) = (self.runtime.clone(), container_name(&order.mark));
        let removed = reaper.aside(move || runtime.remove(&name)).await;
        match removed {
            Ok(removed) => removed.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}
