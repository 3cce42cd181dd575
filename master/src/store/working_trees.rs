//! Working trees that clients have sent: packs with the objects of one commit, on top of commits that others have.
//!
//! A pack is kept as it came, after a child process has looked at it (`work`), until the last build that needs it is
//! forgotten. What builds and slaves read is made from it again and again (`Mirror::take_sent`). Each sender has a place of
//! its own: nobody replaces what another one has sent.

mod kept;
mod work;

#[cfg(test)]
pub(crate) use kept::Known;
pub use kept::{Sender, Sent, Shelf};
pub use work::look_at_pack;

use clusterrunner_common::api::working_trees::MissingAnswer;
use clusterrunner_common::child::{ChildError, Children};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::git::{
    CommitId, GitLimits, ObjectId, SentName, SentPack, missing_objects,
};
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::{NamedTempFile, TempDir};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, Semaphore};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use work::{Failure, Order};

/// The first argument of a process that looks at a pack, see [`look_at_pack`].
pub const LOOK_AT_PACK: &str = "look-at-pack";

/// How many packs are looked at at a time; each takes a processor and memory.
const AT_A_TIME: usize = 2;

/// How long it may take to look at one: what is packed to take long is no working tree.
const LONGEST_LOOK: Duration = Duration::from_secs(10 * 60);

/// Begins the names of what comes in. Names of repositories' folders begin with no full stop.
const INCOMING: &str = ".incoming-";

/// Why a working tree is not kept.
#[derive(Debug, thiserror::Error)]
pub enum WorkingTreeError {
    /// The pack is not as it should be. The text goes to its sender.
    #[error("{0}")]
    Refused(String),
    /// It is larger than the settings allow. The text goes to its sender.
    #[error("{0}")]
    TooLarge(String),
    /// All that was sent has so many bytes already.
    #[error(
        "The working trees that were sent have {0} bytes, more than the master keeps (setting keep_working_trees_bytes): \
         try again when older builds are over."
    )]
    Full(u64),
    /// The process that looked at it failed.
    #[error("{0}")]
    Failed(String),
    /// That process brought no answer.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A file can not be written or read.
    #[error("a working tree can not be stored: {0}")]
    Disk(#[from] io::Error),
}

/// All working trees that were sent. Clones are the same.
#[derive(Clone, Debug)]
pub struct WorkingTrees {
    directory: PathBuf,
    limits: GitLimits,
    max_memory_bytes: u64,
    /// How many bytes one pack may have.
    pub max_bytes: u64,
    /// How many all should have together; none for any number.
    pub keep_bytes: Option<u64>,
    children: Children,
    turns: Arc<Semaphore>,
    /// Held to read by those who begin to use one, to write by who removes some or puts one in its place.
    changes: Arc<RwLock<()>>,
    stop: CancellationToken,
}

