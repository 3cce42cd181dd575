//! How much of its machine an instance may have: all of its processes together where control groups can be made, each of
//! them where not.

use crate::control_groups::{Controller, Groups, remove_left};
use clusterrunner_common::api::instances::InstanceOrder;
use rustix::process::{Pid, Resource, Rlimit, prlimit, setpriority_process};
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;

/// Moves itself into the group that the first argument names, and becomes the program after it.
const ENTER: &str = "echo 0 > \"$0\" && exec \"$@\"";

/// How readily the system ends the instance when memory runs out: before any daemon. From -1000 to 1000.
const OOM_SCORE: &str = "500";

/// The share of the processors that a group has if nothing is said.
const USUAL_SHARES: u32 = 1024;

/// The most that a process can yield to others. Each step is a quarter more.
const MOST_NICE: i32 = 19;
const A_STEP: f64 = 1.25;

/// The limits of one instance. What is left of it is killed when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// For all of its processes together, where that is possible.
    groups: Option<Groups>,
    memory: Memory,
    /// How much each process yields to others, where their groups do not say it.
    nice: Option<i32>,
}

#[derive(Debug, Default)]
enum Memory {
    #[default]
    Unlimited,
    /// For all together.
    Together {
        most: u64,
        /// How many of its processes the system had ended for memory before.
        ended: u64,
    },
    /// For each.
    Each { most: u64 },
}

impl Limits {
    /// Sets the limits up for an instance with this mark.
    pub(super) fn set_up(instance: &InstanceOrder, mark: &str) -> Self {
        let name = name(mark);
        // Of a keeper that was killed.
        remove_left(&name);
        let mut groups = Groups::named(name);
        let memory = instance.max_memory_bytes;
        let memory = memory.map_or(Memory::Unlimited, |most| limit_memory(most, &mut groups));
        let shares = instance.cpu_shares.filter(|shares| *shares > 0);
        let nice = shares.and_then(|shares| {
            let group = groups.with(Controller::Cpu);
            let shared = group.and_then(|group| group.share_processors(shares));
            shared.is_err().then(|| nice(shares))
        });
        Self {
            groups: Some(groups),
            memory,
            nice,
        }
    }

    /// The same command, for processes that are under the limits from their first instruction.
    pub(super) fn around(
        &self,
        mut program: PathBuf,
        mut arguments: Vec<String>,
    ) -> (PathBuf, Vec<String>) {
        for members in self.groups.iter().flat_map(Groups::doors) {
            let mut wrapped = vec![
                "sh".to_owned(),
                "-c".to_owned(),
                ENTER.to_owned(),
                members.to_string_lossy().into_owned(),
                program.to_string_lossy().into_owned(),
            ];
            wrapped.extend(arguments.into_iter().skip(1));
            (program, arguments) = ("/bin/sh".into(), wrapped);
        }
        (program, arguments)
    }

    /// To be called right after a process was started.
    pub(super) fn apply(&self, pid: Pid) {
        let id = pid.as_raw_nonzero();
        // Without it the system chooses for itself.
        std::fs::write(format!("/proc/{id}/oom_score_adj"), OOM_SCORE).ok();
        // In both it may have ended already.
        if let Memory::Each { most } = &self.memory {
            let limit = Rlimit {
                current: Some(*most),
                maximum: Some(*most),
            };
            prlimit(Some(pid), Resource::Data, limit).ok();
        }
        if let Some(nice) = self.nice {
            setpriority_process(Some(pid), nice).ok();
        }
    }

    /// Whether the system has ended a process for its memory since the last time, in words for the user.
    pub(super) fn exceeded(&mut self) -> Option<String> {
        let Memory::Together { most, ended } = &mut self.memory else {
            return None;
        };
        let group = self.groups.as_mut()?.with(Controller::Memory).ok()?;
        let now = group.num_ended_for_memory();
        let before = std::mem::replace(ended, now);
        (now > before)
            .then(|| format!("it needs more memory than the {most} bytes that it may have"))
    }
}

fn limit_memory(most: u64, groups: &mut Groups) -> Memory {
    let limited = groups.with(Controller::Memory).and_then(|group| {
        group.limit_memory(most)?;
        group.end_together();
        Ok(group.num_ended_for_memory())
    });
    match limited {
        Ok(ended) => Memory::Together { most, ended },
        Err(_) => Memory::Each { most },
    }
}

/// Ends and removes what a keeper that was killed has left in groups. Blocks.
pub(crate) fn remove_left_groups(mark: &str) {
    remove_left(&name(mark));
}

/// A name that the groups of no other instance on this machine have.
fn name(mark: &str) -> String {
    let digest = hex::encode(Sha256::digest(mark.as_bytes()));
    format!("clusterrunner-{}", digest.get(..16).unwrap_or_default())
}

/// How much a process has to yield for about this share. Nobody may yield less than usual.
fn nice(shares: u32) -> i32 {
    let mut left = f64::from(USUAL_SHARES) / f64::from(shares);
    let mut nice = 0;
    while left >= A_STEP && nice < MOST_NICE {
        left /= A_STEP;
        nice += 1;
    }
    nice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_share_yields_more() {
        for (shares, expected) in [(2, 19), (512, 3), (1_024, 0), (262_144, 0)] {
            assert_eq!(nice(shares), expected, "{shares}");
        }
    }
}
