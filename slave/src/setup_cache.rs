//! What set-ups have made, kept for later builds: an entry is one file, named for all that decides what a set-up makes.
//!
//! ```text
//! setup-cache/<key>.tar.gz   an entry, as `packing` makes it, with its seal; see `kept_entries` of `common`
//! ```
//!
//! An entry never changes: what was kept first stays until it goes. Builds get copies. The cache is only ever a help: a
//! build whose entry can not be used or kept is set up as if there were none.

mod key;
mod packing;
mod places;
mod placing;
mod seal;
mod sharing;
#[cfg(test)]
mod tests;
mod unpacking;

pub(crate) use key::{HashedFile, KeyParts, key, machine, scope};
pub(crate) use sharing::Sharing;

use clusterrunner_common::child::{self, ChildError, Children};
use clusterrunner_common::disk::beneath::remove_all;
use clusterrunner_common::disk::kept_entries::{EntryKey, KeptEntries};
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::job::setup_cache::SetupCache;
use packing::{PackOrder, pack};
use placing::place;
use seal::seal;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use unpacking::{UnpackOrder, unpack};

/// The first argument of a process that makes or unpacks an entry, see [`handle_entry`].
pub(crate) const HANDLE_ENTRY: &str = "handle-setup-cache-entry";

/// The members of an entry, see `packing`.
const ORIGIN: &str = "origin";
const FILES: &str = "f";
const TEXTS: &str = "r";
const END: &str = "end";

/// The most members of an entry: large environments have some hundred thousand.
const MOST_ENTRIES: u64 = 4_000_000;

/// How long it may take to make or unpack one: atoms wait meanwhile.
const AT_MOST: Duration = Duration::from_secs(600);

/// How much is read at a time.
const PIECE: usize = 64 << 10;

/// How deep its directories may be nested.
const DEEPEST: usize = 200;

/// Why an entry was not made or unpacked, inside of the child.
#[derive(Debug)]
enum Stopped {
    /// The tree or the entry is at fault.
    Refused(String),
    /// The disk is, or nobody wants it any more.
    Failed(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::FileTooLarge => Self::Failed(io::Error::other(
                "it has more bytes than may be kept (setting max_setup_cache_bytes)",
            )),
            _ => Self::Failed(error),
        }
    }
}

impl Stopped {
    fn reason(self) -> String {
        match self {
            Self::Refused(reason) => reason,
            Self::Failed(error) => error.to_string(),
        }
    }
}

fn refused(reason: &str) -> Stopped {
    Stopped::Refused(reason.to_owned())
}

/// Looks now and then whether enough is still free on a disk: what several write at the same time can together use up
/// what was enough for each.
struct SpaceCheck {
    space: DiskSpace,
    unchecked: usize,
}

impl SpaceCheck {
    /// After how many bytes it looks again.
    const EACH: usize = 8 << 20;

    fn new(space: DiskSpace) -> Self {
        Self {
            space,
            unchecked: 0,
        }
    }

