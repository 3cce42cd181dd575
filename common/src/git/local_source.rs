//! Fetching from a repository on this machine's disk: its object files are linked into the mirror.
//!
//! libgit2's own way (its local transport) packs all history anew, which takes ten times as long, and can not fetch a
//! commit that no ref leads to. Object files never change once written, so a hard link is as good as a copy; where
//! links are not possible (another disk, another owner) they are copied.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use git2::Repository;
use tokio_util::sync::CancellationToken;

use super::mirror_files::open_here;
use super::odd_files::refuse_pipes;
use super::remote_refs::Advertised;
use super::trouble::Trouble;
use crate::disk::regular_file;

/// A repository that is being repacked meanwhile loses files while we list them; then it is listed again.
const ATTEMPTS: usize = 5;

/// Alternates may have alternates; git follows five too.
const MAXIMUM_ALTERNATES: usize = 5;

/// The longest list of alternates, or of commits where history is cut off.
const MAXIMUM_LIST_BYTES: u64 = 16 << 20;

/// A repository opened where it lies.
pub(super) struct LocalSource {
    repository: Repository,
}

impl LocalSource {
    pub(super) fn open(path: &Path) -> Result<Self, Trouble> {
        refuse_pipes(path)?;
        match open_here(path) {
            Ok(repository) => Ok(Self { repository }),
            Err(_) if !path.exists() => Err(Trouble::NoDirectory),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Err(Trouble::NoRepository),
            Err(error) => Err(error.into()),
        }
    }

    /// Its refs. Read them before [`link_objects`](Self::link_objects): then all they lead to is linked.
    pub(super) fn refs(&self) -> Result<Advertised, git2::Error> {
        let mut entries = Vec::new();
        if let Ok(head) = self.repository.head()
            && let Some(oid) = head.target()
        {
            entries.push(("HEAD".to_owned(), oid));
        }
        for reference in self.repository.references()? {
            let reference = reference?;
            // A ref may be broken or have a name that is not UTF-8; the others are still good.
            let Ok(resolved) = reference.resolve() else {
                continue;
            };
            if let (Ok(name), Some(oid)) = (reference.name(), resolved.target()) {
                entries.push((name.to_owned(), oid));
            }
        }
        Ok(Advertised::collect(entries))
    }

    /// Makes all objects of this repository available in the mirror at `mirror`.
    ///
    /// # Errors
    /// The file and the system's reason; [`io::ErrorKind::Interrupted`] if canceled.
    pub(super) fn link_objects(&self, mirror: &Path, cancel: &CancellationToken) -> io::Result<()> {
        let objects = self.repository.commondir().join("objects");
        let mut attempt = 1;
        loop {
            match link_all(
                &objects,
                &mirror.join("objects"),
                MAXIMUM_ALTERNATES,
                cancel,
            ) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        // Where history was cut off when the source was cloned, it is cut off in the mirror.
        let cut_off = self.repository.commondir().join("shallow");
        match regular_file::read(&cut_off, MAXIMUM_LIST_BYTES) {
            Ok(ids) => fs::write(mirror.join("shallow"), ids),
            Err(_) => match fs::remove_file(mirror.join("shallow")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }
}

/// Loose objects first: they can only move into packs, which are listed afterwards.
fn link_all(
    from: &Path,
    to: &Path,
    alternates: usize,
    cancel: &CancellationToken,
) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_fan_out = name.len() == 2
            && name
                .to_string_lossy()
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit());
        if is_fan_out && entry.file_type()?.is_dir() {
            check(cancel)?;
            let to = to.join(&name);
            for object in regular_files(&entry.path())? {
                link(&object, &to)?;
            }
        }
    }
    check(cancel)?;
    let packs = regular_files(&from.join("pack"))?;
    // A pack is seen through its index: the pack itself must be there first.
    for extension in ["pack", "idx"] {
        for file in packs
            .iter()
            .filter(|file| file.extension().is_some_and(|found| found == extension))
        {
            check(cancel)?;
            link(file, &to.join("pack"))?;
        }
    }
    if alternates > 0
        && let Ok(list) =
            regular_file::read_to_string(&from.join("info/alternates"), MAXIMUM_LIST_BYTES)
    {
        for line in list
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            // Relative ones are relative to the objects directory (gitrepository-layout).
            link_all(&from.join(line), to, alternates - 1, cancel)?;
        }
    }
    Ok(())
}

fn check(cancel: &CancellationToken) -> io::Result<()> {
    if cancel.is_cancelled() {
        Err(io::ErrorKind::Interrupted.into())
    } else {
        Ok(())
    }
}

/// Symbolic links are left out: one could make the mirror hold any file of this machine (CVE-2022-39253).
fn regular_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let unfinished = entry.file_name().to_string_lossy().starts_with("tmp_");
        if !unfinished && entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn link(file: &Path, directory: &Path) -> io::Result<()> {
    let Some(name) = file.file_name() else {
        return Ok(());
    };
    let target = directory.join(name);
    match fs::hard_link(file, &target) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !directory.exists() => {
            fs::create_dir_all(directory)?;
            link(file, directory)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        Err(_) => {
            // Under another name until it is whole.
            let mut copy = tempfile::Builder::new()
                .prefix(".link-")
                .tempfile_in(directory)?;
            io::copy(&mut regular_file::open_itself(file)?, copy.as_file_mut())?;
            copy.as_file().sync_all()?;
            copy.persist(&target).map_err(|error| error.error)?;
            Ok(())
        }
    }
}
