//! Where results go, and that nothing is lost there: old ones are moved out of the way, the oldest are deleted.

use super::mark::{build_of, ignore_all, is_collection, is_results, mark};
use super::{ResultsError, USUAL_NAME};
use clusterrunner_common::disk::beneath::remove_all;
use clusterrunner_common::ids::BuildId;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How many directories of older results are kept.
pub const KEPT: usize = 5;

/// The link to the newest results.
const LATEST: &str = "latest";

/// How often another process may be faster before we give up; each of its successes is one build
/// that ended in the same directory in the same moment.
const TRIES: usize = 10;

/// Where somebody wants results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Among those of other builds: `<directory>/<build>`, and `<directory>/latest` leads to them.
    Among(PathBuf),
    /// Just in this directory; what was there is moved to `<directory>.<its build>`.
    Exactly(PathBuf),
}

/// A place that was looked at.
#[derive(Debug)]
pub(super) struct ResultsPlace {
    kind: Kind,
    /// The directory that was named, as an absolute path.
    directory: PathBuf,
    parent: PathBuf,
    name: OsString,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Among,
    Exactly,
}

/// What came of putting results in place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct InPlace {
    /// Where they are.
    pub(super) directory: PathBuf,
    /// Where those are that were there before.
    pub(super) moved_to: Option<PathBuf>,
    /// Older ones that were deleted.
    pub(super) removed: Vec<PathBuf>,
    /// Why the link does not lead to them, where it should.
    pub(super) no_link: Option<String>,
}

impl ResultsPlace {
    /// Looks at a place, and refuses one that holds anything but old results.
    pub(super) fn find(destination: &Destination) -> Result<Self, ResultsError> {
        let (kind, given) = match destination {
            Destination::Among(directory) => (Kind::Among, directory),
            Destination::Exactly(directory) => (Kind::Exactly, directory),
        };
        let directory =
            std::path::absolute(given).map_err(ResultsError::disk("find the directory", given))?;
        let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
            return Err(ResultsError::NoName { path: directory });
        };
        if given.file_name().is_none() {
            return Err(ResultsError::NoName {
                path: given.to_owned(),
            });
        }
        let place = Self {
            kind,
            parent: parent.to_owned(),
            name: name.to_owned(),
            directory: directory.clone(),
        };
        match place.unfit()? {
            None => Ok(place),
            Some(why) => Err(ResultsError::Taken {
                path: directory,
                why,
            }),
        }
    }

    /// Why results can not be put there.
    fn unfit(&self) -> Result<Option<&'static str>, ResultsError> {
        let directory = &self.directory;
        let Ok(found) = directory.symlink_metadata() else {
            return Ok(None);
        };
        if !found.is_dir() {
            return Ok(Some("it is no directory"));
        }
        let moves_away = match self.kind {
            Kind::Among if is_collection(directory) => return Ok(None),
            Kind::Among => is_results(directory),
            Kind::Exactly => self.name == USUAL_NAME || build_of(directory).is_some(),
        };
        let here = std::env::current_dir().unwrap_or_default();
        if (moves_away || self.kind == Kind::Exactly) && here.starts_with(directory) {
            return Ok(Some("you are in it"));
        }
        let mut entries = std::fs::read_dir(directory)
            .map_err(ResultsError::disk("read the directory", directory))?;
        let is_free = moves_away || entries.next().is_none();
        Ok((!is_free).then_some("it holds other files"))
    }

    /// Makes what has to be there before results come.
    pub(super) fn prepare(&self, build: BuildId) -> Result<(), ResultsError> {
        if self.kind == Kind::Exactly {
            return Ok(());
        }
        let directory = &self.directory;
        // Results of the original, or of an earlier version, lie directly in it.
        let old = match is_results(directory) && !is_collection(directory) {
            true => move_away(directory, build)?,
            false => None,
        };
        std::fs::create_dir_all(directory)
            .map_err(ResultsError::disk("make the directory", directory))?;
        ignore_all(directory)?;
        if let Some(old) = old {
            let name = match build_of(&old) {
                Some(build) => build.to_string(),
                None => format!("before-{build}"),
            };
            let place = free_beside(&directory.join(name));
            std::fs::rename(&old, &place)
                .map_err(ResultsError::disk("move the old results to", &place))?;
        }
        Ok(())
    }

    /// A new directory on the same file system.
    pub(super) fn workshop(&self, suffix: &str) -> Result<Workshop, ResultsError> {
        let parent = match self.kind {
            Kind::Among if self.directory.is_dir() => &self.directory,
            Kind::Among | Kind::Exactly => &self.parent,
        };
        std::fs::create_dir_all(parent)
            .map_err(ResultsError::disk("make the directory", parent))?;
        let made = tempfile::Builder::new()
            .prefix(&format!(".{}.{suffix}", self.name.to_string_lossy()))
            .tempdir_in(parent)
            .map_err(ResultsError::disk("make a directory in", parent))?;
        Ok(Workshop(made.keep()))
    }

    /// Puts the results of a build in place. In the place of older ones, those are moved out of the way first; of the
    /// older ones the [`KEPT`] newest are kept. A directory that this program did not make is never deleted.
    pub(super) fn put(&self, results: &Path, build: BuildId) -> Result<InPlace, ResultsError> {
        mark(results, build)?;
        let target = match self.kind {
            Kind::Among => self.directory.join(build.to_string()),
            Kind::Exactly => {
                ignore_all(results)?;
                self.directory.clone()
            }
        };
        let moved_to = replace(results, &target, build)?;
        let mut no_link = None;
        let removed = match self.kind {
            Kind::Among => {
                // The results are there all the same.
                let linked = point_latest_at(&self.directory, build);
                no_link = linked.err().map(|error| error.to_string());
                let is_candidate = |path: &Path| path != target;
                delete_oldest(&self.directory, is_candidate)
            }
            Kind::Exactly => {
                let prefix = format!("{}.", self.name.to_string_lossy());
                let is_candidate = |path: &Path| {
                    let name = path.file_name().unwrap_or_default();
                    name.to_string_lossy().starts_with(&prefix)
                };
                delete_oldest(&self.parent, is_candidate)
            }
        };
        Ok(InPlace {
            directory: target,
            moved_to,
            removed,
            no_link,
        })
    }
}

