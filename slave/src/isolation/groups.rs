//! The control groups of one command: made before it starts, entered by it before anything else, killed and removed at its end.

use super::hierarchy::{Controller, Version, parents};
use super::joining::hand_on;
use clusterrunner_common::work::{Cpus, Isolation, LimitHit};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// In microseconds, for how long a share of the processors is counted.
const PERIOD: u64 = 100_000;

/// How long what was killed may take to go, and between two looks.
const KILLING: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(1);

/// The groups of one command. It is killed, and they go, when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Vec<Group>,
    memory: Option<Watched<u64>>,
    pids: Option<Watched<NonZeroU32>>,
}

#[derive(Debug)]
struct Group {
    directory: PathBuf,
    version: Version,
}

/// A limit, and how often it was hit as far as that was told.
#[derive(Debug)]
struct Watched<T> {
    limit: T,
    file: PathBuf,
    /// Begins the line with the number.
    word: &'static str,
    told: u64,
}

impl<T> Watched<T> {
    /// Whether it was hit since the last time.
    fn was_hit(&mut self) -> bool {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let mut lines = text.lines();
        let number = lines.find_map(|line| line.strip_prefix(self.word)?.trim().parse().ok());
        let number = number.unwrap_or(self.told);
        std::mem::replace(&mut self.told, number) < number
    }
}

impl Groups {
    /// Makes groups of this name with the limits of an isolation, and where there are none one to find all processes in.
    /// `beside` is how many processes of ours are in them with the command.
    ///
    /// # Errors
    /// Why that is not possible here.
    pub(super) fn make(
        name: &str,
        isolation: &Isolation,
        beside: u32,
        needs_one: bool,
    ) -> Result<Self, String> {
        let mut made = Self::default();
        if let Some(limit) = isolation.memory_bytes {
            let group = made.group(Controller::Memory, name)?;
            limit_memory(group, limit)?;
            made.memory = Some(watched(
                limit,
                group,
                "memory.oom_control",
                "memory.events",
                "oom_kill ",
            ));
        }
        if isolation.pids.is_some() || needs_one {
            let group = made.group(Controller::Pids, name)?;
            if let Some(limit) = isolation.pids {
                let most = limit.get().saturating_add(beside);
                group.write("pids.max", &most.to_string())?;
                made.pids = Some(watched(limit, group, "pids.events", "pids.events", "max "));
            }
        }
        if let Some(cpus) = isolation.cpus {
            let group = made.group(Controller::Cpu, name)?;
            limit_cpu(group, cpus)?;
        }
        Ok(made)
    }

    /// The group with this controller.
    fn group(&mut self, controller: Controller, name: &str) -> Result<&Group, String> {
        let mut why = format!(
            "this machine has no control groups with the controller {}",
            controller.name()
        );
        for (parent, version) in parents(controller) {
            if version == Version::Two
                && let Err(reason) = hand_on(&parent, controller)
            {
                why = reason;
                continue;
            }
            let directory = parent.join(name);
            // In the second version one is for all.
            if let Some(known) = self
                .groups
                .iter()
                .position(|one| one.directory == directory)
            {
                return Ok(&self.groups[known]);
            }
            match fs::create_dir(&directory) {
                Ok(()) => {
                    self.groups.push(Group { directory, version });
                    let last = self.groups.len() - 1;
                    return Ok(&self.groups[last]);
                }
                Err(error) => {
                    why = format!(
                        "no control group can be made in {}: {error}",
                        parent.display()
                    );
                }
            }
        }
        Err(why)
    }

    /// What takes a process that writes there.
    pub(super) fn doors(&self) -> Vec<PathBuf> {
        let groups = self.groups.iter();
        groups
            .map(|group| group.directory.join("cgroup.procs"))
            .collect()
    }

    /// The limit that was hit since the last time, the worst first.
    pub(super) fn hit(&mut self) -> Option<LimitHit> {
        let memory = self.memory.as_mut();
        let memory = memory.and_then(|memory| memory.was_hit().then_some(memory.limit));
        let pids = self.pids.as_mut();
        let pids = pids.and_then(|pids| pids.was_hit().then_some(pids.limit));
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
        let began = Instant::now();
        while began.elapsed() < KILLING {
            let mut members = BTreeSet::new();
            for group in &self.groups {
                // The second version can do it at once, on kernels that are not too old.
                group.write("cgroup.kill", "1").ok();
                members.extend(group.members());
            }
            if members.is_empty() {
                return;
            }
            for group in &self.groups {
                // Who forks faster than it is killed does not fork any more.
                group.write("pids.max", "0").ok();
            }
            for (pid, directory) in members {
                kill(pid, &directory);
            }
            std::thread::sleep(LOOK);
        }
        tracing::warn!("some processes of a command could not be killed");
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        if self.groups.is_empty() {
            return;
        }
        self.kill();
        let began = Instant::now();
        for group in &self.groups {
            // What has ended is in its group until it was waited for.
            while let Err(error) = remove_with_below(&group.directory) {
                if error.kind() == io::ErrorKind::NotFound || began.elapsed() > KILLING {
                    break;
                }
                std::thread::sleep(LOOK);
            }
        }
    }
}

