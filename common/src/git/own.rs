//! The code of a project that has no repository elsewhere: archives of files come in, and each becomes a commit of a bare
//! repository that nobody but this program writes to.
//!
//! An archive is a stranger's, so [`OwnRepository::commit`] and [`OwnRepository::pack`] belong into a child process. New
//! objects are made in a directory of their own inside of the repository and move there as one pack when all is on disk:
//! a process that dies on the way leaves the repository as it was.

mod archive;
mod leftovers;
mod pushed;
#[cfg(test)]
mod tests;

pub use archive::ArchiveError;
pub use pushed::{UNDER_WAY, push_ref};

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use git2::{
    Index, IndexEntry, IndexTime, ObjectType, Oid, PackBuilder, Repository, RepositoryInitOptions,
    Signature, Time,
};
use tokio_util::sync::CancellationToken;

use super::mirror_files::{self, open_here};
use super::packs::loose_objects;
use super::tree_check::{TreeCheck, TreeError};
use super::trouble::Trouble;
use super::{CommitId, GitLimits, MAXIMUM_TREE_DEPTH};
use crate::clock::Timestamp;
use crate::disk::beneath::remove_all;
use archive::{Stopped, Tree};

/// The branch that every upload moves on.
const BRANCH: &str = "refs/heads/master";

/// Begins the name of a directory in which objects are made.
const INCOMING: &str = "incoming-";

/// Larger files are stored as they are and not compared with others, which would take their size in memory many times.
const LARGE_FILE: i64 = 1 << 20;

/// How much memory comparing files may take.
const COMPARING: i64 = 64 << 20;

/// The shortest abbreviation of a commit id.
const SHORTEST_HASH: usize = 4;

/// Modes of a tree's entries, as git has them.
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_000;
const DIRECTORY: u32 = 0o040_000;

/// A project's repository. It has one writer at a time; it may be read meanwhile.
#[derive(Debug, Clone)]
pub struct OwnRepository {
    directory: PathBuf,
}

/// The surroundings of a commit.
#[derive(Debug, Clone)]
pub struct NewCommit<'a> {
    /// The commit that it follows; none for the first.
    pub parent: Option<&'a CommitId>,
    /// The name of the user whose commit it is.
    pub author: &'a str,
    /// The time of the commit.
    pub at: Timestamp,
    /// How large the code may be.
    pub limits: GitLimits,
}

/// Why code could not be stored or given.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// The archive is at fault.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The caller's token fired.
    #[error("canceled")]
    Canceled,
    /// The repository can not be read or written.
    #[error("could not {step} the repository {}: {reason}", .directory.display())]
    Repository {
        /// What was being done.
        step: &'static str,
        /// The repository's directory.
        directory: PathBuf,
        /// Why it failed.
        reason: String,
    },
}