    fn written(&mut self, bytes: usize) -> io::Result<()> {
        self.unchecked += bytes;
        if self.unchecked >= Self::EACH {
            self.unchecked = 0;
            self.space.check(0).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// What a child is to do.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    Pack(PackOrder),
    Unpack(UnpackOrder),
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// So many bytes.
    Packed(u64),
    Placed,
    /// The entry is of no use to anybody.
    Refused(String),
    /// Nothing was changed.
    Failed(String),
    /// The project is neither as it was nor as it should be.
    Broken(String),
}

/// Is a process that makes or unpacks one entry, as its parent says. To be called from `main`, before anything else.
#[must_use]
pub(crate) fn handle_entry() -> ExitCode {
    child::serve(|order: Order, inside| async move {
        let done = spawn_blocking(move || carry_out(&order, &inside.stop)).await;
        done.unwrap_or_else(|error| Answer::Broken(error.to_string()))
    })
}

fn carry_out(order: &Order, stop: &CancellationToken) -> Answer {
    let stopped = match order {
        Order::Pack(order) => pack(order, stop).map(Answer::Packed),
        Order::Unpack(order) => match unpack(order, stop) {
            Ok(directories) => match place(order, &directories) {
                Ok(()) => Ok(Answer::Placed),
                Err(stopped) => return Answer::Broken(stopped.reason()),
            },
            Err(stopped) => Err(stopped),
        },
    };
    stopped.unwrap_or_else(|stopped| match stopped {
        Stopped::Refused(reason) => Answer::Refused(reason),
        Stopped::Failed(error) => Answer::Failed(error.to_string()),
    })
}

/// Why an entry was not used or not kept. The text goes to the user; the build goes on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    /// Nobody wants it any more.
    #[error("canceled")]
    Canceled,
    /// The entry, the tree, the disk or the child is at fault.
    #[error("{0}")]
    NotDone(String),
    /// It is, and the project has to be fetched again.
    #[error("{0}")]
    Broken(String),
}

/// What the cache says of a set-up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    /// The project has what an earlier set-up made.
    Whole {
        /// How many bytes the entry has.
        bytes: u64,
        /// Whether it came from the master now.
        from_master: bool,
    },
    /// There is no entry.
    Missed,
}

/// The entries of this slave.
#[derive(Debug)]
pub(crate) struct SetupCaches {
    kept: Arc<KeptEntries>,
    children: Children,
    space: DiskSpace,
    /// One entry is made at a time: each may have all the room that there is.
    making: Semaphore,
    /// The entries of other slaves.
    sharing: Sharing,
    /// Brings entries to the master, one at a time.
    giving: (TaskTracker, Arc<Semaphore>, CancellationToken),
}

/// A project that entries are made of or put into.
#[derive(Clone, Debug)]
pub(crate) struct CachedProject {
    /// `$PROJECT_DIR`.
    pub(crate) directory: PathBuf,
    /// A place for a directory on the file system of the project.
    pub(crate) beside: PathBuf,
    pub(crate) cache: SetupCache,
}

impl SetupCaches {
    /// Those below `directory`; of what an earlier life has left unfinished nothing stays.
    pub(crate) fn open(
        directory: PathBuf,
        max_bytes: Option<u64>,
        children: Children,
        (space, sharing): (DiskSpace, Sharing),
    ) -> Arc<Self> {
        Arc::new(Self {
            kept: Arc::new(KeptEntries::open(directory, max_bytes)),
            children,
            space,
            making: Semaphore::new(1),
            sharing,
            giving: (
                TaskTracker::new(),
                Arc::new(Semaphore::new(1)),
                CancellationToken::new(),
            ),
        })
    }

    /// Ends when nothing of what was begun is left. To be called when no more is wanted.
    pub(crate) async fn rest(&self) {
        let (tasks, _, end) = &self.giving;
        end.cancel();
        tasks.close();
        tasks.wait().await;
        self.children.rest().await;
    }