impl Group {
    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        let path = self.directory.join(file);
        if !path.exists() {
            return Err(format!("there is no {}", path.display()));
        }
        let written = fs::write(&path, text);
        written.map_err(|error| format!("could not write {text} to {}: {error}", path.display()))
    }

    /// What is in it, and in groups that the command has made below it.
    fn members(&self) -> Vec<(i32, PathBuf)> {
        let mut found: Vec<(i32, PathBuf)> = Vec::new();
        let mut groups = vec![self.directory.clone()];
        while let Some(directory) = groups.pop() {
            let members = fs::read_to_string(directory.join("cgroup.procs"));
            let members = members.unwrap_or_default();
            let members = members.lines().filter_map(|pid| pid.parse::<i32>().ok());
            found.extend(members.map(|pid| (pid, self.directory.clone())));
            groups.extend(groups_in(&directory));
        }
        found
    }
}

/// The groups that are right below one. Links there are none.
fn groups_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

/// Removes a group and those below it, the deepest first.
fn remove_with_below(directory: &Path) -> io::Result<()> {
    let mut groups = vec![directory.to_owned()];
    let mut found = 0;
    while let Some(group) = groups.get(found).cloned() {
        groups.extend(groups_in(&group));
        found += 1;
    }
    // What is gone already needs no removal, but for the first one, whose end is told.
    for below in groups.iter().skip(1).rev() {
        fs::remove_dir(below).ok();
    }
    fs::remove_dir(directory)
}

/// Kills a process if it is in this group still: the handle pins it, and the look comes after that.
fn kill(pid: i32, directory: &Path) {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let Some(handle) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
    else {
        return;
    };
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if groups.split(['/', '\n']).any(|part| part == name) {
        pidfd_send_signal(&handle, Signal::KILL).ok();
    }
}

fn watched<T>(
    limit: T,
    group: &Group,
    first: &str,
    second: &str,
    word: &'static str,
) -> Watched<T> {
    let file = match group.version {
        Version::One => first,
        Version::Two => second,
    };
    Watched {
        limit,
        file: group.directory.join(file),
        word,
        told: 0,
    }
}

fn limit_memory(group: &Group, limit: u64) -> Result<(), String> {
    let bytes = limit.to_string();
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
    Ok(())
}

fn limit_cpu(group: &Group, cpus: Cpus) -> Result<(), String> {
    let quota = u64::from(cpus.hundredths()) * PERIOD / 100;
    // The system takes no less.
    let quota = quota.max(1_000);
    match group.version {
        Version::One => {
            group.write("cpu.cfs_period_us", &PERIOD.to_string())?;
            group.write("cpu.cfs_quota_us", &quota.to_string())
        }
        Version::Two => group.write("cpu.max", &format!("{quota} {PERIOD}")),
    }
}

/// Kills and removes groups whose names begin so: an earlier life of the slave has left them.
pub(super) fn remove_left(prefix: &str) {
    let all = [Controller::Memory, Controller::Pids, Controller::Cpu];
    let all = all.into_iter().flat_map(parents);
    let mut left = Groups::default();
    for (parent, version) in all {
        for entry in fs::read_dir(&parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let directory = entry.path();
            let is_known = left.groups.iter().any(|one| one.directory == directory);
            if name.to_string_lossy().starts_with(prefix) && !is_known {
                left.groups.push(Group { directory, version });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_group_is_found_and_goes_with_it() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("group");
        fs::create_dir_all(directory.join("a/b")).unwrap();
        fs::create_dir_all(directory.join("c")).unwrap();
        let procs = directory.join("a/b/cgroup.procs");
        fs::write(&procs, "17\n").unwrap();
        let group = Group {
            directory: directory.clone(),
            version: Version::One,
        };
        assert_eq!(group.members(), [(17, directory.clone())]);
        // Files of groups are no hindrance there.
        fs::remove_file(procs).unwrap();
        remove_with_below(&directory).unwrap();
        assert!(!directory.exists());
    }
}
