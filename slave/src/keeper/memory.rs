//! How much memory an instance may have: all of its processes together where a control group can be made, each of them
//! where not.

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where control groups are on all systems that have them.
const GROUPS: &str = "/sys/fs/cgroup";

/// Moves itself into the group that the first argument names, and becomes the program after it.
const ENTER: &str = "echo 0 > \"$0\" && exec \"$@\"";

/// How readily the system ends the instance when memory runs out: before any daemon. From -1000 to 1000.
const OOM_SCORE: &str = "500";

/// The limit of one instance.
#[derive(Debug)]
pub(super) enum Memory {
    Unlimited,
    /// For all together.
    Group {
        group: Group,
        most: u64,
    },
    /// For each.
    Each {
        most: u64,
    },
}

/// A control group of our own.
#[derive(Debug)]
pub(super) struct Group {
    directory: PathBuf,
    /// How many of its processes the system had ended for memory before.
    ended: u64,
}

impl Memory {
    /// Sets a limit up for the instance with this mark.
    pub(super) fn limit(most: Option<u64>, mark: &str) -> Self {
        let Some(most) = most else {
            return Self::Unlimited;
        };
        match Group::make(mark, most) {
            Some(group) => Self::Group { group, most },
            None => Self::Each { most },
        }
    }

    /// The same command, for processes that are under the limit from their first instruction.
    pub(super) fn around(
        &self,
        program: PathBuf,
        arguments: Vec<String>,
    ) -> (PathBuf, Vec<String>) {
        let Self::Group { group, .. } = self else {
            return (program, arguments);
        };
        let members = group.directory.join("cgroup.procs");
        let mut wrapped = vec![
            "sh".to_owned(),
            "-c".to_owned(),
            ENTER.to_owned(),
            members.to_string_lossy().into_owned(),
            program.to_string_lossy().into_owned(),
        ];
        wrapped.extend(arguments.into_iter().skip(1));
        ("/bin/sh".into(), wrapped)
    }

    /// To be called right after a process was started.
    pub(super) fn apply(&self, pid: Pid) {
        let id = pid.as_raw_nonzero();
        // Without it the system chooses for itself.
        fs::write(format!("/proc/{id}/oom_score_adj"), OOM_SCORE).ok();
        if let Self::Each { most } = self {
            let limit = Rlimit {
                current: Some(*most),
                maximum: Some(*most),
            };
            // It may have ended already.
            prlimit(Some(pid), Resource::Data, limit).ok();
        }
    }

    /// Whether the system has ended a process for it since the last time, in words for the user.
    pub(super) fn exceeded(&mut self) -> Option<String> {
        let Self::Group { group, most } = self else {
            return None;
        };
        let ended = group.num_ended();
        let before = std::mem::replace(&mut group.ended, ended);
        (ended > before)
            .then(|| format!("it needs more memory than the {most} bytes that it may have"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It goes when its last process has gone.
        fs::remove_dir(&self.directory).ok();
    }
}

/// Removes what a keeper that was killed has left.
pub(crate) fn remove_left_group(mark: &str) {
    for parent in parents() {
        fs::remove_dir(parent.directory.join(name(mark))).ok();
    }
}

/// A name that no other instance on this machine has.
fn name(mark: &str) -> String {
    let digest = hex::encode(Sha256::digest(mark.as_bytes()));
    format!("clusterrunner-{}", digest.get(..16).unwrap_or_default())
}

/// A group of this process in which groups may be made.
struct Parent {
    directory: PathBuf,
    /// The file with the limit, and that with the limit of memory and swap.
    files: [&'static str; 2],
    /// What stands in the second one; none for the limit itself.
    swap: Option<&'static str>,
}

/// The places where one can be made perhaps, the better one first.
fn parents() -> Vec<Parent> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
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
        if controllers.split(',').any(|one| one == "memory") {
            found.push(Parent {
                directory: below(&Path::new(GROUPS).join("memory"), path),
                files: ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"],
                swap: None,
            });
        } else if controllers.is_empty() && Path::new(GROUPS).join("cgroup.controllers").exists() {
            found.push(Parent {
                directory: below(Path::new(GROUPS), path),
                files: ["memory.max", "memory.swap.max"],
                swap: Some("0"),
            });
        }
    }
    found
}

impl Group {
    fn make(mark: &str, most: u64) -> Option<Self> {
        let mut parents = parents().into_iter();
        parents.find_map(|parent| Self::make_in(&parent, mark, most).ok())
    }

    fn make_in(parent: &Parent, mark: &str, most: u64) -> io::Result<Self> {
        let directory = parent.directory.join(name(mark));
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // From here on it is removed again if something fails.
        let mut group = Self {
            directory,
            ended: 0,
        };
        let [limit, with_swap] = parent.files;
        let most = most.to_string();
        fs::write(group.directory.join(limit), &most)?;
        // Kernels without accounts of swap do not have it.
        fs::write(
            group.directory.join(with_swap),
            parent.swap.unwrap_or(&most),
        )
        .ok();
        // All are ended together, where the system can.
        fs::write(group.directory.join("memory.oom.group"), "1").ok();
        group.ended = group.num_ended();
        Ok(group)
    }

    fn num_ended(&self) -> u64 {
        let files = ["memory.events", "memory.oom_control"];
        let texts = files
            .iter()
            .filter_map(|file| fs::read_to_string(self.directory.join(file)).ok());
        let counts = texts.filter_map(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("oom_kill "))?;
            line.trim().parse().ok()
        });
        counts.max().unwrap_or(0)
    }
}