    /// Puts the entry of this key into a project, which comes from the master if it is not here.
    ///
    /// # Errors
    /// See [`CacheError`]. An entry that is damaged, or does not fit the project, goes.
    pub(crate) async fn restore(
        &self,
        key: &EntryKey,
        project: &CachedProject,
        stop: &CancellationToken,
    ) -> Result<Restored, CacheError> {
        let from_master = self.bring(key, stop).await?;
        let _reading = tokio::select! {
            reading = self.kept.reading(key) => reading,
            () = stop.cancelled() => return Err(CacheError::Canceled),
        };
        let Some(bytes) = self.on_disk(key, |kept, key| kept.use_now(key)).await? else {
            return Ok(Restored::Missed);
        };
        let beside = Removed::before(&project.beside).await?;
        let order = Order::Unpack(UnpackOrder {
            archive: self.kept.path(key),
            beside: project.beside.clone(),
            project: project.directory.clone(),
            cache: project.cache.clone(),
            max_bytes: self.kept.max_bytes().unwrap_or(u64::MAX),
            reserve: self.space.reserve(),
        });
        let answer = self.child(&order, stop).await;
        beside.after().await;
        let error = match answer {
            Ok(Answer::Placed) => return Ok(Restored::Whole { bytes, from_master }),
            Ok(Answer::Failed(reason)) => return Err(CacheError::NotDone(reason)),
            Ok(Answer::Refused(reason)) => CacheError::NotDone(reason),
            Ok(Answer::Broken(reason)) => CacheError::Broken(reason),
            Ok(Answer::Packed(_)) => CacheError::Broken("an odd answer".to_owned()),
            Err(ChildError::Canceled) if stop.is_cancelled() => return Err(CacheError::Canceled),
            Err(error @ ChildError::Start(_)) => {
                return Err(CacheError::NotDone(error.to_string()));
            }
            // It may have been about to move things.
            Err(error) => CacheError::Broken(told(&error)),
        };
        // The next set-up that succeeds makes it anew.
        self.on_disk(key, |kept, key| kept.remove(key)).await?;
        Err(error)
    }

    /// Brings an entry from the master that is not here; says whether it did.
    async fn bring(&self, key: &EntryKey, stop: &CancellationToken) -> Result<bool, CacheError> {
        let is_here = |kept: &KeptEntries, key: &EntryKey| kept.use_now(key).is_some();
        if self.on_disk(key, is_here).await? {
            return Ok(false);
        }
        let brought = async {
            let _making = self.kept.making(key).await;
            let begin = |kept: &KeptEntries, key: &EntryKey| {
                kept.make_directory()?;
                io::Result::Ok(kept.use_now(key).is_some())
            };
            if self.on_disk(key, begin).await?.map_err(not_done)? {
                return Ok(false);
            }
            self.space.check(0).map_err(not_done)?;
            let room = self.kept.max_bytes().unwrap_or(u64::MAX);
            let room = room.min(self.space.usable().unwrap_or(u64::MAX));
            let part = self.kept.part(key);
            let brought = self.sharing.bring(key, &part, room).await;
            if !brought.map_err(CacheError::NotDone)? {
                return Ok(false);
            }
            let kept = self.on_disk(key, move |kept, key| kept.keep(key, &part));
            kept.await?.map_err(not_done)?;
            Ok(true)
        };
        tokio::select! {
            brought = brought => brought,
            () = stop.cancelled() => Err(CacheError::Canceled),
        }
    }

    /// Brings an entry to the master meanwhile, for other slaves.
    fn give(&self, key: &EntryKey) {
        let (tasks, turns, end) = &self.giving;
        let (sharing, turns, end) = (self.sharing.clone(), Arc::clone(turns), end.clone());
        let (key, path) = (key.clone(), self.kept.path(key));
        tasks.spawn(async move {
            let give = async {
                let _turn = turns.acquire().await;
                sharing.give(&key, path).await;
            };
            tokio::select! {
                () = give => {}
                () = end.cancelled() => {}
            }
        });
    }

