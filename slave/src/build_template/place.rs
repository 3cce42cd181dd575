//! Where a template is made: a directory at the path at which it is found on every slave later, since what is installed
//! in it may hold absolute paths.

use super::error::{BuildError, at};
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::disk::beneath::remove_all;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// How many hexadecimal digits the name of one has.
const DIGITS: usize = 16;

/// How often a new directory is made when another process takes it away at once.
const ATTEMPTS: usize = 16;

/// A directory in which a template is made. It goes at the end; what a killed process left, [`remove_left`] takes.
#[derive(Debug)]
pub(super) struct TemplateDirectory {
    root: PathBuf,
    /// Locked: somebody works in it.
    _lock: File,
}

impl TemplateDirectory {
    /// Makes one.
    pub(super) fn make(templates_path: &Path) -> Result<Self, BuildError> {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o755).create(templates_path);
        made.map_err(at("make", templates_path))?;
        check_owner(templates_path)?;
        remove_left(templates_path).map_err(at("look into", templates_path))?;
        for _ in 0..ATTEMPTS {
            let root = templates_path.join(hex::encode(random_bytes::<{ DIGITS / 2 }>()));
            let made = DirBuilder::new().mode(0o700).create(&root);
            made.map_err(at("make", &root))?;
            // Until it is locked, another process may hold it for something that was left.
            if let Some(lock) = locked(&root).map_err(at("lock", &root))? {
                let source = root.join("source");
                let made = DirBuilder::new().mode(0o700).create(&source);
                made.map_err(at("make", &source))?;
                return Ok(Self { root, _lock: lock });
            }
        }
        Err(BuildError::said(format!(
            "No directory could be kept in {}: another process removes them.",
            templates_path.display()
        )))
    }

    /// All of the template.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The workspace.
    pub(super) fn source(&self) -> PathBuf {
        self.root.join("source")
    }

    /// What is installed for it.
    pub(super) fn environment(&self) -> PathBuf {
        self.root.join("environment")
    }
}

impl Drop for TemplateDirectory {
    fn drop(&mut self) {
        // What stays, the next one removes.
        remove_all(&self.root).ok();
    }
}

/// Others could change what is built.
fn check_owner(path: &Path) -> Result<(), BuildError> {
    let found = std::fs::metadata(path).map_err(at("look at", path))?;
    let own = rustix::process::geteuid().as_raw();
    match (found.uid() == own || found.uid() == 0) && found.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(BuildError::said(format!(
            "Others than this slave's user can change {} (setting templates_path).",
            path.display()
        ))),
    }
}

/// The lock of a directory; none if another process has it, or the directory is gone.
fn locked(root: &Path) -> io::Result<Option<File>> {
    let lock = match File::open(root) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let (opened, named) = (lock.metadata()?, std::fs::symlink_metadata(root));
    let is_there = named.is_ok_and(|named| named.ino() == opened.ino() && named.is_dir());
    Ok(is_there.then_some(lock))
}

/// Removes directories in which nobody makes a template any more. Blocks.
///
/// # Errors
/// The system's.
pub(crate) fn remove_left(templates_path: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(templates_path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_place = name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        // Links lead to templates that are made.
        if !is_place || !entry.file_type()?.is_dir() {
            continue;
        }
        if let Ok(Some(_lock)) = locked(&entry.path()) {
            remove_all(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_goes_at_its_end_and_what_was_left_goes_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("templates");
        remove_left(&path).unwrap();
        let place = TemplateDirectory::make(&path).unwrap();
        assert!(place.source().is_dir());
        let left = path.join("0123456789abcdef");
        std::fs::create_dir_all(left.join("source")).unwrap();
        std::os::unix::fs::symlink("/etc", path.join("fedcba9876543210")).unwrap();
        std::fs::create_dir(path.join("cache")).unwrap();
        remove_left(&path).unwrap();
        assert!(place.source().is_dir() && !left.exists());
        drop(place);
        let mut names: Vec<_> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["cache", "fedcba9876543210"]);
    }
}
