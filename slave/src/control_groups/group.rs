//! One control group.

use super::error::ControlGroupError;
use super::hierarchy::Version;
use clusterrunner_common::work::Cpus;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// In microseconds, for how long a share of the processors is counted.
const PERIOD: u64 = 100_000;

/// The least that the system takes of it.
const LEAST_QUOTA: u64 = 1_000;

/// The least and most shares of the processors that there may be.
pub(super) const LEAST_SHARES: u32 = 2;
pub(super) const MOST_SHARES: u32 = 262_144;

/// A group for one controller or, in the second version, for all.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) directory: PathBuf,
    pub(super) version: Version,
}

/// Limits. In each an error is why it can not be set, for the user.
impl Group {
    /// The most memory of all its processes together, in bytes.
    pub(crate) fn limit_memory(&self, bytes: u64) -> Result<(), ControlGroupError> {
        let bytes = bytes.to_string();
        // Kernels without accounts of swap have no file for it.
        match self.version {
            Version::One => {
                self.write("memory.limit_in_bytes", &bytes)?;
                self.write("memory.memsw.limit_in_bytes", &bytes).ok();
            }
            Version::Two => {
                self.write("memory.max", &bytes)?;
                self.write("memory.swap.max", "0").ok();
            }
        }
        Ok(())
    }

    /// Where memory runs out, all are ended together, if the system can do that.
    pub(crate) fn end_together(&self) {
        self.write("memory.oom.group", "1").ok();
    }

    /// The most processes and threads.
    pub(crate) fn limit_processes(&self, most: u32) -> Result<(), ControlGroupError> {
        self.write("pids.max", &most.to_string())
    }

    /// The most processors that they may keep busy.
    pub(crate) fn limit_processors(&self, cpus: Cpus) -> Result<(), ControlGroupError> {
        let quota = u64::from(cpus.hundredths()) * PERIOD / 100;
        let quota = quota.max(LEAST_QUOTA);
        match self.version {
            Version::One => {
                self.write("cpu.cfs_period_us", &PERIOD.to_string())?;
                self.write("cpu.cfs_quota_us", &quota.to_string())
            }
            Version::Two => self.write("cpu.max", &format!("{quota} {PERIOD}")),
        }
    }

    /// Their part of processors that others want, too; 1024 is usual.
    pub(crate) fn share_processors(&self, shares: u32) -> Result<(), ControlGroupError> {
        let shares = shares.clamp(LEAST_SHARES, MOST_SHARES);
        match self.version {
            Version::One => self.write("cpu.shares", &shares.to_string()),
            Version::Two => self.write("cpu.weight", &weight(shares).to_string()),
        }
    }

    /// How many of its processes the system has ended, as they needed more memory than they may have.
    pub(crate) fn num_ended_for_memory(&self) -> u64 {
        let file = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        self.number(file, "oom_kill ")
    }

    /// How often it could start no further process.
    pub(crate) fn num_refused_processes(&self) -> u64 {
        self.number("pids.events", "max ")
    }

    /// The number in the line that begins so.
    fn number(&self, file: &str, word: &str) -> u64 {
        let text = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        let mut lines = text.lines();
        let number = lines.find_map(|line| line.strip_prefix(word)?.trim().parse().ok());
        number.unwrap_or(0)
    }

    pub(super) fn write(&self, file: &str, text: &str) -> Result<(), ControlGroupError> {
        let file = self.directory.join(file);
        if !file.exists() {
            return Err(ControlGroupError::NoLimit(file));
        }
        fs::write(&file, text).map_err(|source| ControlGroupError::NotLimited {
            file,
            text: text.to_owned(),
            source,
        })
    }
}

