//! Opening what others may have put there: no open waits, and what is no regular file is not read.
//!
//! A pipe under the name of a file would keep a thread until a process writes to it, a device may never
//! end, and a link leads wherever its owner likes. Every open of a path that projects, atoms, peers or
//! users control goes through here.

use crate::text::shell::shell_word;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

/// What lies under a name is no regular file. Callers get it inside of an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is {0}, not a file")]
pub struct NoFile(pub &'static str);

/// A file is longer than is read of it. Callers get it inside of an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has more than {0} bytes")]
pub struct TooLong(pub u64);

/// Others than the owner can read a file with a secret in it. Callers get it inside of an [`io::Error`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it has mode {mode:03o}, so that others can read the secret in it; run: chmod 600 {}",
    shell_word(&.path.display().to_string())
)]
pub struct OpenToOthers {
    /// The file.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
}

/// Opens a regular file for reading. Links are followed: for paths whose directory is ours or the
/// user's, such as settings.
///
/// # Errors
/// It can not be opened, or is something else: [`NoFile`].
pub fn open(path: &Path) -> io::Result<File> {
    // Looked at before it is opened, since opening a device can have effects.
    check(&std::fs::metadata(path)?)?;
    opened(path, OFlags::empty())
}

/// As [`open`], but what lies under the name may not be a link. Links in the directories above are
/// followed.
///
/// # Errors
/// As [`open`].
pub fn open_itself(path: &Path) -> io::Result<File> {
    check(&std::fs::symlink_metadata(path)?)?;
    opened(path, OFlags::NOFOLLOW)
}

/// The content of a regular file of at most `max` bytes. Links are followed.
///
/// # Errors
/// As [`open`]; or it is longer: [`TooLong`].
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    read_opened(&open(path)?, max)
}

/// As [`read`], for text.
///
/// # Errors
/// As [`read`]; or it is no UTF-8 (`InvalidData`).
pub fn read_to_string(path: &Path, max: u64) -> io::Result<String> {
    text(read(path, max)?)
}

/// As [`read_to_string`], for a file with a secret in it, which must be closed to others. What root has given to a group
/// is closed, too.
///
/// # Errors
/// As [`read_to_string`]; or others can read it: [`OpenToOthers`].
pub fn read_secret(path: &Path, max: u64) -> io::Result<String> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode() & 0o777;
    if !is_closed(mode, metadata.uid(), geteuid().as_raw()) {
        let path = path.to_owned();
        let error = OpenToOthers { path, mode };
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, error));
    }
    text(read_opened(&file, max)?)
}

/// Whether only those read a file who are meant to, by its mode, its owner and the user of this process.
fn is_closed(mode: u32, owner: u32, me: u32) -> bool {
    // So Kubernetes mounts secrets for a user that is not root: root's, and a group of the pod may read them (0440). Only root
    // gives its files to a group, and this user is in that group or could not read the file: nobody has left it open by mistake,
    // and `chmod`, which would be the cure, is not this user's to run. A file of one's own, or of any third user, is closed to
    // its group as ever, as the usual umask would open it.
    let is_roots = owner == 0 && me != 0;
    let allowed = if is_roots { 0o740 } else { 0o700 };
    mode & !allowed == 0
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let error = error.utf8_error();
        io::Error::new(io::ErrorKind::InvalidData, error)
    })
}

/// The rest of an open file, which must be at most `max` bytes.
///
/// # Errors
/// It can not be read, or is longer: [`TooLong`].
pub(crate) fn read_opened(file: &File, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > max {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, TooLong(max))),
        false => Ok(bytes),
    }
}

/// Makes an empty file for writing, private to this user, in the place of whatever lies under the name
/// but a directory.
///
/// # Errors
/// It can not be made.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            options.open(path)
        }
        made => made,
    }
}

fn opened(path: &Path, flags: OFlags) -> io::Result<File> {
    // Without waiting, since a pipe could have come in between.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | flags;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    check_is_file(&file)?;
    Ok(file)
}

/// What is known of an open file, which must be a regular one.
///
/// # Errors
/// It is something else: [`NoFile`].
pub(crate) fn check_is_file(file: &File) -> io::Result<Metadata> {
    let metadata = file.metadata()?;
    check(&metadata)?;
    Ok(metadata)
}

fn check(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else {
        "a pipe, a socket or a device"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, NoFile(what)))
}

/// Opens `inside`, a path relative to `root`, without following a link anywhere in it and without
/// leaving `root`. Never waits. The caller checks what it is.
///
/// # Errors
/// It can not be opened, has a link in it, or climbs.
pub(crate) fn open_beneath(root: impl AsFd, inside: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let root = root.as_fd();
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, inside, flags, Mode::empty(), resolve) {
        // Kernels before 5.6, and sandboxes that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_part_by_part(root, inside, flags),
        opened => Ok(opened?),
    }
}

