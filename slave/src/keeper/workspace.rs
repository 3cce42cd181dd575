//! The directories of one instance: its own copy of the template's source, and a home.

use super::CanNotStart;
use clusterrunner_common::disk::beneath::{Beneath, remove_all};
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

/// The copy of the source, where its process starts.
pub(super) fn source(directory: &Path) -> PathBuf {
    directory.join("source")
}

/// `$HOME` of its processes.
pub(super) fn home(directory: &Path) -> PathBuf {
    directory.join("home")
}

/// Makes the directories of an instance anew, with what the template at `root` has in `source`. Blocks.
pub(super) fn prepare(directory: &Path, root: &Path) -> io::Result<()> {
    for part in [source(directory), home(directory)] {
        remove_all(&part)?;
        std::fs::DirBuilder::new().mode(0o700).create(&part)?;
    }
    copy_tree(&root.join("source"), &source(directory))
}

/// Where its process starts.
pub(super) fn start_directory(directory: &Path, below: &str) -> Result<PathBuf, CanNotStart> {
    let below = Path::new(below);
    let is_inside = below
        .components()
        .all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
    let start = source(directory).join(below);
    match is_inside && start.is_dir() {
        true => Ok(start),
        false => Err(CanNotStart(format!(
            "the template starts in \"{}\", which is no directory of its workspace",
            below.display()
        ))),
    }
}

/// Copies a tree as it is. What is there is somebody else's: no link in it is followed, and nothing is opened but files.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (Beneath::open(from)?, Beneath::open(to)?);
    let mut waiting = vec![PathBuf::new()];
    while let Some(relative) = waiting.pop() {
        let (source, target) = (from.directory(&relative)?, to.make(&relative)?);
        for (name, is_directory) in source.entries()? {
            let below = relative.join(&name);
            let path = source.path().join(&name);
            let metadata = std::fs::symlink_metadata(&path)?;
            if is_directory {
                waiting.push(below);
            } else if metadata.file_type().is_symlink() {
                target.symlink(&name, &std::fs::read_link(&path)?)?;
            } else if metadata.is_file() {
                let mode = metadata.permissions().mode();
                let copy = target.create(&name, mode | 0o600)?;
                copy_file(&path, &copy)?;
            } else if metadata.file_type().is_fifo() || metadata.file_type().is_socket() {
                // Of no use in a copy.
            }
        }
    }
    Ok(())
}

fn copy_file(from: &Path, mut to: &File) -> io::Result<u64> {
    let mut from = clusterrunner_common::disk::regular_file::open_itself(from)?;
    io::copy(&mut from, &mut to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_copy_has_files_modes_and_links_and_follows_none() {
        let place = tempfile::tempdir().unwrap();
        let (root, directory) = (place.path().join("t"), place.path().join("i"));
        let source_of_all = root.join("source");
        std::fs::create_dir_all(source_of_all.join("a/b")).unwrap();
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(source_of_all.join("a/b/run"), "#!/bin/sh\n").unwrap();
        let mode = std::fs::Permissions::from_mode(0o555);
        std::fs::set_permissions(source_of_all.join("a/b/run"), mode).unwrap();
        symlink("/etc", source_of_all.join("out")).unwrap();
        symlink("a/b", source_of_all.join("in")).unwrap();
        for _ in 0..2 {
            prepare(&directory, &root).unwrap();
            let copy = source(&directory);
            let run = std::fs::metadata(copy.join("a/b/run")).unwrap();
            assert_eq!(run.permissions().mode() & 0o777, 0o755);
            assert_eq!(
                std::fs::read_link(copy.join("out")).unwrap(),
                Path::new("/etc")
            );
            assert_eq!(
                std::fs::read_link(copy.join("in")).unwrap(),
                Path::new("a/b")
            );
            std::fs::write(copy.join("new"), "").unwrap();
        }
        assert!(!source_of_all.join("new").exists());
        assert!(start_directory(&directory, "a/b").is_ok());
        assert!(start_directory(&directory, "").is_ok());
        for wrong in ["../home", "/etc", "a/none", "a/b/run"] {
            start_directory(&directory, wrong).unwrap_err();
        }
    }
}
