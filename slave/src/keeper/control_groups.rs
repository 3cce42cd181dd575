//! Control groups of one instance: made below those of its keeper, entered by its processes before anything else, and
//! removed when it has ended.

use crate::isolation::parents;
pub(super) use crate::isolation::{Controller, Version};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io;
use std::path::PathBuf;

/// A control group of our own.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) directory: PathBuf,
    pub(super) version: Version,
}

impl Drop for Group {
    fn drop(&mut self) {
        // It goes when its last process has gone.
        fs::remove_dir(&self.directory).ok();
    }
}

impl Group {
    /// Makes the group of the instance with this mark that has this controller, and writes its numbers there.
    pub(super) fn make(
        controller: Controller,
        mark: &str,
        write: impl Fn(&Self) -> io::Result<()>,
    ) -> Option<Self> {
        let mut parents = parents(controller).into_iter();
        parents.find_map(|(parent, version)| {
            let directory = parent.join(name(mark));
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return None,
                _ => {}
            }
            // From here on it is removed again if something fails.
            let group = Self { directory, version };
            write(&group).ok().map(|()| group)
        })
    }

    pub(super) fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.directory.join(file), text)
    }

    pub(super) fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(file)).ok()
    }
}

/// Removes what a keeper that was killed has left.
pub(crate) fn remove_left_groups(mark: &str) {
    for controller in [Controller::Memory, Controller::Cpu] {
        for (parent, _) in parents(controller) {
            fs::remove_dir(parent.join(name(mark))).ok();
        }
    }
}

/// A name that no other instance on this machine has.
fn name(mark: &str) -> String {
    let digest = hex::encode(Sha256::digest(mark.as_bytes()));
    format!("clusterrunner-{}", digest.get(..16).unwrap_or_default())
}
