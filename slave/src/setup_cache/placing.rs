//! Moving what was unpacked of an entry into its project. No link is followed on either side.

use super::Stopped;
use super::unpacking::{Directories, UnpackOrder, taken};
use clusterrunner_common::disk::beneath::Beneath;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Moves what was unpacked into the project. Where the commit is the key, the paths are as the set-up left them; where
/// files are, what the commit has stays as the commit has it. Blocks.
pub(super) fn place(order: &UnpackOrder, directories: &Directories) -> Result<(), Stopped> {
    let top = (
        Beneath::open(&order.beside)?,
        Beneath::open(&order.project)?,
    );
    let is_same_commit = order.cache.key_files().is_empty();
    let mut of_commit = HashSet::new();
    for path in order.cache.paths() {
        let path = Path::new(path);
        let mut waiting = match path == Path::new(".") {
            true => vec![PathBuf::new()],
            false => one(&top.0, &top.1, path, is_same_commit)?,
        };
        while let Some(path) = waiting.pop() {
            let (from, to) = (top.0.directory(&path)?, top.1.directory(&path)?);
            let entries = from.entries()?;
            if is_same_commit {
                remove_others(&to, &entries)?;
            }
            for (name, is_directory) in entries {
                if put(&from, &to, (&name, is_directory), is_same_commit)? {
                    waiting.push(path.join(name));
                }
            }
            of_commit.insert(path);
        }
    }
    // Those inside first: in some nothing can be changed any more then, or even be found.
    for (path, mode) in directories.iter().rev() {
        if (is_same_commit || !of_commit.contains(path))
            && let Ok(directory) = top.1.directory(path)
        {
            std::fs::set_permissions(directory.path(), Permissions::from_mode(*mode))?;
        }
    }
    Ok(())
}

/// Moves what lies under one of the job's paths; the directory that both have, if they do.
fn one(
    from: &Beneath,
    to: &Beneath,
    path: &Path,
    overwrites: bool,
) -> Result<Vec<PathBuf>, Stopped> {
    let (above, name) = (
        path.parent().unwrap_or(Path::new("")),
        path.file_name().unwrap_or_default(),
    );
    let from = match from.directory(above) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        from => from?,
    };
    let found = match from.stat(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    let to = to.make(above).map_err(|error| taken(path, error))?;
    let is_directory = is_directory(&found);
    let both = put(&from, &to, (name, is_directory), overwrites)?;
    Ok(if both {
        vec![path.to_owned()]
    } else {
        Vec::new()
    })
}

/// Moves an entry where there is none; says whether both are directories, whose entries are to be moved.
fn put(
    from: &Beneath,
    to: &Beneath,
    (name, is_a_directory): (&OsStr, bool),
    overwrites: bool,
) -> Result<bool, Stopped> {
    match to.stat(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
        Ok(found) if is_a_directory && is_directory(&found) => return Ok(true),
        Ok(_) if !overwrites => return Ok(false),
        Ok(_) => to.remove(name)?,
    }
    to.take(from, name)?;
    Ok(false)
}

/// Removes what the set-up had removed, or never had. What git needs is in no entry.
fn remove_others(to: &Beneath, kept: &[(OsString, bool)]) -> io::Result<()> {
    let kept: HashSet<&OsStr> = kept.iter().map(|(name, _)| name.as_os_str()).collect();
    for (name, _) in to.entries()? {
        if name != ".git" && !kept.contains(name.as_os_str()) {
            to.remove(&name)?;
        }
    }
    Ok(())
}

fn is_directory(found: &rustix::fs::Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::Directory
}
