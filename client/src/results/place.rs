//! Putting new results in place: old ones are moved out of the way, the oldest are deleted.

use super::{BUILD_FILE, ResultsError};
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::BuildId;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How many directories of older results are kept.
pub const KEPT: usize = 5;

/// How often another process may be faster before we give up; each of its successes is one build
/// that ended in the same directory in the same moment.
const TRIES: usize = 10;

/// The name that results have where nobody says otherwise. Whatever directory has it is taken for old
/// results, since the original puts its there as well.
const USUAL_NAME: &str = "build_results";

/// Where results go.
#[derive(Debug)]
pub(super) struct Place {
    /// The directory that they will be, as an absolute path.
    pub(super) target: PathBuf,
    parent: PathBuf,
    name: OsString,
}

impl Place {
    /// Looks at a place, and refuses one that holds anything but old results.
    pub(super) fn find(directory: &Path) -> Result<Self, ResultsError> {
        let target = std::path::absolute(directory)
            .map_err(ResultsError::disk("find the directory", directory))?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(ResultsError::NoName { path: target });
        };
        if directory.file_name().is_none() {
            return Err(ResultsError::NoName {
                path: directory.to_owned(),
            });
        }
        let place = Self {
            parent: parent.to_owned(),
            name: name.to_owned(),
            target: target.clone(),
        };
        let taken = |why| {
            Err(ResultsError::Taken {
                path: target.clone(),
                why,
            })
        };
        let here = std::env::current_dir().unwrap_or_default();
        match target.symlink_metadata() {
            Err(_) => Ok(place),
            Ok(_) if here.starts_with(&target) => taken("you are in it"),
            Ok(found) if !found.is_dir() => taken("it is no directory"),
            Ok(_) if place.name == USUAL_NAME || build_of(&target).is_some() => Ok(place),
            Ok(_) => {
                let mut entries = std::fs::read_dir(&target)
                    .map_err(ResultsError::disk("read the directory", &target))?;
                match entries.next() {
                    None => Ok(place),
                    Some(_) => taken("it holds other files"),
                }
            }
        }
    }

    /// A new directory beside it, on the same file system.
    pub(super) fn workshop(&self, suffix: &str) -> Result<tempfile::TempDir, ResultsError> {
        let parent = &self.parent;
        std::fs::create_dir_all(parent)
            .map_err(ResultsError::disk("make the directory", parent))?;
        tempfile::Builder::new()
            .prefix(&format!(".{}.{suffix}", self.name.to_string_lossy()))
            .tempdir_in(parent)
            .map_err(ResultsError::disk("make a directory in", parent))
    }
}

/// Makes `results` the directory `target`. What was there is moved to `<target>.<its build>`; of
/// those, the [`KEPT`] newest are kept. A directory that this program did not make is moved to
/// `<target>.before-<build>` and never deleted. Says where the old results are.
///
/// # Errors
/// [`ResultsError::Disk`].
pub fn put_in_place(
    results: &Path,
    target: &Path,
    build: BuildId,
) -> Result<Option<PathBuf>, ResultsError> {
    let mark = results.join(BUILD_FILE);
    std::fs::write(&mark, format!("{build}\n")).map_err(ResultsError::disk("write", &mark))?;
    let mut moved_to = None;
    let mut tries = 0;
    loop {
        if let Some(old) = move_away(target, build)? {
            moved_to = Some(old);
        }
        tries += 1;
        match std::fs::rename(results, target) {
            Ok(()) => break,
            // Another process put results there since we looked.
            Err(_) if tries < TRIES && target.symlink_metadata().is_ok() => {}
            Err(error) => return Err(ResultsError::disk("move the results to", target)(error)),
        }
    }
    delete_oldest(target);
    Ok(moved_to)
}

/// The path `<target>.<suffix>`.
fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(target);
    name.push(".");
    name.push(suffix);
    name.into()
}

fn move_away(target: &Path, build: BuildId) -> Result<Option<PathBuf>, ResultsError> {
    if target.symlink_metadata().is_err() {
        return Ok(None);
    }
    let suffix = match build_of(target) {
        Some(old) => old.to_string(),
        None => format!("before-{build}"),
    };
    let mut place = beside(target, &suffix);
    let mut number = 2;
    while place.symlink_metadata().is_ok() {
        // Builds of two masters may have the same id.
        place = beside(target, &format!("{suffix}.{number}"));
        number += 1;
    }
    match std::fs::rename(target, &place) {
        Ok(()) => Ok(Some(place)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ResultsError::disk("move the old results to", &place)(error)),
    }
}