fn open_part_by_part(root: impl AsFd, inside: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = rustix::fs::openat(root, ".", way, Mode::empty())?;
    let mut parts = inside.components().peekable();
    while let Some(part) = parts.next() {
        let name = match part {
            Component::Normal(name) => name,
            Component::CurDir => continue,
            _ => return Err(Errno::XDEV.into()),
        };
        let flags = match parts.peek() {
            Some(_) => way,
            None => flags,
        };
        directory = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
        if parts.peek().is_none() {
            return Ok(directory);
        }
    }
    Ok(rustix::fs::openat(&directory, ".", flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn why(error: &io::Error) -> Option<&NoFile> {
        error.get_ref()?.downcast_ref()
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        symlink("file", path("link")).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), kind, Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        assert_eq!(read(&path("file"), 4).unwrap(), b"text");
        assert_eq!(read_to_string(&path("link"), 4).unwrap(), "text");
        assert!(open_itself(&path("file")).is_ok());
        let other = NoFile("a pipe, a socket or a device");
        for (name, expected) in [
            ("pipe", other),
            ("socket", other),
            (".", NoFile("a directory")),
        ] {
            assert_eq!(why(&open(&path(name)).unwrap_err()), Some(&expected));
            assert_eq!(why(&open_itself(&path(name)).unwrap_err()), Some(&expected));
        }
        let linked = open_itself(&path("link")).unwrap_err();
        assert_eq!(why(&linked), Some(&NoFile("a symbolic link")));
        assert_eq!(
            why(&open(Path::new("/dev/null")).unwrap_err()),
            Some(&other)
        );
        let missing = open(&path("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_too_long_or_no_text_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"tex\xff").unwrap();
        let error = read(&path, 3).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 3 bytes");
        let error = read_to_string(&path, 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_secret_is_read_from_a_file_that_is_closed_to_others_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a secret");
        std::fs::write(&path, "text").unwrap();
        let set = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, mode).unwrap();
        };
        for mode in [0o600, 0o400] {
            set(mode);
            assert_eq!(read_secret(&path, 4).unwrap(), "text", "{mode:o}");
        }
        for mode in [0o644, 0o640, 0o602] {
            set(mode);
            let error = read_secret(&path, 4).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{mode:o}");
            let cure = format!("chmod 600 '{}'", path.display());
            assert!(error.to_string().contains(&cure), "{error}");
        }
    }

    #[test]
    fn a_group_may_read_only_what_root_has_given_to_it() {
        for (mode, owner, me, expected) in [
            (0o600, 7, 7, true),
            (0o440, 7, 7, false),
            (0o440, 0, 7, true),
            (0o640, 0, 7, true),
            (0o440, 0, 0, false),
            (0o440, 8, 7, false),
            (0o444, 0, 7, false),
            (0o460, 0, 7, false),
            (0o450, 0, 7, false),
        ] {
            let closed = is_closed(mode, owner, me);
            assert_eq!(closed, expected, "{mode:o} of {owner} for {me}");
        }
    }

    #[test]
    fn a_file_is_made_in_the_place_of_whatever_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("x"), directory.path().join("other"));
        std::fs::write(&other, "mine").unwrap();
        symlink(&other, &path).unwrap();
        drop(create(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, Mode::RUSR, 0).unwrap();
        drop(create(&path).unwrap());
        assert_eq!(read(&path, 1).unwrap(), b"");
        assert_eq!(read(&other, 4).unwrap(), b"mine");
    }

    #[test]
    fn nothing_outside_is_opened_by_way_of_links() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir_all(root.join("sub/deep")).unwrap();
        std::fs::write(root.join("sub/deep/file"), "").unwrap();
        symlink("sub", root.join("inward")).unwrap();
        symlink("..", root.join("outward")).unwrap();
        let root = File::open(root).unwrap();
        let open_either = |by_parts: bool, inside: &str| {
            let (inside, flags) = (Path::new(inside), OFlags::RDONLY | OFlags::NOFOLLOW);
            match by_parts {
                true => open_part_by_part(&root, inside, flags),
                false => open_beneath(&root, inside, flags),
            }
        };
        for by_parts in [true, false] {
            let open = |inside: &str| open_either(by_parts, inside);
            for inside in [".", "sub", "./sub/deep/", "sub/deep/file"] {
                assert!(open(inside).is_ok(), "{inside}");
            }
            for inside in [
                "..",
                "sub/../..",
                "/",
                "outward",
                "inward",
                "inward/deep",
                "none",
            ] {
                assert!(open(inside).is_err(), "{inside}");
            }
        }
    }
}