/// What is in it.
impl Group {
    /// Processes, also in groups that a command has made below it.
    pub(super) fn members(&self) -> Vec<(i32, PathBuf)> {
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

    /// Removes it and those below it, the deepest first.
    pub(super) fn remove_with_below(&self) -> io::Result<()> {
        let mut groups = vec![self.directory.clone()];
        let mut found = 0;
        while let Some(group) = groups.get(found).cloned() {
            groups.extend(groups_in(&group));
            found += 1;
        }
        // What is gone already needs no removal, but for the first one, whose end is told.
        for below in groups.iter().skip(1).rev() {
            fs::remove_dir(below).ok();
        }
        fs::remove_dir(&self.directory)
    }
}

/// The groups that are right below one. Links there are none.
fn groups_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

/// Kills a process if it is in this group still: the handle pins it, and the look comes after that.
pub(super) fn kill(pid: i32, directory: &Path) {
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

/// The same share in the unit of the second version, from 1 to 10000: as container runtimes convert it.
fn weight(shares: u32) -> u32 {
    let above = u64::from(shares - LEAST_SHARES) * 9_999 / u64::from(MOST_SHARES - LEAST_SHARES);
    u32::try_from(1 + above).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(directory: PathBuf, version: Version) -> Group {
        Group { directory, version }
    }

    #[test]
    fn what_is_below_a_group_is_found_and_goes_with_it() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("group");
        fs::create_dir_all(directory.join("a/b")).unwrap();
        fs::create_dir_all(directory.join("c")).unwrap();
        let procs = directory.join("a/b/cgroup.procs");
        fs::write(&procs, "17\n").unwrap();
        let group = group(directory.clone(), Version::One);
        assert_eq!(group.members(), [(17, directory.clone())]);
        // Files of groups are no hindrance there.
        fs::remove_file(procs).unwrap();
        group.remove_with_below().unwrap();
        assert!(!directory.exists());
    }

    /// One limit: what sets it, and what each file has then.
    type Row<'a> = (
        &'a dyn Fn(&Group) -> Result<(), ControlGroupError>,
        &'a [(&'a str, &'a str)],
    );

    fn check(version: Version, rows: &[Row<'_>]) {
        for (set, files) in rows {
            let base = tempfile::tempdir().unwrap();
            let group = group(base.path().to_owned(), version);
            let first = files[0].0;
            let missing = set(&group).unwrap_err().to_string();
            assert!(missing.contains(first), "{missing}");
            for (file, _) in *files {
                fs::write(base.path().join(file), "").unwrap();
            }
            set(&group).unwrap();
            for (file, expected) in *files {
                let text = fs::read_to_string(base.path().join(file)).unwrap();
                assert_eq!(text, *expected, "{file}");
            }
        }
    }

    #[test]
    fn limits_are_written_as_each_version_wants_them() {
        let half: Cpus = "0.5".parse().unwrap();
        let memory = |group: &Group| group.limit_memory(4_096);
        let processes = |group: &Group| group.limit_processes(7);
        let processors = |group: &Group| group.limit_processors(half);
        let shares = |group: &Group| group.share_processors(1_024);
        check(
            Version::One,
            &[
                (
                    &memory,
                    &[
                        ("memory.limit_in_bytes", "4096"),
                        ("memory.memsw.limit_in_bytes", "4096"),
                    ],
                ),
                (&processes, &[("pids.max", "7")]),
                (
                    &processors,
                    &[
                        ("cpu.cfs_period_us", "100000"),
                        ("cpu.cfs_quota_us", "50000"),
                    ],
                ),
                (&shares, &[("cpu.shares", "1024")]),
            ],
        );
        check(
            Version::Two,
            &[
                (&memory, &[("memory.max", "4096"), ("memory.swap.max", "0")]),
                (&processes, &[("pids.max", "7")]),
                (&processors, &[("cpu.max", "50000 100000")]),
                (&shares, &[("cpu.weight", "39")]),
            ],
        );
    }

    #[test]
    fn what_the_system_did_is_counted() {
        let base = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(base.path().join(file), text).unwrap();
        let [first, second] =
            [Version::One, Version::Two].map(|version| group(base.path().to_owned(), version));
        assert_eq!(second.num_ended_for_memory(), 0, "nothing is there");
        write("memory.oom_control", "oom_kill_disable 0\noom_kill 2\n");
        write("memory.events", "low 0\noom 9\noom_kill 3\n");
        write("pids.events", "max 4\n");
        assert_eq!(first.num_ended_for_memory(), 2);
        assert_eq!(second.num_ended_for_memory(), 3);
        assert_eq!(first.num_refused_processes(), 4);
    }

    #[test]
    fn a_share_has_a_weight() {
        for (shares, expected) in [(2, 1), (512, 20), (1_024, 39), (262_144, 10_000)] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }
}
