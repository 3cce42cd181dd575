//! Whether what runs in a container has hit its limits: the runtime sets them, and tells of nobody who does.

use super::client::{self, SHORT};
use super::{ContainerError, ContainerRuntime};
use crate::control_groups::{WatchedLimits, group_of_process};
use clusterrunner_common::work::{Isolation, LimitHit};

/// The limits of a container, as far as they are seen from here.
#[derive(Debug)]
pub(super) struct ContainerLimits {
    watched: WatchedLimits,
    /// Its first process.
    pid: u32,
}

impl ContainerLimits {
    /// Those of a container that runs; none where it has none. Blocks.
    pub(super) fn of(
        runtime: &ContainerRuntime,
        name: &str,
        isolation: &Isolation,
    ) -> Option<Self> {
        let watched = WatchedLimits::of(isolation);
        if watched.is_empty() {
            return None;
        }
        match runtime.first_process(name) {
            Ok(pid) => Some(Self { watched, pid }),
            Err(error) => {
                tracing::warn!(container = name, %error, "it will not be told if a command hits a limit");
                None
            }
        }
    }

    /// The limit that was hit since the last time.
    pub(super) fn hit(&mut self) -> Option<LimitHit> {
        let pid = self.pid;
        self.watched.hit(|controller| {
            let group = group_of_process(pid, controller);
            group.map_or(0, |group| group.num_hit(controller))
        })
    }
}

impl ContainerRuntime {
    /// The number that a container's first process has outside of it.
    fn first_process(&self, name: &str) -> Result<u32, ContainerError> {
        let mut command = self.command(&["inspect", "--format", "{{.State.Pid}}", name]);
        let printed = client::output(&mut command, SHORT)?;
        let pid = printed.trim().parse().ok().filter(|pid| *pid > 1);
        pid.ok_or(ContainerError::EndedAtOnce)
    }
}
