//! `$ARTIFACT_DIR`: ready before an atom starts, empty, and the atom's own. An atom may do to it what
//! it likes; the next one gets the same only if nothing was done to it, and nobody is left who could.

use super::{AtomFileError, files};
use crate::data_directory::{DataDirectory, make_private, remove_all};
use clusterrunner_common::ids::{BuildId, ExecutorIndex};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::{DirBuilder, Metadata};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Of how many builds an executor keeps a directory ready.
const MOST_READY: usize = 8;

/// Room for the entries of a directory that is hardly ever longer than empty.
const ENTRIES: usize = 512;

/// The directories of one executor.
#[derive(Debug)]
pub(crate) struct ArtifactDirectories {
    executor: ExecutorIndex,
    /// How many were made; each has a name of its own.
    made: u64,
    ready: VecDeque<(BuildId, Ready)>,
}

#[derive(Debug)]
struct Ready {
    path: PathBuf,
    /// As it was when it was made.
    state: State,
}

/// What is different of a directory after anything was done to it. Making and removing a file in it
/// changes the time as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    device: u64,
    inode: u64,
    mode: u32,
    changed: (i64, i64),
}

impl State {
    fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            mode: found.mode(),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

impl ArtifactDirectories {
    pub(crate) fn new(executor: ExecutorIndex) -> Self {
        Self {
            executor,
            made: 0,
            ready: VecDeque::new(),
        }
    }

    /// The directory for the next atom of a build.
    pub(crate) fn take(
        &mut self,
        data: &DataDirectory,
        build: BuildId,
    ) -> Result<&Path, AtomFileError> {
        let known = self.ready.iter().position(|(of, _)| *of == build);
        let ready = match known.and_then(|known| self.ready.remove(known)) {
            // Another atom of the build may have been at it since.
            Some((_, ready)) if ready.is_untouched() => ready,
            Some(_) | None => self.make(data, build)?,
        };
        self.ready.truncate(MOST_READY - 1);
        self.ready.push_front((build, ready));
        Ok(&self.ready[0].1.path)
    }

    /// What the last atom of a build left. The directory is kept for the next one if `nobody_is_left`
    /// of the atom.
    pub(crate) fn left(
        &mut self,
        build: BuildId,
        nobody_is_left: bool,
    ) -> Result<Option<PathBuf>, AtomFileError> {
        let Some(Ready { path, state }) = self.take_ready(build) else {
            return Ok(None);
        };
        match look(&path).map_err(files("look into", &path))? {
            Found::Something => Ok(Some(path)),
            Found::Other => {
                remove_all(&path).map_err(files("remove", &path))?;
                Ok(None)
            }
            Found::Empty(now) => {
                if nobody_is_left && now == state {
                    self.ready.push_front((build, Ready { path, state }));
                } else if nobody_is_left {
                    // If it can not be removed now it goes with the build.
                    std::fs::remove_dir(&path).ok();
                }
                Ok(None)
            }
            Found::Nothing => Ok(None),
        }
    }

    fn take_ready(&mut self, build: BuildId) -> Option<Ready> {
        let known = self.ready.iter().position(|(of, _)| *of == build)?;
        self.ready.remove(known).map(|(_, ready)| ready)
    }

    fn make(&mut self, data: &DataDirectory, build: BuildId) -> Result<Ready, AtomFileError> {
        loop {
            self.made += 1;
            let path = data.artifact_directory(build, self.executor, self.made);
            let made = match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => make_private(&path),
                made => made,
            };
            let state = made.and_then(|()| Ok(State::of(&path.symlink_metadata()?)));
            let state = state.map_err(files("make", &path))?;
            return Ok(Ready { path, state });
        }
    }
}

impl Ready {
    fn is_untouched(&self) -> bool {
        let found = self.path.symlink_metadata();
        found.is_ok_and(|found| State::of(&found) == self.state)
    }
}

/// What is at the place of a directory.
enum Found {
    Empty(State),
    /// Or it can not be known: it is locked.
    Something,
    /// No directory.
    Other,
    Nothing,
}

fn look(path: &Path) -> io::Result<Found> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Found::Other),
        Err(Errno::ACCESS) => return Ok(Found::Something),
        Err(error) => return Err(error.into()),
    };
    let directory = std::fs::File::from(directory);
    let state = State::of(&directory.metadata()?);
    let mut room = [MaybeUninit::uninit(); ENTRIES];
    let mut entries = RawDir::new(&directory, &mut room);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(Found::Something);
        }
    }
    Ok(Found::Empty(state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::SessionId;
    use std::os::unix::fs::PermissionsExt as _;

    const BUILD: BuildId = BuildId(3);

    struct Scenario {
        base: tempfile::TempDir,
        data: DataDirectory,
        directories: ArtifactDirectories,
    }

    impl Scenario {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            let data = DataDirectory::open(base.path(), 1, SessionId("s".to_owned())).unwrap();
            data.empty().unwrap();
            Self {
                base,
                data,
                directories: ArtifactDirectories::new(ExecutorIndex(0)),
            }
        }

        fn take(&mut self) -> PathBuf {
            let taken = self.directories.take(&self.data, BUILD).unwrap().to_owned();
            let found = taken.symlink_metadata().unwrap();
            assert!(found.is_dir() && taken.read_dir().unwrap().next().is_none());
            assert_eq!(found.permissions().mode() & 0o777, 0o700);
            taken
        }

        /// What one atom leaves that does `deed`, and whether the next has the same directory.
        fn check(&mut self, is_left: bool, is_same: bool, deed: impl FnOnce(&Path, &Path)) {
            let taken = self.take();
            deed(&taken, self.base.path());
            let left = self.directories.left(BUILD, true).unwrap();
            assert_eq!(left, is_left.then(|| taken.clone()));
            assert_eq!(self.take() == taken, is_same);
        }
    }

    #[test]
    fn what_was_not_touched_is_used_again() {
        let mut scenario = Scenario::new();
        scenario.check(false, true, |_, _| {});
        let other = BuildId(4);
        scenario.directories.take(&scenario.data, other).unwrap();
        scenario.check(false, true, |_, _| {});
        // A process of the last atom may write there yet.
        let taken = scenario.take();
        assert_eq!(scenario.directories.left(BUILD, false).unwrap(), None);
        assert_ne!(scenario.take(), taken);
        assert!(taken.is_dir());
    }

    #[test]
    fn what_was_touched_is_not() {
        let mut scenario = Scenario::new();
        scenario.check(true, false, |path, _| {
            std::fs::write(path.join("x"), "").unwrap();
        });
        scenario.check(false, false, |path, _| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o500)).unwrap();
        });
        scenario.check(false, false, |path, _| std::fs::remove_dir(path).unwrap());
        scenario.check(false, false, |path, base| {
            std::fs::rename(path, base.join("moved")).unwrap();
            std::fs::create_dir(path).unwrap();
        });
        scenario.check(false, false, |path, _| {
            std::fs::remove_dir(path).unwrap();
            std::fs::write(path, "a file").unwrap();
        });
        scenario.check(false, false, |path, base| {
            std::fs::remove_dir(path).unwrap();
            std::fs::write(base.join("victim"), "").unwrap();
            std::os::unix::fs::symlink(base, path).unwrap();
        });
        assert!(scenario.base.path().join("victim").exists());
        scenario.check(false, false, |path, _| {
            std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        });
        // Also when another atom was at it after the end.
        let taken = scenario.take();
        scenario.directories.left(BUILD, true).unwrap();
        std::fs::remove_dir(&taken).unwrap();
        assert_ne!(scenario.take(), taken);
    }
}
