//! What is seen of the file system behind the walls: all of it read-only, some of it not at all, and few places as they are.

use super::{Walls, calls, failed};
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change,
    move_mount, open_tree,
};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Where programs put what is for themselves alone.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
const SHARED_MEMORY: &str = "/dev/shm";

/// Rooms for directories, and no more.
const COVER: &core::ffi::CStr = c"mode=0755,size=4m";

/// A place as it is outside.
struct Kept<'a> {
    mount: OwnedFd,
    path: &'a Path,
    is_directory: bool,
    is_writable: bool,
}

/// To be called by the first process of a process namespace, which may mount.
pub(super) fn put_up(walls: &Walls) -> Result<(), String> {
    let unshared = calls::unshare(libc::CLONE_NEWNS);
    unshared.map_err(|error| failed("see mounts of its own", None, error))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    let private = mount_change("/", private);
    private.map_err(|error| failed("keep mounts to itself", None, error))?;
    let writable = walls.writable.iter().map(|path| (path.as_path(), true));
    let readable = walls.readable.iter().map(|path| (path.as_path(), false));
    let mut kept = Vec::new();
    for (path, is_writable) in readable.chain(writable) {
        kept.extend(Kept::find(path, is_writable)?);
    }
    // What lies in another one comes behind it.
    kept.sort_by_key(|kept| kept.path);
    let temporary: Result<Vec<OwnedFd>, String> =
        TEMPORARY.iter().map(|_| copy(&walls.temporary)).collect();
    let empty = |_: &Path| copy(&walls.empty);
    let hidden_files = walls.hidden.iter().filter(|path| path.is_file());
    let hidden_files: Result<Vec<_>, String> = hidden_files
        .map(|path| Ok((path.as_path(), empty(path)?)))
        .collect();
    let hidden_files = hidden_files?;
    let read_only = calls::set_read_only(Path::new("/"), true);
    read_only.map_err(|error| {
        failed(
            "make the file system read-only (Linux 5.12 can)",
            None,
            error,
        )
    })?;
    for (path, mount) in TEMPORARY.iter().zip(temporary?) {
        if Path::new(path).is_dir() {
            put(mount, Path::new(path))?;
        }
    }
    if Path::new(SHARED_MEMORY).is_dir() {
        cover(Path::new(SHARED_MEMORY), c"mode=1777")?;
    }
    let mut covered: Vec<&Path> = Vec::new();
    for path in &walls.hidden {
        // What lies in a hidden place is not there any more.
        if path.is_dir() {
            cover(path, COVER)?;
            covered.push(path);
        }
    }
    for (path, mount) in hidden_files {
        if path.exists() {
            put(mount, path)?;
        }
    }
    for kept in kept {
        kept.put_back()?;
    }
    for path in covered {
        let closed = calls::set_read_only(path, false);
        closed.map_err(|error| failed("close", Some(path), error))?;
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let seen = mount(c"proc", c"/proc", c"proc", flags, None::<&core::ffi::CStr>);
    seen.map_err(|error| {
        failed(
            "show it its own processes alone in",
            Some(Path::new("/proc")),
            error,
        )
    })?;
    // Nothing leads from this process to what is below the covers.
    std::env::set_current_dir("/").map_err(|error| failed("enter", Some(Path::new("/")), error))
}

fn copy(path: &Path) -> Result<OwnedFd, String> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags).map_err(|error| failed("keep in sight", Some(path), error))
}

fn put(mount: OwnedFd, path: &Path) -> Result<(), String> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    let moved = move_mount(mount, c"", CWD, path, flags);
    moved.map_err(|error| failed("show", Some(path), error))
}

/// Puts an empty directory over this one.
fn cover(path: &Path, options: &core::ffi::CStr) -> Result<(), String> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let covered = mount(c"tmpfs", path, c"tmpfs", flags, Some(options));
    covered.map_err(|error| failed("hide", Some(path), error))
}

impl<'a> Kept<'a> {
    fn find(path: &'a Path, is_writable: bool) -> Result<Option<Self>, String> {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("find", Some(path), error)),
        };
        Ok(Some(Self {
            mount: copy(path)?,
            path,
            is_directory: found.is_dir(),
            is_writable,
        }))
    }

    fn put_back(self) -> Result<(), String> {
        let made = self.make_place();
        made.map_err(|error| failed("make a place for", Some(self.path), error))?;
        put(self.mount, self.path)?;
        if !self.is_writable {
            let closed = calls::set_read_only(self.path, true);
            closed.map_err(|error| failed("close", Some(self.path), error))?;
        }
        Ok(())
    }

    fn make_place(&self) -> io::Result<()> {
        if self.path.exists() {
            return Ok(());
        }
        let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o755).create(path);
        if self.is_directory {
            return make(self.path);
        }
        self.path.parent().map_or(Ok(()), make)?;
        File::create(self.path).map(drop)
    }
}
