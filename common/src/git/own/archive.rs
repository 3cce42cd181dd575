//! Reading an archive of files that nobody vouches for into git's objects. Nothing of it is written under its own name.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use git2::{ObjectType, Odb, Oid};
use tar::EntryType;
use tokio_util::sync::CancellationToken;

use super::{FILE, LINK, PROGRAM};
use crate::git::GitLimits;
use crate::git::tree_names::{shown, what_is_wrong};
use crate::git::trouble::Trouble;
use crate::results::links::{Links, Verdict};
use crate::results::tar_reader::{Member, TarReader};

/// The longest name that file systems have.
const LONGEST_NAME: usize = 255;

/// The longest path; systems take 4,096 bytes with the workspace before it.
const LONGEST_PATH: usize = 3072;

/// The longest target of a symbolic link.
const LONGEST_TARGET: usize = 4095;

/// The most bytes behind the end of an archive; programs fill it up to some kilobytes.
const MOST_PADDING: u64 = 1 << 20;

/// How much of a file is copied at a time.
const PIECE: usize = 64 << 10;

/// Files by their paths: mode and object.
pub(super) type Tree = BTreeMap<Vec<u8>, (u32, Oid)>;

/// What is wrong with an archive. The text goes to its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It is no gzip of a tar, or ends too early.
    #[error("The archive can not be read: {0}. Send a whole .tar.gz.")]
    Unreadable(String),
    /// It has what code may not have.
    #[error("The archive is refused: {0}.")]
    Refused(String),
    /// It is larger than the settings allow.
    #[error("The archive is refused: {0}.")]
    TooLarge(String),
}

/// Why an archive was not read to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stopped {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("canceled")]
    Canceled,
    /// Its objects can not be written.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// Reads an archive to its end.
pub(super) fn read(
    archive: impl Read,
    objects: &Odb<'_>,
    limits: GitLimits,
    cancel: &CancellationToken,
) -> Result<Tree, Stopped> {
    let unzipped = MultiGzDecoder::new(BufReader::with_capacity(PIECE, archive));
    let mut reading = Reading {
        tar: TarReader::new(unzipped),
        objects,
        limits,
        tree: Tree::new(),
        links: Links::default(),
        members: 0,
        bytes: 0,
        cancel,
    };
    while let Some(member) = reading.tar.next_member().map_err(unreadable)? {
        reading.take(&member)?;
    }
    if let Some(link) = reading.links.leading_out().into_iter().min() {
        return Err(leads_out(link.as_os_str().as_bytes()));
    }
    // Only the end tells that nothing of the gzip is missing.
    let mut rest = reading.tar.into_inner().take(MOST_PADDING + 1);
    let padding = io::copy(&mut rest, &mut io::sink()).map_err(unreadable)?;
    match padding > MOST_PADDING {
        true => Err(refused("there is more behind the end of its tar")),
        false => Ok(reading.tree),
    }
}

fn unreadable(error: io::Error) -> Stopped {
    let reason = match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => error.to_string(),
    };
    ArchiveError::Unreadable(reason).into()
}

fn refused(reason: impl Into<String>) -> Stopped {
    ArchiveError::Refused(reason.into()).into()
}

fn too_large(reason: String) -> Stopped {
    ArchiveError::TooLarge(reason).into()
}

fn leads_out(path: &[u8]) -> Stopped {
    let path = shown(path);
    refused(format!(
        "its link \"{path}\" leads out of it; use links with relative targets inside"
    ))
}

struct Reading<'a, R> {
    tar: TarReader<R>,
    objects: &'a Odb<'a>,
    limits: GitLimits,
    tree: Tree,
    links: Links,
    members: u64,
    /// Of all contents, also of those that are skipped.
    bytes: u64,
    cancel: &'a CancellationToken,
}

