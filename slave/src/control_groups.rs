//! Control groups, in either of their two versions: where they can be made, and how what is in them is limited, counted and
//! ended. What limits a command or an instance has is for others to say.

mod error;
mod group;
mod hierarchy;
mod joining;

pub(crate) use error::ControlGroupError;
pub(crate) use group::Group;
pub(crate) use hierarchy::Controller;

use hierarchy::{Version, parents};
use joining::hand_on;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long what was killed may take to go, and between two looks.
const KILLING: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(1);

/// The groups of one name: in the first version one for each controller, in the second one for all. What is in them is killed,
/// and they go, when this is dropped.
#[derive(Debug)]
pub(crate) struct Groups {
    name: String,
    groups: Vec<Group>,
}

impl Groups {
    /// None so far. No others may have this name.
    pub(crate) fn named(name: String) -> Self {
        Self {
            name,
            groups: Vec::new(),
        }
    }

    /// The group with this controller, which is made if it is not there.
    ///
    /// # Errors
    /// Why that is not possible here.
    pub(crate) fn with(&mut self, controller: Controller) -> Result<&Group, ControlGroupError> {
        let mut why = ControlGroupError::NoController(controller);
        for (parent, version) in parents(controller) {
            if version == Version::Two
                && let Err(reason) = hand_on(&parent, controller)
            {
                why = reason;
                continue;
            }
            let directory = parent.join(&self.name);
            let mut known = self.groups.iter();
            if let Some(known) = known.position(|one| one.directory == directory) {
                return Ok(&self.groups[known]);
            }
            match fs::create_dir(&directory) {
                Ok(()) => {
                    self.groups.push(Group { directory, version });
                    let last = self.groups.len() - 1;
                    return Ok(&self.groups[last]);
                }
                Err(source) => why = ControlGroupError::NotMade { parent, source },
            }
        }
        Err(why)
    }

    /// What takes a process that writes `0` there.
    pub(crate) fn doors(&self) -> Vec<PathBuf> {
        let groups = self.groups.iter();
        groups
            .map(|group| group.directory.join("cgroup.procs"))
            .collect()
    }

    /// Whether there are none: nothing is found by them then.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Kills all that is in them. Blocks.
    pub(crate) fn kill(&self) {
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
                group::kill(pid, &directory);
            }
            std::thread::sleep(LOOK);
        }
        tracing::warn!(group = %self.name, "some processes in a control group could not be killed");
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
            while let Err(error) = group.remove_with_below() {
                if error.kind() == io::ErrorKind::NotFound || began.elapsed() > KILLING {
                    break;
                }
                std::thread::sleep(LOOK);
            }
        }
    }
}

/// Kills what is in groups whose names begin so, and removes them: an earlier life has left them. Blocks.
pub(crate) fn remove_left(prefix: &str) {
    let all = Controller::ALL.into_iter().flat_map(parents);
    let mut left = Groups::named(prefix.to_owned());
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