impl OwnRepository {
    /// Describes the repository at `directory`; touches nothing yet.
    #[must_use]
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Makes the files of an archive (`.tar.gz`) the next commit, and returns the commit that has exactly these files:
    /// the parent, if it has them already. The repository is made if it is not there.
    ///
    /// Executable bits are kept, symbolic links are stored and not followed, empty directories are left out.
    ///
    /// # Errors
    /// [`CodeError`]; the repository has all its earlier commits.
    pub fn commit(
        &self,
        archive: impl Read,
        new: &NewCommit<'_>,
        cancel: &CancellationToken,
    ) -> Result<CommitId, CodeError> {
        let main = self.open_to_write()?;
        let making = Making::begin(&self.directory).map_err(self.failed("write to"))?;
        let objects = making.repository.odb().map_err(self.git("write to"))?;
        let tree = archive::read(archive, &objects, new.limits, cancel);
        let tree = tree.map_err(|stopped| match stopped {
            Stopped::Archive(error) => error.into(),
            Stopped::Canceled => CodeError::Canceled,
            Stopped::Trouble(trouble) => self.failed("write to")(trouble),
        })?;
        let tree = making.tree(&tree).map_err(self.failed("write to"))?;
        TreeCheck::thorough(&objects, new.limits, cancel)
            .check(tree)
            .map_err(|error| self.refused(error))?;
        let parent = new.parent.and_then(|parent| {
            let found = parent.to_oid().and_then(|id| main.find_commit(id));
            // A repository that was lost begins anew.
            let lost = |error: &git2::Error| {
                let (directory, error) = (self.directory.display(), error.message());
                tracing::warn!(%directory, commit = %parent, error, "the commit before an upload is missing");
            };
            found.inspect_err(lost).ok()
        });
        if let Some(parent) = parent.as_ref().filter(|parent| parent.tree_id() == tree) {
            return Ok(CommitId::from_oid(parent.id()));
        }
        let parent = parent.map(|parent| parent.id());
        let commit = making
            .commit(tree, parent, new)
            .and_then(|commit| making.publish(&self.directory, cancel).map(|()| commit))
            .map_err(|trouble| match cancel.is_cancelled() {
                true => CodeError::Canceled,
                false => self.failed("write to")(trouble),
            })?;
        // For people who look into it; a build names its commit.
        main.reference(BRANCH, commit, true, "upload")
            .map_err(self.git("write to"))?;
        Ok(CommitId::from_oid(commit))
    }

    /// Writes the files of a commit as an archive (`.tar.gz`).
    ///
    /// # Errors
    /// [`CodeError`] if the commit is not there, or `output` takes no more.
    pub fn pack(
        &self,
        commit: &CommitId,
        output: impl Write,
        cancel: &CancellationToken,
    ) -> Result<(), CodeError> {
        let packed = write_archive(&self.directory, commit, output, cancel);
        packed.map_err(|trouble| match cancel.is_cancelled() {
            true => CodeError::Canceled,
            false => self.failed("read")(trouble),
        })
    }

