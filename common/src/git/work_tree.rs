//! Work trees: directories that hold exactly the files of one commit.
//!
//! A work tree is linked to the mirror as `git worktree add` does it (gitrepository-layout): its `.git` is a file that
//! names a directory `worktrees/<name>` in the mirror, where its own `HEAD` and index are. So git programs that a build
//! runs in it find the history, and many work trees share one set of objects.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use git2::build::CheckoutBuilder;
use git2::{Index, IndexEntry, Oid, ResetType};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::error::{in_step, stop_if};
use super::limits::MAXIMUM_SUBMODULE_DEPTH;
use super::mirror_files::open_here;
use super::submodules::{FOLDER, Submodule, Submodules};
use super::tracked::{TimesOfChange, Tracked};
use super::tree_check::{TreeCheck, TreeError};
use super::{CommitId, GitError, Mirror, PackSource, SubmoduleProblem};
use crate::disk::beneath::remove_all;
use crate::disk::regular_file;

/// The longest file that says where a repository or a work tree is.
const LONGEST_LINK: u64 = 1 << 16;

/// Index flags with which a build can make git overlook changes: "assume valid", and in the second word "skip
/// worktree".
const ASSUME_VALID: u16 = 0x8000;
const SKIP_WORK_TREE: u16 = 0x4000;

/// What goes down through all submodules.
#[derive(Clone, Copy)]
struct CheckOut<'a> {
    cancel: &'a CancellationToken,
    /// Where submodules come from, unless it is their repositories.
    packs: Option<&'a dyn PackSource>,
}

impl Mirror {
    /// Makes `work_tree` hold exactly `commit`, which must have been fetched: tracked files as they were committed,
    /// nothing else beside them (also no ignored files and no nested repositories), submodules checked out, and fetched
    /// where needed. The directory is made if it is not there. `HEAD` is detached.
    ///
    /// Canceling is noticed between the steps, while trees are looked at and while a submodule is fetched, not while
    /// libgit2 writes files: daemons do this in a child process, which they end.
    ///
    /// # Errors
    /// [`GitError`]; afterwards the work tree may be in any state, and the next call mends it. A directory that holds
    /// files and was not made by this mirror is refused; files that a process has left unfinished that was killed do not
    /// count.
    pub fn check_out(
        &self,
        commit: &CommitId,
        work_tree: &Path,
        cancel: &CancellationToken,
    ) -> Result<(), GitError> {
        let how = CheckOut {
            cancel,
            packs: None,
        };
        self.check_out_inside(commit, work_tree, how, &[])
    }

    /// As [`check_out`](Self::check_out); submodules that are not here are taken from `packs`, not from their
    /// repositories.
    ///
    /// # Errors
    /// As there, and [`GitError::Pack`].
    pub fn check_out_with(
        &self,
        commit: &CommitId,
        work_tree: &Path,
        packs: &dyn PackSource,
        cancel: &CancellationToken,
    ) -> Result<(), GitError> {
        let packs = Some(packs);
        self.check_out_inside(commit, work_tree, CheckOut { cancel, packs }, &[])
    }

    /// Removes the work tree, and what the mirror knows of it and of its submodules. It is no error if there is none.
    ///
    /// # Errors
    /// [`GitError::WorkTree`] if a file can not be removed.
    pub fn remove_work_tree(&self, work_tree: &Path) -> Result<(), GitError> {
        let link = WorkTree::at(self.directory(), work_tree)?;
        remove_all(&link.path).map_err(in_step("remove", &link.path))?;
        forget_missing(self.directory());
        remove_all(&link.administration).map_err(in_step("remove", &link.administration))
    }

    /// Whether a directory is a work tree of this mirror, and of no other.
    pub(super) fn is_linked_to(&self, work_tree: &Path) -> bool {
        let Ok(link) = WorkTree::at(self.directory(), work_tree) else {
            return false;
        };
        let found = regular_file::read(&link.path.join(".git"), LONGEST_LINK);
        found.is_ok_and(|found| found == link.link_text())
    }