/// How much is read of a file that holds a number.
const MAX_NUMBER: u64 = 64;

/// Whose results a directory holds, if this program put them there.
fn build_of(directory: &Path) -> Option<BuildId> {
    let text = regular_file::read_to_string(&directory.join(BUILD_FILE), MAX_NUMBER).ok()?;
    text.trim().parse().ok()
}

/// Deletes all but the newest results beside `target`. That one can not be deleted is no reason to
/// say that the new results are not there, so failures are left alone.
fn delete_oldest(target: &Path) {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return;
    };
    let prefix = format!("{}.", name.to_string_lossy());
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    let mut old: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .filter(|path| build_of(path).is_some())
        .filter_map(|path| {
            let written = path.join(BUILD_FILE).metadata().ok()?.modified().ok()?;
            Some((written, path))
        })
        .collect();
    old.sort();
    let surplus = old.len().saturating_sub(KEPT);
    for (_, path) in old.drain(..surplus) {
        if let Err(error) = std::fs::remove_dir_all(&path) {
            tracing::debug!(%error, path = %path.display(), "old results could not be deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &Path, build: u64) -> Option<PathBuf> {
        let results = root.join("new");
        std::fs::create_dir(&results).unwrap();
        std::fs::write(results.join("of"), build.to_string()).unwrap();
        put_in_place(&results, &root.join("build_results"), BuildId(build)).unwrap()
    }

    fn names(root: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_place_needs_a_name() {
        for nameless in ["/", "..", "a/.."] {
            let error = Place::find(Path::new(nameless)).err().unwrap();
            assert!(matches!(error, ResultsError::NoName { .. }), "{error}");
        }
    }

    #[test]
    fn old_results_are_named_by_their_build_and_five_are_kept() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(place(root, 1), None);
        assert_eq!(place(root, 2), Some(root.join("build_results.1")));
        for build in 3..=8 {
            place(root, build);
        }
        assert_eq!(
            names(root),
            [
                "build_results",
                "build_results.3",
                "build_results.4",
                "build_results.5",
                "build_results.6",
                "build_results.7"
            ]
        );
        let of = |name: &str| std::fs::read_to_string(root.join(name).join("of")).unwrap();
        assert_eq!(
            (of("build_results"), of("build_results.7")),
            ("8".into(), "7".into())
        );
    }

    #[test]
    fn what_somebody_else_put_there_is_never_deleted() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        std::fs::create_dir(root.join("build_results")).unwrap();
        std::fs::create_dir(root.join("build_results.backup")).unwrap();
        for build in 1..=9 {
            place(root, build);
        }
        let names = names(root);
        assert!(
            names.contains(&"build_results.before-1".to_owned()),
            "{names:?}"
        );
        assert!(
            names.contains(&"build_results.backup".to_owned()),
            "{names:?}"
        );
        assert_eq!(names.len(), 1 + KEPT + 2);
    }

    #[test]
    fn nothing_but_old_results_is_ever_replaced() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        std::fs::write(root.join("file"), "mine").unwrap();
        std::fs::create_dir_all(root.join("project/src")).unwrap();
        std::fs::create_dir(root.join("empty")).unwrap();
        std::fs::create_dir(root.join("build_results")).unwrap();
        std::os::unix::fs::symlink(root.join("empty"), root.join("link")).unwrap();
        for fit in ["new", "new/deeper", "empty", "build_results"] {
            assert!(Place::find(&root.join(fit)).is_ok(), "{fit}");
        }
        let here = std::env::current_dir().unwrap();
        let above = here.parent().unwrap();
        for unfit in [
            &root.join("file"),
            &root.join("project"),
            &root.join("link"),
            &here,
            above,
        ] {
            let error = Place::find(unfit).unwrap_err().to_string();
            assert!(error.contains("is not a place for results"), "{error}");
        }
        for unfit in [".", "..", "/", "x/.."] {
            assert!(Place::find(Path::new(unfit)).is_err(), "{unfit}");
        }
        place(root, 3);
        assert!(Place::find(&root.join("build_results")).is_ok());
    }

    #[test]
    fn two_builds_with_one_id_do_not_overwrite_each_other() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for build in [1, 1, 1] {
            place(root, build);
        }
        assert_eq!(
            names(root),
            ["build_results", "build_results.1", "build_results.1.2"]
        );
    }
}
