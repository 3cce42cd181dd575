//! Where control groups are on this machine, in either of their two versions.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are on all systems that have them.
const GROUPS: &str = "/sys/fs/cgroup";

/// The group in which a slave is that made room for groups beside itself, see [`super::joining`].
pub(super) const OWN_GROUP: &str = "clusterrunner-slave";

/// What a group shares out or limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    /// Each of them, in the order in which a group that has made room hands them on.
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

/// How the files of a group are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Each controller has groups of its own.
    One,
    /// A group is for all controllers.
    Two,
}

/// The group with this controller that a process is in, where it is seen from here and not the outermost one.
pub(super) fn group_of(pid: u32, controller: Controller) -> Option<(PathBuf, Version)> {
    let of_process = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let root = Path::new(GROUPS);
    let has_second = root.join("cgroup.controllers").exists();
    let found = parents_in(&of_process, root, has_second, controller);
    let is_inner = |directory: &Path| {
        let below = directory.strip_prefix(root).unwrap_or(root);
        below != Path::new("") && below != Path::new(controller.name())
    };
    let mut found = found.into_iter();
    found.find(|(directory, _)| is_inner(directory))
}

/// The groups of this process in which one with this controller can be made perhaps, the better one first.
pub(super) fn parents(controller: Controller) -> Vec<(PathBuf, Version)> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let root = Path::new(GROUPS);
    let has_second = root.join("cgroup.controllers").exists();
    parents_in(&own, root, has_second, controller)
}

fn parents_in(
    own: &str,
    root: &Path,
    has_second: bool,
    controller: Controller,
) -> Vec<(PathBuf, Version)> {
    let below = |root: &Path, path: &str| {
        let inner = root.join(path.trim_start_matches('/'));
        match inner.is_dir() {
            true => inner,
            // It is seen from inside of a container.
            false => root.to_owned(),
        }
    };
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        if controllers.split(',').any(|one| one == controller.name()) {
            found.push((below(&root.join(controller.name()), path), Version::One));
        } else if controllers.is_empty() && has_second {
            let path = path.strip_suffix(OWN_GROUP).unwrap_or(path);
            found.push((below(root, path), Version::Two));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_in_either_version() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for path in ["memory/a/b", "unit.service/clusterrunner-slave"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        let first = "9:name=systemd:/\n4:memory:/a/b\n1:cpu,cpuacct:/not/there\n0::/\n";
        let memory = parents_in(first, root, false, Controller::Memory);
        assert_eq!(memory, [(root.join("memory/a/b"), Version::One)]);
        let cpu = parents_in(first, root, false, Controller::Cpu);
        assert_eq!(cpu, [(root.join("cpu"), Version::One)]);
        assert_eq!(parents_in(first, root, false, Controller::Pids), []);
        // A slave that has made room for groups makes them beside its own.
        let second = "0::/unit.service/clusterrunner-slave\n";
        let memory = parents_in(second, root, true, Controller::Memory);
        assert_eq!(memory, [(root.join("unit.service/"), Version::Two)]);
    }
}
