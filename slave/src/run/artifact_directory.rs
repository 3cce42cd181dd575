//! `$ARTIFACT_DIR`: ready before an atom starts, empty, and the atom's own. An atom may do to it what
//! it likes; the next one gets the same only if nothing was done to it, and no process is left that could.

use crate::data_directory::{DataDirectory, make_private, remove_all};
use crate::run::file_error::{AtomFileError, files};
use clusterrunner_common::ids::{BuildId, ExecutorIndex};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::fs::{DirBuilder, Metadata};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Room for the entries of a directory that is hardly ever longer than empty.
const ENTRIES: usize = 512;

/// The directories of one executor.
#[derive(Debug)]
pub(crate) struct ArtifactDirectories {
    executor: ExecutorIndex,
    /// How many were made; each has a name of its own.
    made: u64,
    ready: Option<Ready>,
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
            ready: None,
        }
    }

    /// The directory for the next atom, of whatever build.
    pub(crate) fn take(&mut self, data: &DataDirectory) -> Result<&Path, AtomFileError> {
        let ready = match self.ready.take() {
            // Another atom may have been at it since.
            Some(ready) if ready.is_untouched() => ready,
            Some(touched) => {
                if let Err(error) = remove_all(&touched.path) {
                    tracing::debug!(path = %touched.path.display(), %error, "could not remove a directory");
                }
                self.make(data)?
            }
            None => self.make(data)?,
        };
        Ok(&self.ready.insert(ready).path)
    }

    /// What the last atom left, which is of this build: now its directory is among the build's. It is kept
    /// for the next atom if there is nothing in it and `nobody_is_left` of this one.
    pub(crate) fn left(
        &mut self,
        data: &DataDirectory,
        build: BuildId,
        nobody_is_left: bool,
    ) -> Result<Option<PathBuf>, AtomFileError> {
        let Some(Ready { path, state }) = self.ready.take() else {
            return Ok(None);
        };
        match look(&path).map_err(files("look into", &path))? {
            Found::Something => move_to(data, build, path),
            Found::Other => {
                remove_all(&path).map_err(files("remove", &path))?;
                Ok(None)
            }
            Found::Empty(now) if nobody_is_left => {
                if now == state {
                    self.ready = Some(Ready { path, state });
                } else if std::fs::remove_dir(&path).is_err() {
                    move_to(data, build, path)?;
                }
                Ok(None)
            }
            Found::Empty(_) => move_to(data, build, path).map(|_| None),
            Found::Nothing => Ok(None),
        }
    }

    /// It is unknown what the last atom, which is of this build, left. Says where that is now, if there is any.
    pub(crate) fn give_up(&mut self, data: &DataDirectory, build: BuildId) -> Option<PathBuf> {
        let Ready { path, .. } = self.ready.take()?;
        move_to(data, build, path).unwrap_or_else(|error| {
            tracing::debug!(build.id = %build, %error, "a directory stays until the slave is started again");
            None
        })
    }

    fn make(&mut self, data: &DataDirectory) -> Result<Ready, AtomFileError> {
        loop {
            self.made += 1;
            let path = data.artifact_directory(self.executor, self.made);
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

/// Moves a directory to those of a build, with which it goes at the latest. Says where it is, if it is
/// still there.
fn move_to(
    data: &DataDirectory,
    build: BuildId,
    path: PathBuf,
) -> Result<Option<PathBuf>, AtomFileError> {
    let of_build = data.artifacts(build);
    let Some(name) = path.file_name() else {
        return Ok(Some(path));
    };
    let aside = of_build.join(name);
    let moved = match std::fs::rename(&path, &aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_private(&of_build).and_then(|()| std::fs::rename(&path, &aside))
        }
        moved => moved,
    };
    match moved {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // It can not be moved where the atom has write-protected it. It goes when it is packed.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Some(path)),
        Err(error) => Err(files("move", &path)(error)),
    }
}

impl Drop for ArtifactDirectories {
    fn drop(&mut self) {
        // At the next start it would go in any case.
        if let Some(ready) = &self.ready {
            std::fs::remove_dir(&ready.path).ok();
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
            let taken = self.directories.take(&self.data).unwrap().to_owned();
            let found = taken.symlink_metadata().unwrap();
            assert!(found.is_dir() && taken.read_dir().unwrap().next().is_none());
            assert_eq!(found.permissions().mode() & 0o777, 0o700);
            taken
        }

        /// What one atom leaves that does `deed`, and whether the next has the same directory.
        fn check(&mut self, is_left: bool, is_same: bool, deed: impl FnOnce(&Path, &Path)) {
            let taken = self.take();
            deed(&taken, self.base.path());
            let left = self.directories.left(&self.data, BUILD, true).unwrap();
            let aside = self.data.artifacts(BUILD).join(taken.file_name().unwrap());
            assert_eq!(left, is_left.then_some(aside));
            assert_eq!(self.take() == taken, is_same);
        }
    }

    #[test]
    fn what_was_not_touched_is_used_again() {
        let mut scenario = Scenario::new();
        scenario.check(false, true, |_, _| {});
        assert!(!scenario.data.artifacts(BUILD).exists());
        // A process of the last atom may write there yet.
        let taken = scenario.take();
        let Scenario {
            data, directories, ..
        } = &mut scenario;
        assert_eq!(directories.left(data, BUILD, false).unwrap(), None);
        let aside = data.artifacts(BUILD).join(taken.file_name().unwrap());
        assert!(aside.is_dir() && !taken.exists());
        assert_ne!(scenario.take(), taken);
    }

    #[test]
    fn what_is_given_up_goes_with_the_build() {
        let mut scenario = Scenario::new();
        let taken = scenario.take();
        std::fs::write(taken.join("x"), "").unwrap();
        scenario.directories.give_up(&scenario.data, BUILD);
        let aside = scenario.data.artifacts(BUILD);
        assert!(aside.join(taken.file_name().unwrap()).join("x").exists());
        assert_ne!(scenario.take(), taken);
        // Nothing to give up.
        scenario
            .directories
            .left(&scenario.data, BUILD, true)
            .unwrap();
        std::fs::remove_dir_all(aside).unwrap();
        scenario.directories.give_up(&scenario.data, BUILD);
        scenario.directories.give_up(&scenario.data, BUILD);
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
        scenario
            .directories
            .left(&scenario.data, BUILD, true)
            .unwrap();
        std::fs::remove_dir(&taken).unwrap();
        assert_ne!(scenario.take(), taken);
    }
}
