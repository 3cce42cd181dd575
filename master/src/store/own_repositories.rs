//! The repositories that projects have here: one bare repository for the code of each project that was uploaded.
//!
//! Which commit is the newest is the core's to say; here lie the commits. Archives come from strangers and are unpacked
//! by a child process (`work`).

mod packing;
mod pushes;
mod work;

pub use packing::Packer;
pub use work::keep_code;

use clusterrunner_common::child::{ChildError, Children};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::beneath::remove_all;
use clusterrunner_common::git::{CodeError, CommitId, GitLimits, OwnRepository};
use clusterrunner_common::ids::ProjectId;
use clusterrunner_common::lock::lock;
use packing::Packed;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::NamedTempFile;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use work::{Done, Failure, Order};

/// The first argument of a process that unpacks or packs code, see [`keep_code`].
pub const KEEP_CODE: &str = "keep-code";

/// How many archives are unpacked or packed at a time; each takes a processor and memory.
const AT_A_TIME: usize = 2;

/// Begins the names of archives that come in or go out. Names of repositories are numbers.
const PASSING: &str = ".archive-";

/// Why code could not be stored or given.
#[derive(Debug, thiserror::Error)]
pub enum OwnCodeError {
    /// The archive can not be code. The text goes to its sender.
    #[error("{0}")]
    Refused(String),
    /// The archive is larger than the settings allow. The text goes to its sender.
    #[error("{0}")]
    TooLarge(String),
    /// The repository or the disk failed.
    #[error("{0}")]
    Failed(String),
    /// The process that did it brought no answer.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A file can not be written or read.
    #[error("an archive of code can not be stored: {0}")]
    Disk(#[from] io::Error),
}

/// All repositories. Clones are the same.
#[derive(Clone, Debug)]
pub struct OwnRepositories {
    directory: PathBuf,
    limits: GitLimits,
    max_memory_bytes: u64,
    children: Children,
    turns: Arc<Semaphore>,
    /// A repository has one writer at a time.
    writers: Arc<Mutex<HashMap<ProjectId, Arc<AsyncMutex<()>>>>>,
    packed: Packed,
    stop: CancellationToken,
}

/// The only writer of a project's repository.
#[derive(Debug)]
pub struct Writer {
    _only: OwnedMutexGuard<()>,
    project: ProjectId,
}

/// What becomes of an archive.
#[derive(Debug)]
pub struct NewCode {
    /// The archive, a `.tar.gz`.
    pub archive: NamedTempFile,
    /// The commit that it follows; none for the first.
    pub parent: Option<CommitId>,
    /// The name of the user that has sent it.
    pub author: String,
    /// When it came.
    pub at: Timestamp,
}

impl OwnRepositories {
    /// The repositories below a directory, which is made if it is not there. What earlier lives left of passing archives,
    /// uploads and pushes goes. `children` call [`keep_code`]. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(
        directory: PathBuf,
        (limits, max_memory_bytes): (GitLimits, u64),
        children: Children,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            match id_of(&name) {
                Some(_) => OwnRepository::at(entry.path()).clear_leftovers()?,
                None if is_unfinished(&name) => remove_all(&entry.path())?,
                None => {}
            }
        }
        Ok(Self {
            directory,
            limits,
            max_memory_bytes,
            children,
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            writers: Arc::default(),
            packed: Packed::default(),
            stop,
        })
    }

    /// For tests that have nothing unpacked.
    #[cfg(test)]
    pub(crate) fn in_test(directory: &Path) -> Self {
        let children = Children::new(
            "false".into(),
            KEEP_CODE,
            "test:",
            std::time::Duration::ZERO,
        );
        let limits = (GitLimits::default(), 64 << 20);
        let stop = CancellationToken::new();
        Self::open(directory.join("own"), limits, children, stop).unwrap()
    }

    /// Where the repository of a project lies, if there is one.
    #[must_use]
    pub fn directory_of(&self, project: ProjectId) -> PathBuf {
        self.directory.join(project.to_string())
    }

    /// A file for an archive that comes in. It goes with the value. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn incoming(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new()
            .prefix(PASSING)
            .tempfile_in(&self.directory)
    }

    /// Waits until nobody else writes to a project's repository. Packing makes way.
    pub async fn writer(&self, project: ProjectId) -> Writer {
        let only = self.only(project);
        self.packed.is_wanted(project);
        Writer {
            _only: only.lock_owned().await,
            project,
        }
    }

    fn only(&self, project: ProjectId) -> Arc<AsyncMutex<()>> {
        Arc::clone(lock(&self.writers).entry(project).or_default())
    }

    /// Makes the files of an archive a commit. The same files as in the parent are no new commit.
    ///
    /// # Errors
    /// See [`OwnCodeError`]; the repository has all its earlier commits.
    pub async fn commit(&self, writer: &Writer, new: NewCode) -> Result<CommitId, OwnCodeError> {
        let order = Order::Commit {
            repository: self.directory_of(writer.project),
            archive: new.archive.path().to_owned(),
            parent: new.parent,
            author: new.author,
            at: new.at,
            limits: self.limits,
            max_memory_bytes: self.max_memory_bytes,
        };
        match self.have_done(&order).await? {
            Done::Committed(commit) => Ok(commit),
            Done::Packed => Err(OwnCodeError::Failed("another answer came".to_owned())),
        }
    }

    /// The files of a commit as an archive (`.tar.gz`), in a file that nobody else has.
    ///
    /// # Errors
    /// See [`OwnCodeError`].
    pub async fn pack(&self, project: ProjectId, commit: CommitId) -> Result<File, OwnCodeError> {
        let repositories = self.clone();
        let passing = spawn_blocking(move || repositories.incoming()).await;
        let passing = passing.map_err(io::Error::other)??;
        let order = Order::Pack {
            repository: self.directory_of(project),
            commit,
            output: passing.path().to_owned(),
            max_memory_bytes: self.max_memory_bytes,
        };
        self.have_done(&order).await?;
        Ok(passing.into_file())
    }

    async fn have_done(&self, order: &Order) -> Result<Done, OwnCodeError> {
        let turn = self.turns.acquire().await;
        let _turn = turn.map_err(|error| OwnCodeError::Failed(error.to_string()))?;
        let answered = self.children.run(order, &self.stop).await;
        let done: Result<Done, Failure> = answered.answer?;
        done.map_err(|failure| match failure {
            Failure::Refused(reason) => OwnCodeError::Refused(reason),
            Failure::TooLarge(reason) => OwnCodeError::TooLarge(reason),
            Failure::Failed(reason) => OwnCodeError::Failed(reason),
        })
    }

    /// The commit of a project with this id, which may be abbreviated: the newest, or one that came before it. A lost
    /// journal may have had another project with this number.
    ///
    /// # Errors
    /// The repository can not be read.
    pub async fn find(
        &self,
        project: ProjectId,
        hash: String,
        newest: CommitId,
    ) -> Result<Option<CommitId>, OwnCodeError> {
        let repository = OwnRepository::at(self.directory_of(project));
        let found = spawn_blocking(move || repository.find(&hash, &newest)).await;
        let found = found.map_err(io::Error::other)?;
        found.map_err(|error: CodeError| OwnCodeError::Failed(error.to_string()))
    }

    /// The projects that have a repository. Blocks.
    ///
    /// # Errors
    /// The directory can not be read.
    pub fn all(&self) -> io::Result<Vec<ProjectId>> {
        let entries = std::fs::read_dir(&self.directory)?;
        let ids = entries.map(|entry| Ok(id_of(&entry?.file_name())));
        let ids: io::Result<Vec<Option<ProjectId>>> = ids.collect();
        Ok(ids?.into_iter().flatten().collect())
    }

    /// Removes the repository of a project that is gone.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn remove(&self, project: ProjectId) -> io::Result<()> {
        let _writer = self.writer(project).await;
        let directory = self.directory_of(project);
        let removed = spawn_blocking(move || remove_all(&directory)).await;
        lock(&self.writers).remove(&project);
        removed.map_err(io::Error::other)?
    }

    /// Ends the processes that wait for work. To be called when no more is wanted.
    pub async fn rest(&self) {
        self.children.rest().await;
    }
}

/// Whether this was an archive that passed, or a repository that was being made.
fn is_unfinished(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with(PASSING) || (name.starts_with('.') && name.contains(".new-"))
}

fn id_of(name: &OsStr) -> Option<ProjectId> {
    let id: ProjectId = name.to_str()?.parse().ok()?;
    (Path::new(&id.to_string()) == Path::new(name)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_repositories_are_listed_and_what_earlier_lives_left_goes() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("own");
        let left = [".archive-left", ".9.new-left", "7/objects/tmp_objdir-left"];
        for name in ["7", "12", "07", "x"].iter().chain(&left) {
            std::fs::create_dir_all(directory.join(name)).unwrap();
        }
        let own = OwnRepositories::in_test(folder.path());
        let all = || {
            let mut all = own.all().unwrap();
            all.sort();
            all
        };
        assert_eq!(all(), [ProjectId(7), ProjectId(12)]);
        for name in left {
            assert!(!directory.join(name).exists(), "{name}");
        }
        own.remove(ProjectId(7)).await.unwrap();
        own.remove(ProjectId(8)).await.unwrap();
        assert_eq!(all(), [ProjectId(12)]);
    }
}
