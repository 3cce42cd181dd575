//! The control groups of one command, with its limits: made before it starts, entered by it before anything else, killed and
//! removed at its end.

use crate::control_groups::{ControlGroupError, Controller, Groups, WatchedLimits};
use clusterrunner_common::work::{Isolation, LimitHit};
use std::path::PathBuf;

/// The groups of one command. It is killed, and they go, when this is dropped.
#[derive(Debug)]
pub(super) struct LimitedGroups {
    groups: Groups,
    watched: WatchedLimits,
}

impl LimitedGroups {
    /// Makes groups of this name with the limits of an isolation, and where there are none one to find all processes in.
    /// `beside` is how many processes of ours are in them with the command.
    ///
    /// # Errors
    /// Why that is not possible here.
    pub(super) fn make(
        name: String,
        isolation: &Isolation,
        beside: u32,
        needs_one: bool,
    ) -> Result<Self, ControlGroupError> {
        let mut groups = Groups::named(name);
        if let Some(bytes) = isolation.memory_bytes {
            groups.with(Controller::Memory)?.limit_memory(bytes)?;
        }
        if isolation.pids.is_some() || needs_one {
            let group = groups.with(Controller::Pids)?;
            if let Some(limit) = isolation.pids {
                group.limit_processes(limit.get().saturating_add(beside))?;
            }
        }
        if let Some(cpus) = isolation.cpus {
            groups.with(Controller::Cpu)?.limit_processors(cpus)?;
        }
        Ok(Self {
            groups,
            watched: WatchedLimits::of(isolation),
        })
    }

    /// What takes a process that writes `0` there.
    pub(super) fn doors(&self) -> Vec<PathBuf> {
        self.groups.doors()
    }

    /// The limit that was hit since the last time, the worst first.
    pub(super) fn hit(&mut self) -> Option<LimitHit> {
        let Self { groups, watched } = self;
        watched.hit(|controller| {
            let group = groups.with(controller).ok();
            group.map_or(0, |group| group.num_hit(controller))
        })
    }

    /// Whether there are none: nothing is found by them then.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Kills all that is in them. Blocks.
    pub(super) fn kill(&self) {
        self.groups.kill();
    }
}