impl<R: Read> Reading<'_, R> {
    fn take(&mut self, member: &Member) -> Result<(), Stopped> {
        if self.cancel.is_cancelled() {
            return Err(Stopped::Canceled);
        }
        self.count(member)?;
        let name = member.path.as_os_str().as_bytes();
        match member.kind {
            // What `git archive` puts in front.
            EntryType::XGlobalHeader => return Ok(()),
            EntryType::Regular | EntryType::Continuous if !name.ends_with(b"/") => {}
            EntryType::Regular | EntryType::Continuous | EntryType::Directory => {
                let path = self.path(name)?;
                return self.directory(&path);
            }
            EntryType::Symlink | EntryType::Link => {}
            _ => {
                let name = shown(name);
                return Err(refused(format!(
                    "its member \"{name}\" is a device, a pipe or something else that is no file"
                )));
            }
        }
        let path = self.path(name)?;
        if path.is_empty() {
            return Err(refused("a file of it has no name"));
        }
        self.check_place(&path)?;
        let entry = match member.kind {
            EntryType::Symlink => self.link(&path, member)?,
            EntryType::Link => self.same_file(&path, member)?,
            _ => self.file(&path, member)?,
        };
        self.tree.insert(path, entry);
        Ok(())
    }

    /// Before anything of its content is read.
    fn count(&mut self, member: &Member) -> Result<(), Stopped> {
        let limits = self.limits;
        self.members += 1;
        if self.members > limits.entries {
            let most = limits.entries;
            return Err(too_large(format!(
                "it has more than {most} files and directories (setting git_max_entries)"
            )));
        }
        if member.size > limits.file_bytes {
            let (bytes, most) = (member.size, limits.file_bytes);
            let name = shown(member.path.as_os_str().as_bytes());
            return Err(too_large(format!(
                "its file \"{name}\" has {bytes} bytes, and {most} are allowed (setting git_max_file_bytes)"
            )));
        }
        self.bytes = self.bytes.saturating_add(member.size);
        if self.bytes > limits.work_tree_bytes {
            let most = limits.work_tree_bytes;
            return Err(too_large(format!(
                "its files have more than {most} bytes (setting git_max_work_tree_bytes)"
            )));
        }
        Ok(())
    }

    /// The path of a member as git has it; empty for the top.
    fn path(&self, name: &[u8]) -> Result<Vec<u8>, Stopped> {
        let wrong = |reason: &str| {
            let name = shown(name);
            refused(format!("the name \"{name}\" {reason}"))
        };
        if name.starts_with(b"/") {
            return Err(wrong("begins with a slash; names are relative"));
        }
        let parts = name.split(|byte| *byte == b'/');
        let parts: Vec<&[u8]> = parts
            .filter(|part| !part.is_empty() && *part != b".")
            .collect();
        for part in &parts {
            if part.eq_ignore_ascii_case(b".git") {
                return Err(wrong(
                    "is in git's own directory; leave that out (tar --exclude=.git)",
                ));
            }
            if let Some(reason) = what_is_wrong(part) {
                return Err(wrong(reason));
            }
            if part.len() > LONGEST_NAME {
                return Err(wrong("has a part of more than 255 bytes"));
            }
        }
        if parts.len() > self.limits.depth as usize {
            let most = self.limits.depth;
            return Err(too_large(format!(
                "its directories are nested more than {most} deep (setting git_max_depth)"
            )));
        }
        let path = parts.join(&b'/');
        match path.len() > LONGEST_PATH {
            true => Err(wrong("is longer than 3,072 bytes")),
            false => Ok(path),
        }
    }

    fn directory(&mut self, path: &[u8]) -> Result<(), Stopped> {
        let is_free = self.links.directory(as_path(path)).is_ok();
        match is_free && !self.tree.contains_key(path) {
            true => Ok(()),
            false => Err(taken(path)),
        }
    }

    /// Nothing lies below a file or a link, and no directory is one at the same time.
    fn check_place(&self, path: &[u8]) -> Result<(), Stopped> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (at, _) in slashes {
            if self.tree.contains_key(&path[..at]) {
                return Err(taken(path));
            }
        }
        let below = [path, b"/"].concat();
        let next = self.tree.range(below.clone()..).next();
        match next.is_some_and(|(next, _)| next.starts_with(&below)) {
            true => Err(taken(path)),
            false => Ok(()),
        }
    }

    fn file(&mut self, path: &[u8], member: &Member) -> Result<(u32, Oid), Stopped> {
        let is_free = self.links.file(as_path(path)).is_ok();
        if !is_free {
            return Err(taken(path));
        }
        let is_program = member.mode.is_some_and(|mode| mode & 0o111 != 0);
        let mode = if is_program { PROGRAM } else { FILE };
        let size = usize::try_from(member.size).unwrap_or(usize::MAX);
        let writer = self.objects.writer(size, ObjectType::Blob);
        let mut writer = writer.map_err(Trouble::from)?;
        let mut piece = vec![0; PIECE.min(size.max(1))];
        loop {
            if self.cancel.is_cancelled() {
                return Err(Stopped::Canceled);
            }
            let read = match self.tar.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(unreadable)?,
            };
            let Some(read) = piece.get(..read).filter(|read| !read.is_empty()) else {
                break;
            };
            writer.write_all(read).map_err(Trouble::from)?;
        }
        Ok((mode, writer.finalize().map_err(Trouble::from)?))
    }

    fn link(&mut self, path: &[u8], member: &Member) -> Result<(u32, Oid), Stopped> {
        let target = member.target.clone().unwrap_or_default();
        let bytes = target.as_os_str().as_bytes();
        if bytes.contains(&0) || bytes.len() > LONGEST_TARGET {
            let path = shown(path);
            return Err(refused(format!(
                "the target of its link \"{path}\" is longer than 4,095 bytes or has a NUL character"
            )));
        }
        match self.links.link(as_path(path), &target) {
            Ok(Verdict::Inside | Verdict::Open) => {}
            Ok(Verdict::Outside) => return Err(leads_out(path)),
            Err(_) => return Err(taken(path)),
        }
        let id = self.objects.write(ObjectType::Blob, bytes);
        Ok((LINK, id.map_err(Trouble::from)?))
    }

    /// A second name of a file that came before.
    fn same_file(&mut self, path: &[u8], member: &Member) -> Result<(u32, Oid), Stopped> {
        let target = member.target.clone().unwrap_or_default();
        let target = self.path(target.as_os_str().as_bytes())?;
        let Some((mode, id)) = self.tree.get(&target).copied() else {
            let (path, target) = (shown(path), shown(&target));
            return Err(refused(format!(
                "its member \"{path}\" is another name of \"{target}\", which does not come before it"
            )));
        };
        if mode == LINK {
            let path = shown(path);
            return Err(refused(format!(
                "its member \"{path}\" is another name of a symbolic link"
            )));
        }
        match self.links.file(as_path(path)) {
            Ok(()) => Ok((mode, id)),
            Err(_) => Err(taken(path)),
        }
    }
}

fn taken(path: &[u8]) -> Stopped {
    let path = shown(path);
    refused(format!(
        "\"{path}\" is a file or link and a directory at the same time, or lies below one"
    ))
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path))
}