    /// Removes an entry that is of no use here.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub(crate) async fn forget(&self, key: &EntryKey) -> Result<(), CacheError> {
        let _making = self.kept.making(key).await;
        self.on_disk(key, |kept, key| kept.remove(key)).await
    }

    /// Keeps what a set-up has made, here and at the master. Says how many bytes the entry has; none where another build was faster.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub(crate) async fn save(
        &self,
        key: &EntryKey,
        project: &CachedProject,
        stop: &CancellationToken,
    ) -> Result<Option<u64>, CacheError> {
        let alone = async { (self.making.acquire().await, self.kept.making(key).await) };
        let _alone = tokio::select! {
            alone = alone => alone,
            () = stop.cancelled() => return Err(CacheError::Canceled),
        };
        let begin = |kept: &KeptEntries, key: &EntryKey| {
            kept.make_directory()?;
            io::Result::Ok(kept.use_now(key).is_some())
        };
        if self.on_disk(key, begin).await?.map_err(not_done)? {
            return Ok(None);
        }
        self.space.check(0).map_err(not_done)?;
        let part = self.kept.part(key);
        let order = Order::Pack(PackOrder {
            project: project.directory.clone(),
            paths: project.cache.paths().to_vec(),
            archive: part.path().to_owned(),
            max_bytes: self.kept.max_bytes().unwrap_or(u64::MAX),
            reserve: self.space.reserve(),
        });
        let answer = self.child(&order, stop).await;
        let error = match answer {
            Ok(Answer::Packed(bytes)) => {
                let secret = self.sharing.secret.clone();
                let keep = move |kept: &KeptEntries, key: &EntryKey| {
                    let mut file = File::options().read(true).write(true).open(part.path())?;
                    seal(&secret, key, &mut file)?;
                    kept.keep(key, &part)
                };
                self.on_disk(key, keep).await?.map_err(not_done)?;
                self.give(key);
                return Ok(Some(bytes));
            }
            Ok(Answer::Refused(reason) | Answer::Failed(reason) | Answer::Broken(reason)) => {
                CacheError::NotDone(reason)
            }
            Ok(Answer::Placed) => CacheError::NotDone("an odd answer".to_owned()),
            Err(ChildError::Canceled) if stop.is_cancelled() => CacheError::Canceled,
            Err(error) => CacheError::NotDone(told(&error)),
        };
        Err(error)
    }

    /// Has a child do something, for so long at most as atoms may have to wait for it.
    async fn child(&self, order: &Order, stop: &CancellationToken) -> Result<Answer, ChildError> {
        let limited = stop.child_token();
        let mut run = pin!(self.children.run::<Answer>(order, &limited));
        let answered = tokio::select! {
            answered = &mut run => answered,
            () = tokio::time::sleep(AT_MOST) => {
                limited.cancel();
                run.await
            }
        };
        answered.answer
    }

    /// Does something that waits for the disk.
    async fn on_disk<T: Send + 'static>(
        &self,
        key: &EntryKey,
        act: impl FnOnce(&KeptEntries, &EntryKey) -> T + Send + 'static,
    ) -> Result<T, CacheError> {
        let (kept, key) = (Arc::clone(&self.kept), key.clone());
        let done = spawn_blocking(move || act(&kept, &key)).await;
        done.map_err(not_done)
    }
}

fn not_done(error: impl std::fmt::Display) -> CacheError {
    CacheError::NotDone(error.to_string())
}

/// A child is told to end when it has had its time.
fn told(error: &ChildError) -> String {
    match error {
        ChildError::Canceled => format!("it takes longer than {} minutes", AT_MOST.as_secs() / 60),
        error => error.to_string(),
    }
}

/// The SHA-256 of a file from where it is read on. Blocks.
///
/// # Errors
/// It can not be read.
pub(crate) fn digest_of(mut file: &File) -> io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(digest.finalize().into()),
            read => digest.update(piece.get(..read).unwrap_or_default()),
        }
    }
}

/// A directory that is for one use only.
struct Removed(PathBuf);

impl Removed {
    /// Of an earlier use nothing is left.
    async fn before(path: &Path) -> Result<Self, CacheError> {
        let used = Self(path.to_owned());
        used.remove()
            .await
            .map_err(|error| CacheError::NotDone(error.to_string()))?;
        Ok(used)
    }

    async fn after(self) {
        if let Err(error) = self.remove().await {
            tracing::warn!(path = %self.0.display(), %error, "could not remove what was unpacked");
        }
    }

    async fn remove(&self) -> io::Result<()> {
        let path = self.0.clone();
        let removed = spawn_blocking(move || remove_all(&path)).await;
        removed
            .map_err(io::Error::other)
            .and_then(|removed| removed)
    }
}
