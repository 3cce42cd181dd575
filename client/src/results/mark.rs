//! The files by which directories of results are known again.

use super::{BUILD_FILE, ResultsError};
use clusterrunner_common::disk::beneath::Beneath;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::results::artifact::parse_directory_name;
use std::ffi::OsStr;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::time::SystemTime;

/// Keeps results out of the project's repository.
const IGNORE_FILE: &str = ".gitignore";

/// By its first line a directory for the results of several builds is known again.
const IGNORE_ALL: &str =
    "# Made by ClusterRunner: results of builds are no part of the project.\n*\n";

/// How much is read of a file that holds a number, or begins with a line of ours.
const MAX_READ: u64 = 4 << 10;

/// Says in a directory whose results it holds.
pub(super) fn mark(results: &Path, build: BuildId) -> Result<(), ResultsError> {
    write(results, BUILD_FILE, &format!("{build}\n"))
}

/// Has git take no notice of a directory.
pub(super) fn ignore_all(directory: &Path) -> Result<(), ResultsError> {
    match directory.join(IGNORE_FILE).symlink_metadata() {
        // It may be the user's by now.
        Ok(_) if is_collection(directory) => Ok(()),
        _ => write(directory, IGNORE_FILE, IGNORE_ALL),
    }
}

/// An archive may have brought something of this name.
fn write(directory: &Path, name: &str, text: &str) -> Result<(), ResultsError> {
    let written = Beneath::open(directory).and_then(|beneath| {
        let name = OsStr::new(name);
        beneath.remove(name)?;
        match beneath.create(name, 0o644) {
            Ok(mut file) => file.write_all(text.as_bytes()),
            // Another process has just done it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    });
    written.map_err(ResultsError::disk("write", &directory.join(name)))
}

/// Whose results a directory holds, if this program put them there.
pub(super) fn build_of(directory: &Path) -> Option<BuildId> {
    let text = regular_file::read_to_string(&directory.join(BUILD_FILE), MAX_READ).ok()?;
    text.trim().parse().ok()
}

/// When results were put there.
pub(super) fn written(directory: &Path) -> Option<SystemTime> {
    let mark = directory.join(BUILD_FILE).symlink_metadata().ok()?;
    mark.modified().ok()
}

/// Whether a directory holds the results of several builds.
pub(super) fn is_collection(directory: &Path) -> bool {
    let ignored = regular_file::read_to_string(&directory.join(IGNORE_FILE), MAX_READ);
    let first = IGNORE_ALL.lines().next();
    build_of(directory).is_none() && ignored.is_ok_and(|text| text.lines().next() == first)
}

/// Whether results of one build lie in a directory, also where the original put them.
pub(super) fn is_results(directory: &Path) -> bool {
    let is_of_an_atom = |name: &OsStr| {
        let name = name.to_str().unwrap_or_default();
        parse_directory_name(name).is_some()
    };
    build_of(directory).is_some()
        || std::fs::read_dir(directory).is_ok_and(|entries| {
            let mut names = entries.flatten().map(|entry| entry.file_name());
            names.any(|name| is_of_an_atom(&name))
        })
}