    /// `inside` are the paths of the submodules that lead here.
    fn check_out_inside(
        &self,
        commit: &CommitId,
        work_tree: &Path,
        how: CheckOut<'_>,
        inside: &[String],
    ) -> Result<(), GitError> {
        let cancel = how.cancel;
        let link = WorkTree::at(self.directory(), work_tree)?;
        let failed = |error: git2::Error| GitError::CheckOut {
            commit: commit.clone(),
            url: self.url().to_string(),
            work_tree: link.path.clone(),
            reason: error.message().to_owned(),
        };
        let mirror = self.open()?;
        let oid = commit.to_oid().map_err(failed)?;
        let tree = mirror
            .find_commit(oid)
            .and_then(|commit| commit.tree())
            .map_err(|error| GitError::CommitMissing {
                hash: commit.to_string(),
                url: self.url().to_string(),
                reason: error.message().to_owned(),
            })?;
        let objects = mirror.odb().map_err(failed)?;
        let checked = TreeCheck::thorough(&objects, self.options().limits, cancel).check(tree.id());
        checked.map_err(|source| match source {
            TreeError::Canceled => GitError::Canceled,
            source => GitError::Tree {
                commit: commit.clone(),
                url: self.url().to_string(),
                source,
            },
        })?;
        let mut files = Index::new().map_err(failed)?;
        files.read_tree(&tree).map_err(failed)?;
        let tracked = Tracked::of(&files);

        link.make(commit, &self.url().to_string())?;
        stop_if(cancel)?;
        tracked.remove_others(&link.path, &link.times_of_change(), cancel)?;
        stop_if(cancel)?;
        link.reset(oid).map_err(failed)?;
        stop_if(cancel)?;
        if tracked.submodules.is_empty() {
            return Ok(());
        }
        if inside.len() == MAXIMUM_SUBMODULE_DEPTH {
            return Err(GitError::SubmoduleEntry {
                path: tracked.submodules[0].0.to_string_lossy().into_owned(),
                url: self.url().to_string(),
                source: SubmoduleProblem::TooDeep,
            });
        }
        let submodules = Submodules::of(self, &mirror, &tree);
        for (path, oid) in &tracked.submodules {
            if let Some(submodule) = submodules.place(path, *oid, &link.path)? {
                submodule.check_out(how, inside)?;
            }
        }
        Ok(())
    }
}

impl Submodule {
    /// Checks the submodule out; its commit is brought first. `inside` are the paths that lead to the repository around it.
    fn check_out(&self, how: CheckOut<'_>, inside: &[String]) -> Result<(), GitError> {
        let (mirror, commit) = (&self.mirror, &self.commit);
        let deeper = [inside, std::slice::from_ref(&self.path)].concat();
        let brought = match how.packs {
            Some(packs) => mirror.take(commit, &deeper, packs, how.cancel),
            None => mirror.fetch_commit(commit, self.branch.as_deref(), how.cancel),
        };
        brought
            .and_then(|()| mirror.check_out_inside(commit, &self.place, how, &deeper))
            .map_err(|error| match error {
                GitError::Canceled => GitError::Canceled,
                error => GitError::Submodule {
                    path: self.path.clone(),
                    source: Box::new(error),
                },
            })
    }
}

/// A work tree's two halves.
struct WorkTree {
    /// The directory with the files; absolute.
    path: PathBuf,
    /// The mirror's directory for it.
    administration: PathBuf,
}

impl WorkTree {
    fn at(mirror: &Path, work_tree: &Path) -> Result<Self, GitError> {
        let path = std::path::absolute(work_tree).map_err(in_step("find", work_tree))?;
        // Readable, and different for different places.
        let digest = hex::encode(Sha256::digest(path.as_os_str().as_bytes()));
        let last = path.file_name().unwrap_or_default().to_string_lossy();
        let readable: String = last
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(30)
            .collect();
        let administration = mirror
            .join("worktrees")
            .join(format!("{readable}-{}", &digest[..16]));
        Ok(Self {
            path,
            administration,
        })
    }

    /// Writes the files that link the two halves. The work tree's own file goes first: from then on the directory can
    /// be recognized as ours.
    fn make(&self, commit: &CommitId, shown_url: &str) -> Result<(), GitError> {
        let dot_git = self.path.join(".git");
        if !self
            .is_ours_or_empty(&dot_git)
            .map_err(in_step("read", &self.path))?
        {
            return Err(GitError::ForeignWorkTree {
                work_tree: self.path.clone(),
                url: shown_url.to_owned(),
            });
        }
        fs::create_dir_all(&self.path).map_err(in_step("make", &self.path))?;
        let link = self.link_text();
        if regular_file::read(&dot_git, LONGEST_LINK).ok().as_deref() != Some(link.as_slice()) {
            remove_all(&dot_git).map_err(in_step("remove", &dot_git))?;
            write_whole(&dot_git, &link)?;
        }
        fs::create_dir_all(&self.administration).map_err(in_step("make", &self.administration))?;
        // All but the index, which knows the files' times and so saves reading them all: locks of killed processes, a
        // merge or bisection that a build has left unfinished, its own settings.
        for entry in
            fs::read_dir(&self.administration).map_err(in_step("read", &self.administration))?
        {
            let entry = entry.map_err(in_step("read", &self.administration))?;
            if entry.file_name() != "index" {
                remove_all(&entry.path()).map_err(in_step("remove", &entry.path()))?;
            }
        }
        let mut back_link = dot_git.as_os_str().as_bytes().to_vec();
        back_link.push(b'\n');
        write_whole(&self.administration.join("gitdir"), &back_link)?;
        write_whole(&self.administration.join("commondir"), b"../..\n")?;
        write_whole(
            &self.administration.join("HEAD"),
            format!("{commit}\n").as_bytes(),
        )
    }

