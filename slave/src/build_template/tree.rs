//! Walking through trees that others made: no link is followed, and nothing recurses.

use super::error::{BuildError, at};
use std::fs::Metadata;
use std::path::{Path, PathBuf};

/// What the visitor of a tree says of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Into {
    /// Its entries are visited, too.
    Yes,
    /// They are not.
    No,
}

/// Visits all entries below a directory, each directory before what is in it, in the order of their names.
pub(super) fn walk(
    root: &Path,
    mut visit: impl FnMut(&Path, &Metadata) -> Result<Into, BuildError>,
) -> Result<(), BuildError> {
    let mut waiting = entries(root, Path::new(""))?;
    while let Some(relative) = waiting.pop() {
        let path = root.join(&relative);
        let metadata = std::fs::symlink_metadata(&path).map_err(at("look at", &path))?;
        let into = visit(&relative, &metadata)?;
        if metadata.is_dir() && into == Into::Yes {
            waiting.extend(entries(root, &relative)?);
        }
    }
    Ok(())
}

/// The entries of a directory, the last name first.
fn entries(root: &Path, relative: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let path = root.join(relative);
    let read = std::fs::read_dir(&path).map_err(at("read", &path))?;
    let mut found = Vec::new();
    for entry in read {
        let entry = entry.map_err(at("read", &path))?;
        found.push(relative.join(entry.file_name()));
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    Ok(found)
}
