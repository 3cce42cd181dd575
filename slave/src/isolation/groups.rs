//! The control groups of one command, with its limits: made before it starts, entered by it before anything else, killed and
//! removed at its end.

use crate::control_groups::{ControlGroupError, Controller, Groups};
use clusterrunner_common::work::{Isolation, LimitHit};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// The groups of one command. It is killed, and they go, when this is dropped.
#[derive(Debug)]
pub(super) struct LimitedGroups {
    groups: Groups,
    memory: Option<Watched<u64>>,
    pids: Option<Watched<NonZeroU32>>,
}

/// A limit, and how often it was hit as far as that was told.
#[derive(Clone, Copy, Debug)]
struct Watched<T> {
    limit: T,
    told: u64,
}

impl<T: Copy> Watched<T> {
    fn new(limit: T) -> Self {
        Self { limit, told: 0 }
    }

    /// The limit if it was hit since the last time.
    fn was_hit(&mut self, number: u64) -> Option<T> {
        let is_new = self.told < number;
        self.told = self.told.max(number);
        is_new.then_some(self.limit)
    }
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
            memory: isolation.memory_bytes.map(Watched::new),
            pids: isolation.pids.map(Watched::new),
        })
    }

    /// What takes a process that writes `0` there.
    pub(super) fn doors(&self) -> Vec<PathBuf> {
        self.groups.doors()
    }

    /// The limit that was hit since the last time, the worst first.
    pub(super) fn hit(&mut self) -> Option<LimitHit> {
        let (memory, pids) = (self.memory.as_mut(), self.pids.as_mut());
        let memory = memory.and_then(|memory| {
            let group = self.groups.with(Controller::Memory).ok()?;
            memory.was_hit(group.num_ended_for_memory())
        });
        let pids = pids.and_then(|pids| {
            let group = self.groups.with(Controller::Pids).ok()?;
            pids.was_hit(group.num_refused_processes())
        });
        match (memory, pids) {
            (Some(limit_bytes), _) => Some(LimitHit::Memory { limit_bytes }),
            (None, Some(limit)) => Some(LimitHit::Processes { limit: limit.get() }),
            (None, None) => None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_once_each_time_it_is_hit() {
        let mut watched = Watched::new(7);
        let told = [0, 2, 2, 3, 0, 3].map(|number| watched.was_hit(number));
        assert_eq!(told, [None, Some(7), None, Some(7), None, None]);
    }
}