impl WorkingTrees {
    /// Those below a directory, which is made if it is not there. What earlier lives left half stored goes. `children`
    /// call [`look_at_pack`]. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(
        directory: PathBuf,
        (limits, max_memory_bytes): (GitLimits, u64),
        (max_bytes, keep_bytes): (u64, Option<u64>),
        children: Children,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        kept::clear_leftovers(&directory, INCOMING)?;
        Ok(Self {
            directory,
            limits,
            max_memory_bytes,
            max_bytes,
            keep_bytes,
            children,
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            changes: Arc::default(),
            stop,
        })
    }

    /// For tests that have nothing looked at.
    #[cfg(test)]
    pub(crate) fn in_test(directory: &std::path::Path) -> Self {
        let grace = Duration::ZERO;
        let children = Children::new("false".into(), LOOK_AT_PACK, "test:", grace);
        let limits = (GitLimits::default(), 64 << 20);
        let bounds = (1 << 20, Some(1 << 30));
        let stop = CancellationToken::new();
        let directory = directory.join("working_trees");
        Self::open(directory, limits, bounds, children, stop).unwrap()
    }

    /// A file for a pack that comes in. It goes with the value. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn incoming(&self) -> io::Result<NamedTempFile> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(INCOMING).tempfile_in(&self.directory)
    }

    fn incoming_directory(&self) -> io::Result<TempDir> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(INCOMING).tempdir_in(&self.directory)
    }

    /// Keeps a pack that came in whole, and that may need what the one `after` and those before it have; it is on the disk
    /// when this returns. The same may come again.
    ///
    /// # Errors
    /// See [`WorkingTreeError`]; nothing is kept then.
    pub async fn keep(
        &self,
        (shelf, commit): (Shelf, CommitId),
        (pack, after): (NamedTempFile, Option<SentName>),
        at: Timestamp,
    ) -> Result<Sent, WorkingTreeError> {
        let before = match &after {
            None => Vec::new(),
            Some(after) => self.before(&shelf, after).await?,
        };
        let trees = self.clone();
        let made = spawn_blocking(move || trees.incoming_directory()).await;
        let into = made.map_err(io::Error::other)??;
        let order = Order {
            pack: pack.path().to_owned(),
            commit: commit.clone(),
            after: before.iter().map(Sent::index).collect(),
            into: into.path().to_owned(),
            limits: self.limits,
            max_memory_bytes: self.max_memory_bytes,
        };
        let found = self.looked_at(&order).await?;
        drop(pack);
        let stem = found.pack.file_stem().map(OsStr::to_string_lossy);
        let digest = stem.and_then(|stem| stem.strip_prefix("pack-")?.parse().ok());
        let digest =
            digest.ok_or_else(|| WorkingTreeError::Failed("a pack has no name".to_owned()))?;
        let name = SentName {
            commit,
            pack: digest,
        };
        let only = self.changing().await;
        if let Some(after) = &after {
            // It may have been removed meanwhile.
            self.before(&shelf, after).await?;
        }
        let directory = self.directory.clone();
        let kept = spawn_blocking(move || {
            let kept = kept::keep(&directory, (&shelf, name), (&found, after), at);
            drop((only, into));
            kept
        });
        Ok(kept.await.map_err(io::Error::other)??)
    }

    async fn looked_at(&self, order: &Order) -> Result<SentPack, WorkingTreeError> {
        let turn = self.turns.acquire().await;
        let _turn = turn.map_err(|error| WorkingTreeError::Failed(error.to_string()))?;
        let stop = self.stop.child_token();
        let too_long = tokio::time::sleep(LONGEST_LOOK);
        let looking = self.children.run(order, &stop);
        tokio::pin!(looking);
        let answered = tokio::select! {
            answered = &mut looking => answered,
            () = too_long => {
                stop.cancel();
                drop(looking.await);
                let seconds = LONGEST_LOOK.as_secs();
                let sentence = format!("Looking at the pack took more than {seconds} s.");
                return Err(WorkingTreeError::Refused(sentence));
            }
        };
        let looked: Result<SentPack, Failure> = answered.answer?;
        looked.map_err(|failure| match failure {
            Failure::Refused(reason) => WorkingTreeError::Refused(reason),
            Failure::TooLarge(reason) => WorkingTreeError::TooLarge(reason),
            Failure::Failed(reason) => WorkingTreeError::Failed(reason),
        })
    }

    /// One that another one names, with those that it comes after.
    async fn before(&self, shelf: &Shelf, after: &SentName) -> Result<Vec<Sent>, WorkingTreeError> {
        let (directory, shelf, name) = (self.directory.clone(), shelf.clone(), after.clone());
        let chain = spawn_blocking(move || kept::chain(&directory, &shelf, name)).await;
        let chain = chain.map_err(io::Error::other)?;
        chain.ok_or_else(|| {
            WorkingTreeError::Refused(format!(
                "Parameter 'after': the pack {after} is not here any more; send all objects."
            ))
        })
    }

    /// What of some objects is to be sent: those that are missing in what the sender has sent before.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn missing(
        &self,
        shelf: Shelf,
        commit: CommitId,
        objects: Vec<ObjectId>,
    ) -> io::Result<MissingAnswer> {
        let _using = self.using().await;
        let trees = self.clone();
        let looked = spawn_blocking(move || trees.look_for(&shelf, &commit, &objects));
        looked.await.map_err(io::Error::other)?
    }

    fn look_for(
        &self,
        shelf: &Shelf,
        commit: &CommitId,
        objects: &[ObjectId],
    ) -> io::Result<MissingAnswer> {
        let found = kept::find(&self.directory, &shelf.repository, commit);
        let is_own = |chain: &Vec<Sent>| chain.iter().any(|sent| sent.shelf == *shelf);
        let mut best = MissingAnswer {
            is_here: found.iter().any(is_own),
            max_bytes: self.max_bytes,
            after: None,
            missing: None,
        };
        if best.is_here {
            return Ok(best);
        }
        for chain in kept::newest(&self.directory, shelf)? {
            let indexes: Vec<PathBuf> = chain.iter().map(Sent::index).collect();
            let missing = missing_objects(objects, &indexes).map_err(io::Error::other)?;
            let known_best = best.missing.as_ref().map_or(objects.len(), Vec::len);
            if missing.len() < known_best {
                best.after = chain.first().map(|sent| sent.name.clone());
                best.missing = Some(missing);
            }
        }
        Ok(best)
    }

    /// While the guard lives, nothing is removed: for those who look for one and then say that it is needed.
    pub async fn using(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.changes).read_owned().await
    }

    /// While the guard lives, nobody begins to use one and none is put in place.
    pub async fn changing(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.changes).write_owned().await
    }

    /// Whether there is one; with a sender, one of this sender.
    pub async fn has(&self, repository: &str, sender: Option<Sender>, commit: &CommitId) -> bool {
        let found = self.find(repository, commit).await;
        let mut firsts = found.iter().filter_map(|chain| chain.first());
        firsts.any(|sent| sender.is_none_or(|sender| sent.shelf.sender == sender))
    }

    /// All with this commit on top of this repository, by its folder's name, each with those that it comes after, itself
    /// first.
    pub async fn find(&self, repository: &str, commit: &CommitId) -> Vec<Vec<Sent>> {
        let (directory, repository) = (self.directory.clone(), repository.to_owned());
        let commit = commit.clone();
        let found = spawn_blocking(move || kept::find(&directory, &repository, &commit));
        found.await.unwrap_or_default()
    }

    /// Whether another one of so many bytes has room: the keeper, which removes what is too much, may be behind.
    ///
    /// # Errors
    /// [`WorkingTreeError::Full`], or the directory can not be read.
    pub async fn check_room(&self, bytes: u64) -> Result<(), WorkingTreeError> {
        let Some(most) = self.keep_bytes else {
            return Ok(());
        };
        let kept: u64 = self.all().await?.iter().map(|sent| sent.known.bytes).sum();
        match kept.saturating_add(bytes) > most.saturating_mul(2).max(self.max_bytes) {
            true => Err(WorkingTreeError::Full(kept)),
            false => Ok(()),
        }
    }

    /// All that there are.
    ///
    /// # Errors
    /// The directory can not be read.
    pub async fn all(&self) -> io::Result<Vec<Sent>> {
        let directory = self.directory.clone();
        let all = spawn_blocking(move || kept::all(&directory));
        all.await.map_err(io::Error::other)?
    }

    /// Ends the processes that wait for work. To be called when no more is wanted.
    pub async fn rest(&self) {
        self.children.rest().await;
    }
}
