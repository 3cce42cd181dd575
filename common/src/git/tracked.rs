//! What a commit has, and removing all else from a work tree.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use git2::{Index, IndexEntry, Oid};

use super::GitError;
use super::mirror_files::remove_all;
use super::work_tree::in_step;

/// The mode of an index entry that is a submodule's commit (gitformat-index).
const SUBMODULE_MODE: u32 = 0o160_000;

/// When inodes were last changed, by path: seconds and nanoseconds.
pub(super) type TimesOfChange = HashMap<Vec<u8>, (i64, i64)>;

/// What a commit has in a work tree. Paths are relative to it, as bytes.
pub(super) struct Tracked {
    /// Files and symbolic links.
    files: HashSet<Vec<u8>>,
    /// The directories above them.
    directories: HashSet<Vec<u8>>,
    submodule_paths: HashSet<Vec<u8>>,
    /// Where the submodules are, and at which commit.
    pub(super) submodules: Vec<(PathBuf, Oid)>,
}

impl Tracked {
    pub(super) fn of(index: &Index) -> Self {
        let mut tracked = Self {
            files: HashSet::with_capacity(index.len()),
            directories: HashSet::new(),
            submodule_paths: HashSet::new(),
            submodules: Vec::new(),
        };
        for IndexEntry { path, mode, id, .. } in index.iter() {
            let mut above = path.as_slice();
            while let Some(slash) = above.iter().rposition(|byte| *byte == b'/') {
                above = &above[..slash];
                if !tracked.directories.insert(above.to_vec()) {
                    break;
                }
            }
            if mode == SUBMODULE_MODE {
                tracked
                    .submodules
                    .push((PathBuf::from(OsStr::from_bytes(&path)), id));
                tracked.submodule_paths.insert(path);
            } else {
                tracked.files.insert(path);
            }
        }
        tracked
    }

    /// Removes everything from the work tree at `root` that the commit does not have, whatever git's ignore rules say.
    ///
    /// Files touched since `times` are removed too, to be written again: libgit2 takes a file of the same size and
    /// time of modification for unchanged, and a program can set that time back.
    pub(super) fn remove_others(&self, root: &Path, times: &TimesOfChange) -> Result<(), GitError> {
        self.remove_others_in(root, &mut Vec::new(), times)
    }

    fn remove_others_in(
        &self,
        directory: &Path,
        relative: &mut Vec<u8>,
        times: &TimesOfChange,
    ) -> Result<(), GitError> {
        let is_root = relative.is_empty();
        for entry in fs::read_dir(directory).map_err(in_step("read", directory))? {
            let entry = entry.map_err(in_step("read", directory))?;
            let name = entry.file_name();
            if is_root && name == ".git" {
                continue;
            }
            let path = entry.path();
            let is_directory = entry.file_type().map_err(in_step("read", &path))?.is_dir();
            let length = relative.len();
            if !is_root {
                relative.push(b'/');
            }
            relative.extend_from_slice(name.as_bytes());
            if is_directory && self.directories.contains(relative.as_slice()) {
                self.remove_others_in(&path, relative, times)?;
            } else {
                // A submodule's own check-out sees to what is in it.
                let stays = if is_directory {
                    self.submodule_paths.contains(relative.as_slice())
                } else {
                    self.files.contains(relative.as_slice()) && {
                        let metadata = entry.metadata().map_err(in_step("read", &path))?;
                        let changed = (metadata.ctime(), metadata.ctime_nsec());
                        times
                            .get(relative.as_slice())
                            .is_none_or(|time| *time == changed)
                    }
                };
                if !stays {
                    remove_all(&path).map_err(in_step("remove", &path))?;
                }
            }
            relative.truncate(length);
        }
        Ok(())
    }
}
