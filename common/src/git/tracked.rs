//! What a commit has, and removing all else from a work tree.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use git2::{Index, IndexEntry, Oid};
use tokio_util::sync::CancellationToken;

use super::error::{GitError, in_step, stop_if};
use crate::disk::beneath::Beneath;

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
    /// time of modification for unchanged, and a program can set that time back. What a build left there may be links
    /// and of any depth: nothing is followed, and nothing recurses.
    pub(super) fn remove_others(
        &self,
        root: &Path,
        times: &TimesOfChange,
        cancel: &CancellationToken,
    ) -> Result<(), GitError> {
        let top = Beneath::open_own(root).map_err(in_step("read", root))?;
        let mut waiting = vec![Vec::new()];
        while let Some(relative) = waiting.pop() {
            stop_if(cancel)?;
            let shown = root.join(OsStr::from_bytes(&relative));
            let here = top.directory(Path::new(OsStr::from_bytes(&relative)));
            let here = here.map_err(in_step("read", &shown))?;
            let entries = here.entries().map_err(in_step("read", &shown))?;
            for (name, is_directory) in entries {
                if relative.is_empty() && name == ".git" {
                    continue;
                }
                let inside = match relative.is_empty() {
                    true => name.as_bytes().to_vec(),
                    false => [relative.as_slice(), b"/", name.as_bytes()].concat(),
                };
                if is_directory && self.directories.contains(&inside) {
                    waiting.push(inside);
                    continue;
                }
                // A submodule's own check-out sees to what is in it.
                let stays = match is_directory {
                    true => self.submodule_paths.contains(&inside),
                    false => {
                        self.files.contains(&inside) && {
                            let found = here.stat(&name);
                            let found = found.map_err(in_step("read", &shown.join(&name)))?;
                            #[expect(
                                clippy::useless_conversion,
                                reason = "not everywhere are these 64 bits"
                            )]
                            let changed =
                                (i64::from(found.st_ctime), found.st_ctime_nsec.cast_signed());
                            times.get(&inside).is_none_or(|time| *time == changed)
                        }
                    }
                };
                if !stays {
                    here.remove(&name)
                        .map_err(in_step("remove", &shown.join(&name)))?;
                }
            }
        }
        Ok(())
    }
}