/// A directory in which results are made ready; it goes with this value, however deep it is.
#[derive(Debug)]
pub(super) struct Workshop(PathBuf);

impl Workshop {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.0) {
            tracing::debug!(%error, path = %self.0.display(), "could not be removed");
        }
    }
}

/// Makes `results` the directory `target`. Says where what was there is now.
fn replace(results: &Path, target: &Path, build: BuildId) -> Result<Option<PathBuf>, ResultsError> {
    let mut moved_to = None;
    let mut tries = 0;
    loop {
        if let Some(old) = move_away(target, build)? {
            moved_to = Some(old);
        }
        tries += 1;
        match std::fs::rename(results, target) {
            Ok(()) => return Ok(moved_to),
            // Another process put results there since we looked.
            Err(_) if tries < TRIES && target.symlink_metadata().is_ok() => {}
            Err(error) => return Err(ResultsError::disk("move the results to", target)(error)),
        }
    }
}

/// Moves what is there to `<target>.<its build>`, or to `<target>.before-<build>` where its build is not known.
fn move_away(target: &Path, build: BuildId) -> Result<Option<PathBuf>, ResultsError> {
    if target.symlink_metadata().is_err() {
        return Ok(None);
    }
    let suffix = match build_of(target) {
        Some(old) => old.to_string(),
        None => format!("before-{build}"),
    };
    // Builds of two masters may have the same id.
    let place = free_beside(&with_suffix(target, &suffix));
    match std::fs::rename(target, &place) {
        Ok(()) => Ok(Some(place)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ResultsError::disk("move the old results to", &place)(error)),
    }
}

/// The path `<target>.<suffix>`.
fn with_suffix(target: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(".");
    name.push(suffix);
    name.into()
}

/// This path, or with a number behind it the first that nothing has.
fn free_beside(wanted: &Path) -> PathBuf {
    let mut place = wanted.to_owned();
    let mut number = 2;
    while place.symlink_metadata().is_ok() {
        place = with_suffix(wanted, &number.to_string());
        number += 1;
    }
    place
}

/// Has the link lead to the results of a build, at no time to nothing.
fn point_latest_at(directory: &Path, build: BuildId) -> Result<(), ResultsError> {
    let latest = directory.join(LATEST);
    let link = |path: &Path| std::os::unix::fs::symlink(build.to_string(), path);
    let made = tempfile::Builder::new()
        .prefix(".latest.")
        .make_in(directory, link)
        .and_then(|link| {
            std::fs::rename(link.path(), &latest).map(|()| drop(link.into_temp_path().keep()))
        });
    made.map_err(ResultsError::disk("make the link", &latest))
}

/// Deletes all but the newest results among these. That one can not be deleted is no reason to
/// say that the new results are not there, so failures are left alone.
fn delete_oldest(directory: &Path, is_candidate: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut old: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .filter(|path| is_candidate(path) && build_of(path).is_some())
        .filter_map(|path| Some((super::mark::written(&path)?, path)))
        .collect();
    old.sort();
    let surplus = old.len().saturating_sub(KEPT);
    let mut removed = Vec::new();
    for (_, path) in old.drain(..surplus) {
        match remove_all(&path) {
            Ok(()) => removed.push(path),
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "old results could not be deleted");
            }
        }
    }
    removed
}

#[cfg(test)]
mod tests;
