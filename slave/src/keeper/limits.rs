//! How much of its machine an instance may have: all of its processes together where control groups can be made, each of
//! them where not.

use super::control_groups::{Controller, Group, Version};
use clusterrunner_common::api::instances::InstanceOrder;
use rustix::process::{Pid, Resource, Rlimit, prlimit, setpriority_process};
use std::io;
use std::path::PathBuf;

/// Moves itself into the group that the first argument names, and becomes the program after it.
const ENTER: &str = "echo 0 > \"$0\" && exec \"$@\"";

/// How readily the system ends the instance when memory runs out: before any daemon. From -1000 to 1000.
const OOM_SCORE: &str = "500";

/// The share of the processors that a group has if nothing is said, and the least and most that there may be.
const USUAL_SHARES: u32 = 1024;
const LEAST_SHARES: u32 = 2;
const MOST_SHARES: u32 = 262_144;

/// The most that a process can yield to others. Each step is a quarter more.
const MOST_NICE: i32 = 19;
const A_STEP: f64 = 1.25;

/// The limits of one instance.
#[derive(Debug, Default)]
pub(super) struct Limits {
    memory: Memory,
    cpu: Cpu,
}

#[derive(Debug, Default)]
enum Memory {
    #[default]
    Unlimited,
    /// For all together.
    Group {
        group: Group,
        most: u64,
        /// How many of its processes the system had ended for memory before.
        ended: u64,
    },
    /// For each.
    Each { most: u64 },
}

#[derive(Debug, Default)]
enum Cpu {
    #[default]
    Usual,
    /// For all together.
    Group(Group),
    /// For each: how much it yields to others.
    Nice(i32),
}

impl Limits {
    /// Sets the limits up for an instance with this mark.
    pub(super) fn set_up(instance: &InstanceOrder, mark: &str) -> Self {
        let shares = instance.cpu_shares.filter(|shares| *shares > 0);
        Self {
            memory: match instance.max_memory_bytes {
                Some(most) => limit_memory(most, mark),
                None => Memory::Unlimited,
            },
            cpu: match shares {
                Some(shares) => share_cpu(shares, mark),
                None => Cpu::Usual,
            },
        }
    }

    /// The same command, for processes that are under the limits from their first instruction.
    pub(super) fn around(
        &self,
        mut program: PathBuf,
        mut arguments: Vec<String>,
    ) -> (PathBuf, Vec<String>) {
        let memory = match &self.memory {
            Memory::Group { group, .. } => Some(group),
            Memory::Unlimited | Memory::Each { .. } => None,
        };
        let cpu = match &self.cpu {
            Cpu::Group(group) => Some(group),
            Cpu::Usual | Cpu::Nice(_) => None,
        };
        // The same one may be for both.
        let cpu = cpu.filter(|cpu| memory.is_none_or(|memory| memory.directory != cpu.directory));
        for group in [memory, cpu].into_iter().flatten() {
            let members = group.directory.join("cgroup.procs");
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
        if let Cpu::Nice(nice) = &self.cpu {
            setpriority_process(Some(pid), *nice).ok();
        }
    }

    /// Whether the system has ended a process for its memory since the last time, in words for the user.
    pub(super) fn exceeded(&mut self) -> Option<String> {
        let Memory::Group { group, most, ended } = &mut self.memory else {
            return None;
        };
        let now = num_ended(group);
        let before = std::mem::replace(ended, now);
        (now > before)
            .then(|| format!("it needs more memory than the {most} bytes that it may have"))
    }
}

fn limit_memory(most: u64, mark: &str) -> Memory {
    let made = Group::make(Controller::Memory, mark, |group| {
        let bytes = most.to_string();
        // Kernels without accounts of swap have no file for it.
        match group.version {
            Version::One => {
                group.write("memory.limit_in_bytes", &bytes)?;
                group.write("memory.memsw.limit_in_bytes", &bytes).ok();
            }
            Version::Two => {
                group.write("memory.max", &bytes)?;
                group.write("memory.swap.max", "0").ok();
            }
        }
        // All are ended together, where the system can.
        group.write("memory.oom.group", "1").ok();
        Ok(())
    });
    match made {
        Some(group) => Memory::Group {
            ended: num_ended(&group),
            group,
            most,
        },
        None => Memory::Each { most },
    }
}

fn num_ended(group: &Group) -> u64 {
    let files = ["memory.events", "memory.oom_control"];
    let texts = files.iter().filter_map(|file| group.read(file));
    let counts = texts.filter_map(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill "))?;
        line.trim().parse().ok()
    });
    counts.max().unwrap_or(0)
}

fn share_cpu(shares: u32, mark: &str) -> Cpu {
    let shares = shares.clamp(LEAST_SHARES, MOST_SHARES);
    let made = Group::make(Controller::Cpu, mark, |group| -> io::Result<()> {
        match group.version {
            Version::One => group.write("cpu.shares", &shares.to_string()),
            Version::Two => group.write("cpu.weight", &weight(shares).to_string()),
        }
    });
    match made {
        Some(group) => Cpu::Group(group),
        None => Cpu::Nice(nice(shares)),
    }
}

/// The same share in the other unit, from 1 to 10000: as container runtimes convert it.
fn weight(shares: u32) -> u32 {
    let above = u64::from(shares - LEAST_SHARES) * 9_999 / u64::from(MOST_SHARES - LEAST_SHARES);
    u32::try_from(1 + above).unwrap_or(1)
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
        for (shares, expected_weight, expected_nice) in [
            (2, 1, 19),
            (512, 20, 3),
            (1_024, 39, 0),
            (262_144, 10_000, 0),
        ] {
            assert_eq!(weight(shares), expected_weight, "{shares}");
            assert_eq!(nice(shares), expected_nice, "{shares}");
        }
    }
}
