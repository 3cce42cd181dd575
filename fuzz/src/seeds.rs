//! The seeds of targets: files that are in order, or that once broke a promise.

use std::fs;
use std::io;
use std::path::PathBuf;

/// The folder of all seeds.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

/// The names of the folders in it: one for each target.
///
/// # Errors
/// They can not be read.
pub fn folders() -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder())?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// The seeds of a target, in the order of their names.
///
/// # Errors
/// They can not be read.
pub fn of(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let entries = fs::read_dir(folder().join(target))?;
    let files: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut files = files?;
    files.sort();
    files.iter().map(fs::read).collect()
}