    /// What a file of a commit holds; none where there is no such file, or more than `most` bytes of it.
    ///
    /// # Errors
    /// [`CodeError`] if the repository can not be read, or has not the commit.
    pub fn file(
        &self,
        commit: &CommitId,
        path: &Path,
        most: u64,
    ) -> Result<Option<Vec<u8>>, CodeError> {
        let repository = open_here(&self.directory).map_err(self.git("read"))?;
        let names = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        });
        let path: PathBuf = names.collect();
        let found = commit.to_oid().and_then(|id| repository.find_commit(id));
        let tree = found.and_then(|commit| commit.tree());
        let tree = tree.map_err(self.git("read"))?;
        // The system recurses over the parts of the path, of which a request may have many.
        if path.components().count() > MAXIMUM_TREE_DEPTH as usize {
            return Ok(None);
        }
        let Ok(entry) = tree.get_path(&path) else {
            return Ok(None);
        };
        let mode = u32::try_from(entry.filemode()).unwrap_or_default();
        if mode != FILE && mode != PROGRAM {
            return Ok(None);
        }
        let objects = repository.odb().map_err(self.git("read"))?;
        let (size, _) = objects.read_header(entry.id()).map_err(self.git("read"))?;
        if u64::try_from(size).unwrap_or(u64::MAX) > most {
            return Ok(None);
        }
        let blob = repository.find_blob(entry.id());
        let blob = blob.map_err(self.git("read"))?;
        Ok(Some(blob.content().to_vec()))
    }

    /// The commit with this id, which may be abbreviated: the newest, or one that came before it. None if there is none
    /// or more than one.
    ///
    /// # Errors
    /// [`CodeError`] if the repository can not be read.
    pub fn find(&self, hash: &str, newest: &CommitId) -> Result<Option<CommitId>, CodeError> {
        let is_hash =
            hash.len() >= SHORTEST_HASH && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash || !self.directory.exists() {
            return Ok(None);
        }
        let repository = open_here(&self.directory).map_err(self.git("read"))?;
        let found = repository.find_commit_by_prefix(&hash.to_ascii_lowercase());
        let Some(found) = found.ok().map(|commit| commit.id()) else {
            return Ok(None);
        };
        let newest = newest.to_oid().map_err(self.git("read"))?;
        let is_in_history = found == newest
            || repository
                .graph_descendant_of(newest, found)
                .map_err(self.git("read"))?;
        Ok(is_in_history.then(|| CommitId::from_oid(found)))
    }

    fn open_to_write(&self) -> Result<Repository, CodeError> {
        if !self.directory.exists() {
            mirror_files::make_bare(&self.directory, |_| Ok(())).map_err(self.failed("make"))?;
        }
        mirror_files::clear_leftovers(&self.directory);
        for entry in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry
                .file_name()
                .as_bytes()
                .starts_with(INCOMING.as_bytes())
            {
                remove_all(&entry.path()).map_err(|error| self.failed("write to")(error.into()))?;
            }
        }
        open_here(&self.directory).map_err(self.git("open"))
    }

    fn failed(&self, step: &'static str) -> impl Fn(Trouble) -> CodeError + use<'_> {
        move |trouble| CodeError::Repository {
            step,
            directory: self.directory.clone(),
            reason: trouble.to_string(),
        }
    }

    fn git(&self, step: &'static str) -> impl Fn(git2::Error) -> CodeError + use<'_> {
        move |error| self.failed(step)(error.into())
    }

    fn refused(&self, error: TreeError) -> CodeError {
        match error {
            TreeError::Canceled => CodeError::Canceled,
            TreeError::Object(error) => self.git("read")(error),
            error @ (TreeError::Depth { .. }
            | TreeError::Entries { .. }
            | TreeError::File { .. }
            | TreeError::WorkTree { .. }) => ArchiveError::TooLarge(error.to_string()).into(),
            error @ (TreeError::Name { .. } | TreeError::Malformed { .. }) => {
                ArchiveError::Refused(error.to_string()).into()
            }
        }
    }
}

/// New objects, before they are in the repository.
struct Making {
    repository: Repository,
    directory: tempfile::TempDir,
}

impl Making {
    fn begin(main: &Path) -> Result<Self, Trouble> {
        let directory = tempfile::Builder::new()
            .prefix(INCOMING)
            .tempdir_in(main)
            .map_err(Trouble::at(main))?;
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false);
        let repository = Repository::init_opts(directory.path(), &options)?;
        let mut config = repository.config()?.open_level(git2::ConfigLevel::Local)?;
        config.set_i64("core.bigFileThreshold", LARGE_FILE)?;
        config.set_i64("pack.windowMemory", COMPARING)?;
        drop(repository);
        let repository = open_here(directory.path())?;
        let objects = std::path::absolute(main.join("objects")).map_err(Trouble::at(main))?;
        let objects = objects.to_str().ok_or(Trouble::NoName)?;
        repository.odb()?.add_disk_alternate(objects)?;
        Ok(Self {
            repository,
            directory,
        })
    }

    fn tree(&self, files: &Tree) -> Result<Oid, Trouble> {
        let mut index = Index::new()?;
        // In the index's own order, so that each is added at the end.
        for (path, (mode, id)) in files {
            index.add(&IndexEntry {
                ctime: IndexTime::new(0, 0),
                mtime: IndexTime::new(0, 0),
                dev: 0,
                ino: 0,
                mode: *mode,
                uid: 0,
                gid: 0,
                file_size: 0,
                id: *id,
                flags: 0,
                flags_extended: 0,
                path: path.clone(),
            })?;
        }
        Ok(index.write_tree_to(&self.repository)?)
    }

    fn commit(&self, tree: Oid, parent: Option<Oid>, new: &NewCommit<'_>) -> Result<Oid, Trouble> {
        let seconds = i64::try_from(new.at.0 / 1000).unwrap_or(i64::MAX);
        let address = format!("{}@clusterrunner", new.author);
        let author = Signature::new(new.author, &address, &Time::new(seconds, 0))?;
        let tree = self.repository.find_tree(tree)?;
        let parent = parent.map(|parent| self.repository.find_commit(parent));
        let parent = parent.transpose()?;
        let parents: Vec<_> = parent.iter().collect();
        let message = format!("Code uploaded by {}\n", new.author);
        Ok(self
            .repository
            .commit(None, &author, &author, &message, &tree, &parents)?)
    }

    /// Moves all to where it is found, as one pack.
    fn publish(&self, main: &Path, cancel: &CancellationToken) -> Result<(), Trouble> {
        let from = self.directory.path();
        let mut pack = self.repository.packbuilder()?;
        let stop = cancel.clone();
        pack.set_progress_callback(move |_, _, _| !stop.is_cancelled())?;
        for id in loose_objects(&from.join("objects"))? {
            pack.insert_object(id, None)?;
        }
        pack.write(from, 0o444)?;
        let name = name_of(&pack)?;
        let to = main.join("objects/pack");
        // A pack is seen through its index: the pack itself must be there first.
        for ending in ["pack", "idx"] {
            let file = format!("pack-{name}.{ending}");
            let made = from.join(&file);
            File::open(&made)
                .and_then(|made| made.sync_all())
                .and_then(|()| fs::rename(&made, to.join(&file)))
                .map_err(Trouble::at(&made))?;
        }
        File::open(&to)
            .and_then(|to| to.sync_all())
            .map_err(Trouble::at(&to))
    }
}

