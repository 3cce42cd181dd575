//! Copying files and trees into the directory of a template. Links are copied as links, and none is followed in the
//! place that is written to.

use super::error::{BuildError, at};
use super::say;
use super::tree::{Into, walk};
use clusterrunner_common::disk::beneath::Beneath;
use clusterrunner_common::disk::regular_file;
use std::ffi::OsStr;
use std::fs::{FileTimes, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Copies a whole workspace.
pub(super) fn copy_workspace(from: &Path, to: &Path) -> Result<(), BuildError> {
    let opened = Beneath::open(to).map_err(at("open", to))?;
    copy_tree(from, &opened, Path::new(""), to)
}

/// Copies what is in a directory into another, `to` beneath `root`, and replaces what is there. Where that other one,
/// at `place`, is in the first, it is not copied into itself.
pub(super) fn copy_tree(
    from: &Path,
    root: &Beneath,
    to: &Path,
    place: &Path,
) -> Result<(), BuildError> {
    root.make(to).map_err(at("make", to))?;
    walk(from, |relative, metadata| {
        let (source, target) = (from.join(relative), to.join(relative));
        if source == place {
            return Ok(Into::No);
        }
        if metadata.is_dir() {
            make_directory(root, &target, metadata).map_err(at("make", &target))?;
        } else {
            copy_entry(&source, metadata, root, &target)?;
        }
        Ok(Into::Yes)
    })
}

fn make_directory(root: &Beneath, target: &Path, metadata: &Metadata) -> io::Result<()> {
    let made = match root.make(target) {
        Err(_) if replaces_file(root, target)? => root.make(target)?,
        made => made?,
    };
    // What is made in it needs these.
    let mode = (metadata.permissions().mode() | 0o700) & 0o777;
    std::fs::set_permissions(made.path(), PermissionsExt::from_mode(mode))
}

/// Takes a file or link away that stands where a directory is to be.
fn replaces_file(root: &Beneath, target: &Path) -> io::Result<bool> {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Ok(false);
    };
    root.directory(parent)?.remove(name)?;
    Ok(true)
}

/// Copies one file or link under a name beneath `root`. Its directory is made where it is missing.
pub(super) fn copy_entry(
    source: &Path,
    metadata: &Metadata,
    root: &Beneath,
    target: &Path,
) -> Result<(), BuildError> {
    let kind = metadata.file_type();
    if !kind.is_file() && !kind.is_symlink() {
        say(&format!(
            "{} is no file and no link, and is left out.",
            source.display()
        ));
        return Ok(());
    }
    let copied = || {
        let above = target.parent().unwrap_or(Path::new(""));
        let directory = root.make(above)?;
        let name = target.file_name().unwrap_or(OsStr::new(""));
        // A directory stays, as where images are built, and then nothing can be made in its place.
        if directory
            .stat(name)
            .is_ok_and(|found| !is_directory(&found))
        {
            directory.remove(name)?;
        }
        if kind.is_symlink() {
            return directory.symlink(name, &std::fs::read_link(source)?);
        }
        let mut from = regular_file::open_itself(source)?;
        let mode = metadata.permissions().mode() & 0o777;
        let mut to = directory.create(name, 0o600)?;
        io::copy(&mut from, &mut to)?;
        to.set_permissions(PermissionsExt::from_mode(mode))?;
        to.set_times(FileTimes::new().set_modified(metadata.modified()?))
    };
    copied().map_err(at("copy", source))
}

fn is_directory(found: &rustix::fs::Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::Directory
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_is_copied_as_it_is_and_through_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a/out")).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(from.join("a/run"), "new").unwrap();
        fs::write(from.join("a/out/file"), "x").unwrap();
        fs::set_permissions(from.join("a/run"), PermissionsExt::from_mode(0o755)).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        // What is in the way.
        fs::create_dir(to.join("a")).unwrap();
        fs::write(to.join("a/run"), "old and longer").unwrap();
        symlink(folder.path().join("outside"), to.join("a/out")).unwrap();
        copy_workspace(&from, &to).unwrap();
        copy_workspace(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/run")).unwrap(), "new");
        let run = fs::metadata(to.join("a/run")).unwrap();
        assert_eq!(run.permissions().mode() & 0o777, 0o755);
        let times = fs::metadata(from.join("a/run"))
            .unwrap()
            .modified()
            .unwrap();
        assert_eq!(run.modified().unwrap(), times);
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("/etc/passwd")
        );
        assert!(to.join("a/out/file").is_file() && !to.join("socket").exists());
        assert_eq!(
            fs::read_dir(folder.path().join("outside")).unwrap().count(),
            0
        );
    }
}