    fn link_text(&self) -> Vec<u8> {
        [
            b"gitdir: ",
            self.administration.as_os_str().as_bytes(),
            b"\n",
        ]
        .concat()
    }

    fn is_ours_or_empty(&self, dot_git: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
            Ok(metadata) if !metadata.is_dir() => return Ok(false),
            Ok(_) => {}
        }
        // The mirror may have been made anew since; or a build has removed `.git`, and the mirror still knows.
        Ok(
            regular_file::read(dot_git, LONGEST_LINK).is_ok_and(|found| found == self.link_text())
                || self.administration.join("gitdir").exists()
                || holds_nothing(&self.path)?,
        )
    }

    /// When the inodes of the files were last changed, as the index has it since the last check-out: seconds and
    /// nanoseconds. Nothing if there is no readable index; then all files are compared by content.
    fn times_of_change(&self) -> TimesOfChange {
        let index = open_here(&self.path).and_then(|repository| repository.index());
        let times = |entry: IndexEntry| {
            let time = (
                i64::from(entry.ctime.seconds()),
                i64::from(entry.ctime.nanoseconds()),
            );
            (entry.path, time)
        };
        index
            .map(|index| index.iter().map(times).collect())
            .unwrap_or_default()
    }

    /// Writes the files and the index.
    fn reset(&self, oid: Oid) -> Result<(), git2::Error> {
        match self.try_reset(oid) {
            Ok(()) => Ok(()),
            Err(first) => {
                // The index may have been damaged; it can be made from nothing.
                let index = self.administration.join("index");
                if !index.exists() || fs::remove_file(index).is_err() {
                    return Err(first);
                }
                self.try_reset(oid)
            }
        }
    }

    fn try_reset(&self, oid: Oid) -> Result<(), git2::Error> {
        let mut repository = open_here(&self.path)?;
        if hides_changes(&repository.index()?) {
            // Without an index all files are compared.
            drop(fs::remove_file(self.administration.join("index")));
            repository = open_here(&self.path)?;
        }
        // Objects belong to the repository value they were looked up in.
        let object = repository.find_object(oid, None)?;
        let mut checkout = CheckoutBuilder::new();
        checkout
            .force()
            .recreate_missing(true)
            .remove_untracked(false);
        repository.reset(&object, ResetType::Hard, Some(&mut checkout))
    }
}

fn hides_changes(index: &Index) -> bool {
    index
        .iter()
        .any(|entry| entry.flags & ASSUME_VALID != 0 || entry.flags_extended & SKIP_WORK_TREE != 0)
}

/// How the name of a file begins that is not written yet.
const UNFINISHED: &str = ".new-";

/// Under another name first, so that a reader never finds half of it.
fn write_whole(path: &Path, content: &[u8]) -> Result<(), GitError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let written = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(parent)
        .and_then(|mut file| {
            io::Write::write_all(&mut file, content)?;
            // Commands that read it may be another user; who else gets here, directories around it say.
            file.as_file()
                .set_permissions(fs::Permissions::from_mode(0o644))?;
            file.persist(path).map_err(|error| error.error)
        });
    written.map(drop).map_err(in_step("write", path))
}

/// Whether a directory is empty, but for what a process that was killed has left of a file that [`write_whole`] writes.
fn holds_nothing(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_unfinished = entry
            .file_name()
            .as_bytes()
            .starts_with(UNFINISHED.as_bytes());
        if !is_unfinished || !entry.file_type()?.is_file() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Drops what the mirror (and the mirrors of its submodules) know of work trees that are gone. Best effort.
fn forget_missing(mirror: &Path) {
    let entries = |name: &str| {
        fs::read_dir(mirror.join(name))
            .into_iter()
            .flatten()
            .flatten()
    };
    for entry in entries("worktrees") {
        let Ok(link) = regular_file::read(&entry.path().join("gitdir"), LONGEST_LINK) else {
            continue;
        };
        let dot_git = Path::new(OsStr::from_bytes(link.trim_ascii_end()));
        if !dot_git.exists() {
            drop(remove_all(&entry.path()));
        }
    }
    for module in entries(FOLDER) {
        forget_missing(&module.path());
    }
}