fn name_of(pack: &PackBuilder<'_>) -> Result<String, Trouble> {
    let name = pack.name()?;
    name.map(str::to_owned).ok_or(Trouble::NoMergedPack)
}

fn write_archive(
    directory: &Path,
    commit: &CommitId,
    output: impl Write,
    cancel: &CancellationToken,
) -> Result<(), Trouble> {
    let repository = open_here(directory)?;
    let missing = |source| Trouble::NoCommit {
        commit: commit.to_string(),
        source,
    };
    let found = commit.to_oid().and_then(|id| repository.find_commit(id));
    let found = found.map_err(missing)?;
    let mtime = u64::try_from(found.time().seconds()).unwrap_or(0);
    let objects = repository.odb()?;
    let mut tar = tar::Builder::new(GzEncoder::new(output, Compression::default()));
    // No recursion: its depth was chosen by a stranger.
    let mut waiting = vec![(Vec::new(), found.tree_id())];
    while let Some((above, tree)) = waiting.pop() {
        let tree = repository.find_tree(tree)?;
        for entry in &tree {
            if cancel.is_cancelled() {
                return Err(io::Error::from(io::ErrorKind::Interrupted).into());
            }
            let mut path: Vec<u8> = above.clone();
            path.extend_from_slice(entry.name_bytes());
            let mode = u32::try_from(entry.filemode()).unwrap_or(FILE);
            if mode == DIRECTORY {
                path.push(b'/');
                waiting.push((path, entry.id()));
                continue;
            }
            let blob = objects.read(entry.id())?;
            if blob.kind() == ObjectType::Blob {
                append(&mut tar, &path, (mode, mtime), blob.data())?;
            }
        }
    }
    tar.into_inner()?.finish()?.flush()?;
    Ok(())
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &[u8],
    (mode, mtime): (u32, u64),
    content: &[u8],
) -> io::Result<()> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let mut header = tar::Header::new_gnu();
    header.set_mtime(mtime);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(if mode == PROGRAM { 0o755 } else { 0o644 });
    if mode == LINK {
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        let target = Path::new(std::ffi::OsStr::from_bytes(content));
        return tar.append_link(&mut header, path, target);
    }
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content)
}
