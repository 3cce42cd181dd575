//! Copies of projects that are kept from build to build: which of them go, and removing them.
//!
//! A project has a directory of one name in each of some parents (its mirror, its work tree). It was
//! last used when these directories were last [`touch`]ed or changed. What goes gets another name
//! first: a process that dies meanwhile leaves no half of a mirror under its own name. Who uses what
//! is the caller's to know. Everything here blocks.

use crate::clock::Timestamp;
use crate::disk::beneath::remove_all;
use crate::disk::retention::ProjectBounds;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Begins the name of what is being removed. Names of projects begin with no full stop.
const GOING: &str = ".removed-";

/// A project as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptProject {
    /// The name of its directories.
    pub name: OsString,
    /// When it was last used.
    pub last_used: Timestamp,
    /// How much it takes; 0 where nobody asked.
    pub bytes: u64,
}

/// Takes note that a project is used.
///
/// # Errors
/// There is no such directory, or it is not ours.
pub fn touch(directory: &Path) -> io::Result<()> {
    let now = UNIX_EPOCH + Duration::from_millis(Timestamp::now().0);
    File::open(directory)?.set_modified(now)
}

/// The projects in these parents, the one first that was not used for longest. With `measured`, how
/// much they take; that reads every directory of theirs.
///
/// # Errors
/// A parent can not be read. One that is missing is empty.
pub fn find(parents: &[PathBuf], measured: bool) -> io::Result<Vec<KeptProject>> {
    let mut found: BTreeMap<OsString, KeptProject> = BTreeMap::new();
    for parent in parents {
        for entry in entries(parent)? {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let name = entry.file_name();
            if !metadata.is_dir() || name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let milliseconds =
                metadata.mtime().saturating_mul(1000) + metadata.mtime_nsec() / 1_000_000;
            let used = Timestamp(u64::try_from(milliseconds).unwrap_or(0));
            let bytes = if measured {
                bytes_below(&entry.path())
            } else {
                0
            };
            let project = found.entry(name.clone()).or_insert(KeptProject {
                name,
                last_used: used,
                bytes: 0,
            });
            project.last_used = project.last_used.max(used);
            project.bytes += bytes;
        }
    }
    let mut found: Vec<KeptProject> = found.into_values().collect();
    found.sort_by_key(|project| project.last_used);
    Ok(found)
}

/// Has those projects removed that are too old or too much, in their order. `remove` says whether one
/// went: one that is in use stays, and the next may have to go in its place.
pub fn bound(
    projects: &[KeptProject],
    bounds: &ProjectBounds,
    now: Timestamp,
    mut remove: impl FnMut(&KeptProject) -> bool,
) {
    let mut bytes: u64 = projects.iter().map(|project| project.bytes).sum();
    for project in projects {
        let is_old = bounds
            .max_age
            .is_some_and(|most| project.last_used.until(now) >= most);
        let is_too_much = bounds.max_bytes.is_some_and(|most| bytes > most);
        if (is_old || is_too_much) && remove(project) {
            bytes -= project.bytes;
        }
    }
}

/// Takes a project's name away from it, in each of the parents. To be called while nobody else may
/// begin to use it; [`remove_unnamed`] does the rest.
///
/// # Errors
/// The disk refuses.
pub fn unname(parents: &[PathBuf], name: &OsStr) -> io::Result<()> {
    for parent in parents {
        let mut going = OsString::from(GOING);
        going.push(name);
        let going = parent.join(going);
        // Of an earlier try.
        remove_all(&going)?;
        match std::fs::rename(parent.join(name), going) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes what has lost its name, also in an earlier life.
///
/// # Errors
/// The disk refuses.
pub fn remove_unnamed(parents: &[PathBuf]) -> io::Result<()> {
    for parent in parents {
        for entry in entries(parent)? {
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(GOING.as_bytes())
            {
                remove_all(&entry.path())?;
            }
        }
    }
    Ok(())
}

fn entries(directory: &Path) -> io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// How much the files below a directory take on the disk. What can not be looked at counts nothing:
/// a build may be at work there.
#[must_use]
pub(crate) fn bytes_below(directory: &Path) -> u64 {
    const BLOCK: u64 = 512;
    let mut bytes = 0;
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            bytes += metadata.blocks() * BLOCK;
            if metadata.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(name: &str, last_used: u64, bytes: u64) -> KeptProject {
        KeptProject {
            name: name.into(),
            last_used: Timestamp(last_used),
            bytes,
        }
    }

    fn check(bounds: ProjectBounds, in_use: &str, gone: &[&str]) {
        let projects = [
            project("a", 1000, 10),
            project("b", 2000, 20),
            project("c", 3000, 30),
        ];
        let mut removed = Vec::new();
        bound(&projects, &bounds, Timestamp(4000), |project| {
            let is_free = project.name != in_use;
            if is_free {
                removed.push(project.name.clone());
            }
            is_free
        });
        assert_eq!(removed, gone, "{bounds:?}");
    }

    #[test]
    fn the_old_and_the_surplus_go_but_never_what_is_in_use() {
        let age = |seconds| ProjectBounds {
            max_age: Some(Duration::from_secs(seconds)),
            max_bytes: None,
        };
        let bytes = |bytes| ProjectBounds {
            max_age: None,
            max_bytes: Some(bytes),
        };
        check(ProjectBounds::default(), "", &[]);
        check(age(2), "", &["a", "b"]);
        check(age(2), "a", &["b"]);
        check(bytes(60), "", &[]);
        check(bytes(59), "", &["a"]);
        check(bytes(49), "", &["a", "b"]);
        check(bytes(49), "a", &["b"]);
        check(bytes(0), "", &["a", "b", "c"]);
    }

    #[test]
    fn a_project_goes_from_all_its_places() {
        let directory = tempfile::tempdir().unwrap();
        let parents = ["repos", "work", "missing"].map(|name| directory.path().join(name));
        for (parent, name) in [(0, "one"), (1, "one"), (0, "two"), (0, ".two.new-x")] {
            let place = parents[parent].join(name);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("file"), [0; 5000]).unwrap();
        }
        let long_ago = UNIX_EPOCH + Duration::from_secs(1);
        let old = File::open(parents[0].join("two")).unwrap();
        old.set_modified(long_ago).unwrap();
        let found = find(&parents, true).unwrap();
        let names: Vec<&OsStr> = found
            .iter()
            .map(|project| project.name.as_os_str())
            .collect();
        assert_eq!(names, ["two", "one"]);
        assert!(
            found[0].bytes >= 5000 && found[1].bytes >= 10_000,
            "{found:?}"
        );
        assert_eq!(found[0].last_used, Timestamp(1000));
        touch(&parents[0].join("two")).unwrap();
        assert_eq!(find(&parents, false).unwrap()[1].name, "two");

        unname(&parents, OsStr::new("one")).unwrap();
        assert_eq!(find(&parents, false).unwrap().len(), 1);
        remove_unnamed(&parents).unwrap();
        let left = |parent: &PathBuf| std::fs::read_dir(parent).unwrap().count();
        assert_eq!((left(&parents[0]), left(&parents[1])), (2, 0));
    }
}
