//! Directories whose content others control: every place beneath one is opened without following links, and whole trees
//! are removed without recursion.
//!
//! A path that was checked and is then used by its name may lead elsewhere meanwhile, or did from the start: a component
//! of it can be a symbolic link. Here the kernel sees to it (`openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`);
//! where it can not, each component is opened by itself with `O_NOFOLLOW`. How deep a tree is costs memory and no stack,
//! and two descriptors.

mod parents;

pub use parents::Parents;

use super::regular_file::open_itself;
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fchmod, fchown, fstat,
    linkat, mkdirat, openat, openat2, readlinkat, renameat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

/// How often a path is looked up again when something beneath is renamed meanwhile.
const LOOKUPS: usize = 32;

/// What a directory needs so that its owner can list and change it.
const OWNER: Mode = Mode::RWXU;

/// An open directory.
#[derive(Debug)]
pub struct Beneath(OwnedFd);

impl Beneath {
    /// Opens the directory at the top. Links in its path are followed: they are the operator's, or the user's own.
    ///
    /// # Errors
    /// The system's.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = directory().difference(OFlags::NOFOLLOW);
        Ok(Self(openat(rustix::fs::CWD, root, flags, Mode::empty())?))
    }

    /// The same, and the last name in the path must be no link: what is there was made by this program.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open_own(root: &Path) -> io::Result<Self> {
        Ok(Self(openat(
            rustix::fs::CWD,
            root,
            directory(),
            Mode::empty(),
        )?))
    }

    /// Opens a directory beneath.
    ///
    /// # Errors
    /// The system's; `ELOOP` or `ENOTDIR` where a component is a link, `EXDEV` where the path leads out.
    pub fn directory(&self, relative: &Path) -> io::Result<Self> {
        if relative.as_os_str().is_empty() {
            return Ok(Self(self.0.try_clone()?));
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        for _ in 0..LOOKUPS {
            match openat2(&self.0, relative, directory(), Mode::empty(), resolve) {
                Ok(opened) => return Ok(Self(opened)),
                Err(Errno::AGAIN) => {}
                // Kernels before 5.6 do not have it, and sandboxes may forbid it.
                Err(Errno::NOSYS | Errno::PERM) => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.walk(relative, false)
    }

    /// Opens a directory beneath, and makes it and those on the way where they are missing.
    ///
    /// # Errors
    /// As [`directory`](Self::directory).
    pub fn make(&self, relative: &Path) -> io::Result<Self> {
        self.walk(relative, true)
    }

    fn walk(&self, relative: &Path, make: bool) -> io::Result<Self> {
        let mut at = self.0.try_clone()?;
        for component in relative.components() {
            let name = match component {
                Component::Normal(name) => name,
                Component::CurDir => continue,
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(Errno::XDEV.into());
                }
            };
            if make {
                match mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            at = openat(&at, name, directory(), Mode::empty())?;
        }
        Ok(Self(at))
    }

    /// A path to this very directory, whatever becomes of its name, for what takes only paths. Good as long as this value.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Its entries in any order: name, and whether it is a directory (a link to one is none).
    ///
    /// # Errors
    /// The system's.
    pub fn entries(&self) -> io::Result<Vec<(OsString, bool)>> {
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let is_directory = match entry.file_type() {
                FileType::Directory => true,
                // Some file systems do not tell.
                FileType::Unknown => is_directory(self.0.as_fd(), name)?,
                _ => false,
            };
            found.push((name.to_owned(), is_directory));
        }
        Ok(found)
    }

    /// What the system knows of an entry, not of what it may link to.
    ///
    /// # Errors
    /// The system's.
    pub fn stat(&self, name: &OsStr) -> io::Result<rustix::fs::Stat> {
        Ok(rustix::fs::statat(
            &self.0,
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Makes a new file of this name, which is no path. Whatever has the name is neither opened nor followed.
    ///
    /// # Errors
    /// The system's; `EEXIST` where there is something.
    pub fn create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&self.0, one_name(name)?, flags, Mode::from_raw_mode(mode))?;
        Ok(File::from(file))
    }

    /// Makes a symbolic link of this name. Where it leads is not looked at.
    ///
    /// # Errors
    /// The system's; `EEXIST` where there is something.
    pub fn symlink(&self, name: &OsStr, target: &Path) -> io::Result<()> {
        Ok(symlinkat(target, &self.0, one_name(name)?)?)
    }

    /// Gives an entry of another directory a second name here. A link is not followed.
    ///
    /// # Errors
    /// The system's; `EEXIST` where there is something.
    pub fn hard_link(&self, name: &OsStr, directory: &Self, entry: &OsStr) -> io::Result<()> {
        let (from, to) = (one_name(entry)?, one_name(name)?);
        Ok(linkat(&directory.0, from, &self.0, to, AtFlags::empty())?)
    }

    /// Takes an entry out of another directory on the same file system, with all that is beneath it. What has the name
    /// here goes, if it is no directory with something in it. A link is not followed.
    ///
    /// # Errors
    /// The system's.
    pub fn take(&self, directory: &Self, entry: &OsStr) -> io::Result<()> {
        let name = one_name(entry)?;
        Ok(renameat(&directory.0, name, &self.0, name)?)
    }

    /// Opens an entry that must be a regular file, and no link to one, for reading.
    ///
    /// # Errors
    /// The system's; or it is something else: [`NoFile`](super::regular_file::NoFile).
    pub fn open_file(&self, name: &OsStr) -> io::Result<File> {
        open_itself(&self.path().join(one_name(name)?))
    }

    /// Where an entry leads that is a symbolic link.
    ///
    /// # Errors
    /// The system's; `EINVAL` where it is none.
    pub fn link_target(&self, name: &OsStr) -> io::Result<PathBuf> {
        let target = readlinkat(&self.0, one_name(name)?, Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// Gives this directory to a user and a group.
    ///
    /// # Errors
    /// The system's.
    pub fn give(&self, uid: u32, gid: u32) -> io::Result<()> {
        Ok(fchown(
            &self.0,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
        )?)
    }

    /// The same for an entry, if it is still there. A link is not followed, and what has several names is not given. What is
    /// looked at is what is given, whatever takes its name meanwhile.
    ///
    /// # Errors
    /// The system's.
    pub fn give_entry(&self, name: &OsStr, uid: u32, gid: u32) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = match openat(&self.0, one_name(name)?, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened?,
        };
        let found = fstat(&entry)?;
        if found.st_nlink != 1 || (found.st_uid, found.st_gid) == (uid, gid) {
            return Ok(());
        }
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(chownat(&entry, "", uid, gid, AtFlags::EMPTY_PATH)?)
    }

    /// Removes an entry with all that is beneath it. It is no error if there is none.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        remove_at(self.0.as_fd(), name)
    }
}

/// A name that leads nowhere else.
fn one_name(name: &OsStr) -> io::Result<&OsStr> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(one)), None) if one == name => Ok(name),
        _ => Err(Errno::XDEV.into()),
    }
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn is_directory(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(FileType::from_raw_mode(found.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Removes a directory tree, a link or a file, also where its owner has taken away the permission to. It is no error if
/// there is nothing. Blocks.
///
/// # Errors
/// The system's.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    // What lies there is the operator's; only from the name on it is somebody else's. To be passed through is all that
    // it needs.
    let above = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(rustix::fs::CWD, parent, above, Mode::empty()) {
        Ok(parent) => remove_at(parent.as_fd(), name),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A directory on the way down.
struct Level {
    name: OsString,
    /// Device and inode: what `..` must lead back to.
    id: (u64, u64),
    /// The directories in it that are still there.
    left: Vec<OsString>,
}

impl Level {
    /// Looks into a directory that was just opened, and removes all of it that is no directory.
    fn enter(name: OsString, opened: &OwnedFd) -> io::Result<Self> {
        let found = fstat(opened)?;
        if Mode::from_raw_mode(found.st_mode) & OWNER != OWNER {
            // If it is not ours, what follows says so.
            fchmod(opened, Mode::from_raw_mode(found.st_mode) | OWNER).ok();
        }
        let here = Beneath(opened.try_clone()?);
        let mut left = Vec::new();
        for (entry, is_directory) in here.entries()? {
            match is_directory {
                true => left.push(entry),
                false => unlink(opened.as_fd(), &entry, AtFlags::empty())?,
            }
        }
        Ok(Self {
            name,
            id: id(&found),
            left,
        })
    }
}

fn id(found: &rustix::fs::Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

fn unlink(parent: BorrowedFd<'_>, name: &OsStr, flags: AtFlags) -> io::Result<()> {
    match unlinkat(parent, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Opens a directory that is to be emptied; `None` if it is not there any more.
fn enter(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    match openat(parent, name, directory(), Mode::empty()) {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let locked = openat(parent, name, flags, Mode::empty())?;
            // Such a descriptor takes no `fchmod`, and a path would follow links.
            let path = format!("/proc/self/fd/{}", locked.as_raw_fd());
            rustix::fs::chmod(path.as_str(), OWNER)?;
            Ok(Some(openat(parent, name, directory(), Mode::empty())?))
        }
        Err(error) => Err(error.into()),
    }
}

fn remove_at(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    if !is_directory(parent, name)? {
        return unlink(parent, name, AtFlags::empty());
    }
    let Some(mut at) = enter(parent, name)? else {
        return Ok(());
    };
    let mut levels = vec![Level::enter(name.to_owned(), &at)?];
    while let Some(level) = levels.last_mut() {
        if let Some(next) = level.left.pop() {
            if let Some(opened) = enter(at.as_fd(), &next)? {
                levels.push(Level::enter(next, &opened)?);
                at = opened;
            }
            continue;
        }
        let Some(empty) = levels.pop() else { break };
        let Some(above) = levels.last() else {
            return unlink(parent, &empty.name, AtFlags::REMOVEDIR);
        };
        // One descriptor for each level would be too many.
        let up = openat(&at, "..", directory(), Mode::empty())?;
        if id(&fstat(&up)?) != above.id {
            return Err(io::Error::other(
                "a directory was moved while it was removed",
            ));
        }
        unlink(up.as_fd(), &empty.name, AtFlags::REMOVEDIR)?;
        at = up;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    /// Deeper than a thread's stack would carry and than a path may be long.
    fn deep(root: &Path, depth: usize) {
        let mut at = Beneath::open(root).unwrap();
        for _ in 0..depth {
            at = at.make(Path::new("a-directory")).unwrap();
        }
        fs::write(at.path().join("file"), "").unwrap();
    }

    #[test]
    fn a_tree_of_any_depth_is_removed_with_few_descriptors() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir(&tree).unwrap();
        deep(&tree, 1_500);
        let stack = std::thread::Builder::new().stack_size(64 << 10);
        let removed = stack.spawn(move || remove_all(&tree)).unwrap();
        removed.join().unwrap().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_given_has_one_name_and_is_no_target_of_a_link() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["file", "two", "outside"] {
            fs::write(path(name), "").unwrap();
        }
        fs::hard_link(path("two"), path("other")).unwrap();
        symlink("outside", path("link")).unwrap();
        let here = Beneath::open(folder.path()).unwrap();
        let give = |name: &str, id| here.give_entry(OsStr::new(name), id, id);
        give("gone", 1).unwrap();
        assert!(give("../x", 1).is_err());
        // Only root may give anything away.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        for name in ["file", "two", "link"] {
            give(name, 12_345).unwrap();
        }
        let owner = |name| fs::symlink_metadata(path(name)).unwrap().uid();
        let owners = ["file", "two", "link", "outside"].map(owner);
        assert_eq!(owners, [12_345, 0, 12_345, 0]);
    }

    #[test]
    fn removing_follows_no_link_and_needs_no_permission() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, outside) = (folder.path().join("tree"), folder.path().join("outside"));
        fs::create_dir_all(tree.join("locked/inner")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        symlink(&outside, tree.join("locked/inner/link")).unwrap();
        for locked in ["locked/inner", "locked"] {
            fs::set_permissions(tree.join(locked), fs::Permissions::from_mode(0o0)).unwrap();
        }
        remove_all(&tree).unwrap();
        assert!(!tree.exists() && outside.join("kept").exists());
        symlink(&outside, &tree).unwrap();
        remove_all(&tree).unwrap();
        remove_all(&tree).unwrap();
        remove_all(&tree.join("nothing/at/all")).unwrap();
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn no_place_beneath_is_reached_through_a_link_or_upwards() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        symlink("../outside", root.join("out")).unwrap();
        symlink("a", root.join("in")).unwrap();
        let beneath = Beneath::open(&root).unwrap();
        beneath.directory(Path::new("a/b")).unwrap();
        beneath.make(Path::new("a/c/d")).unwrap();
        assert!(root.join("a/c/d").is_dir());
        for refused in ["out", "out/x", "in", "in/b", "..", "a/../..", "/"] {
            let path = Path::new(refused);
            assert!(beneath.directory(path).is_err(), "{refused}");
            assert!(beneath.walk(path, false).is_err(), "{refused}");
            assert!(beneath.make(path).is_err(), "{refused}");
        }
        assert!(!folder.path().join("outside/x").exists());
        symlink(&root, folder.path().join("link")).unwrap();
        Beneath::open(&folder.path().join("link")).unwrap();
        assert!(Beneath::open_own(&folder.path().join("link")).is_err());
    }

    #[test]
    fn what_is_made_goes_through_no_link_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        symlink("../outside", root.join("link")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let beneath = Beneath::open(&root).unwrap();
        for taken in ["link", "file"] {
            let name = OsStr::new(taken);
            assert!(beneath.create(name, 0o600).is_err(), "{taken}");
            assert!(beneath.symlink(name, Path::new("x")).is_err(), "{taken}");
            let linked = beneath.hard_link(name, &beneath, OsStr::new("file"));
            assert!(linked.is_err(), "{taken}");
        }
        for path in ["", ".", "..", "../x", "/x", "link/x", "x/"] {
            let name = OsStr::new(path);
            assert!(beneath.create(name, 0o600).is_err(), "{path}");
            assert!(beneath.symlink(name, Path::new("x")).is_err(), "{path}");
        }
        beneath
            .hard_link(OsStr::new("again"), &beneath, OsStr::new("file"))
            .unwrap();
        assert!(!folder.path().join("outside").exists());
        assert_eq!(fs::read_dir(&root).unwrap().count(), 3);
    }
}
