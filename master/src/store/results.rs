//! The results of all builds on the master's disk: `results/<build>/`.
//!
//! Results come in blocks ([`clusterrunner_common::results::block`]) and stay as they came: one after
//! the other in the build's file `blocks` (large ones in files of their own), with an `index` that
//! says where each result lies. `archive.json` says of an ended build which pieces make its
//! archive, and is empty until then. A build thus has a handful of files, however many atoms it has.
//!
//! What is acknowledged is on disk: [`Results::append`] returns after the sync, which it shares with
//! whoever else waits.

mod archive;
mod archive_files;
mod batch;
mod build_store;
mod damage;
mod incoming;
mod index;
mod made;
mod old_files;
mod received;
mod stored;
mod tar_stream;
#[cfg(test)]
mod test_blocks;
#[cfg(test)]
mod tests;
mod writer;
mod zip_stream;

pub use batch::{CheckedBatch, Expected, Judged};
pub use build_store::StoredConsole;
pub use damage::is_damage;
pub use incoming::Incoming;
pub use made::block_of;
pub use old_files::OldArchive;
pub use received::{UnusableResult, add_reports, outcomes};

use archive::Archive;
use archive_files::ArchiveFiles;
use build_store::{BuildStore, NewBlock, NewContent};
use bytes::Bytes;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::http::turns::Turns;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use clusterrunner_common::lock::lock;
use clusterrunner_common::results::block::CheckedResult;
use damage::{Damages, damaged};
use futures_util::{Stream, TryStreamExt as _};
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use writer::Writers;

/// How many builds' stores are kept open while nobody uses them, and of how many results.
const KEPT_OPEN: usize = 64;
const KEPT_RESULTS: usize = 500_000;

const INDEX_DAMAGED: &str = "the index of the results is not as it was written; results are found in the blocks \
                             themselves";

/// How many blocks of more than a little may wait in memory at a time.
const IN_MEMORY: usize = 64;

/// The results of all builds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Results {
    stores: Arc<Stores>,
    writers: Writers,
    /// How many blocks of more than a little may wait in memory.
    memory: Arc<Semaphore>,
    damages: Damages,
}

/// A block as it came in.
#[derive(Debug)]
pub enum Block {
    /// A small one.
    Memory(Vec<u8>),
    /// A large one.
    File(Incoming),
}

impl Results {
    /// Results below `directory`. Starts the threads that write them.
    ///
    /// # Errors
    /// There can be no threads.
    pub fn new(directory: PathBuf) -> io::Result<Self> {
        let stores = Arc::new(Stores {
            directory,
            open: Mutex::default(),
        });
        let writers = Writers::start(&stores)?;
        Ok(Self {
            stores,
            writers,
            memory: Arc::new(Semaphore::new(IN_MEMORY)),
            damages: Damages::default(),
        })
    }

    /// Leave to keep one block of more than a little in memory, if there is room for it.
    #[must_use]
    pub fn room_in_memory(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.memory).try_acquire_owned().ok()
    }

    /// A new file for a large block that is still coming in. Removed when dropped, unless it is
    /// appended.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn incoming(&self, build: BuildId) -> io::Result<Incoming> {
        Incoming::new(&self.stores.of_build(build))
    }

    /// How many bytes there are of a build. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn size(&self, build: BuildId) -> io::Result<u64> {
        let mut bytes = 0;
        for file in entries(&self.stores.of_build(build))? {
            bytes += file.metadata()?.len();
        }
        Ok(bytes)
    }

    /// Removes what an earlier process left half written, and directories of which nothing is left.
    /// Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove_incoming(&self) -> io::Result<()> {
        if !self.stores.directory.exists() {
            return Ok(());
        }
        // An earlier process may have died between making it and syncing that.
        if let Some(above) = self.stores.directory.parent() {
            std::fs::File::open(above)?.sync_all()?;
        }
        for build in std::fs::read_dir(&self.stores.directory)? {
            let build = build?.path();
            incoming::remove_leftovers(&build)?;
            match std::fs::remove_dir(build) {
                Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the results of a build that has no archive; how many files there were. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove_partial(&self, build: BuildId) -> io::Result<usize> {
        let directory = self.stores.of_build(build);
        if Archive::is_in(&directory) || old_files::has_archive(&directory) {
            return Ok(0);
        }
        let files = entries(&directory)?.len();
        self.remove(build)?;
        Ok(files)
    }

    /// Begins to make the place for the results of a build that is being prepared, so that the first of them
    /// need not wait for that. Returns at once; what comes back is over when it is made, or could not be.
    pub fn get_ready(&self, build: BuildId) -> impl Future<Output = ()> + Send + use<> {
        let ready = self.writers.get_ready(build);
        async move {
            if let Ok(Err(error)) = ready.await {
                tracing::debug!(build.id = build.0, %error, "no place for results could be made yet");
            }
        }
    }

    /// Keeps a block: what `check_block` found in it, with the hand-outs that its results are of.
    /// Returns when it is on disk. A result that is there already is kept once more; the later one
    /// is read.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn append(
        &self,
        build: BuildId,
        block: Block,
        results: Vec<(CheckedResult, Attempt)>,
    ) -> io::Result<()> {
        let placed = results
            .into_iter()
            .map(|(result, attempt)| ((result.subjob, attempt), result.offset, result.length));
        let block = NewBlock {
            results: placed.collect(),
            content: match block {
                Block::Memory(bytes) => NewContent::Memory(bytes),
                Block::File(file) => NewContent::File(file),
            },
        };
        self.writers.append(build, block).await
    }

    /// Whether the result of a hand-out is there. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn has(&self, build: BuildId, subjob: SubjobId, attempt: Attempt) -> io::Result<bool> {
        match self.stores.open(build, false) {
            Ok(store) => Ok(store.has((subjob, attempt))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens the console output of an atom with a result. Blocks.
    ///
    /// # Errors
    /// The disk refuses, there is nothing of the build (`NotFound`), or what there is is damaged: see
    /// [`is_damage`].
    pub fn console(
        &self,
        build: BuildId,
        subjob: SubjobId,
        attempt: Attempt,
        atom: AtomId,
    ) -> io::Result<StoredConsole> {
        let opened = self.stored(build).and_then(|store| {
            let console = store.console(subjob, attempt, atom);
            if store.index_is_damaged() {
                self.damages.note(build, INDEX_DAMAGED);
            }
            // Everything was there when the archive was made.
            let is_missed = !store.has((subjob, attempt)) && Archive::is_in(store.directory());
            match console {
                Err(error) if error.kind() == io::ErrorKind::NotFound && is_missed => Err(damaged(
                    format!("the result of subjob {subjob} is not there any more"),
                )),
                console => console,
            }
        });
        let directory = self.stores.of_build(build);
        let opened = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_damage(&error) => {
                old_files::console(&directory, subjob, attempt, atom).map_err(|old| {
                    match old.kind() {
                        io::ErrorKind::NotFound => error,
                        _ => old,
                    }
                })
            }
            opened => opened,
        };
        opened.inspect_err(|error| self.damages.note_error(build, error))
    }

    /// What is known to be damaged of a build, in words for its user.
    #[must_use]
    pub fn damages(&self, build: BuildId) -> Vec<String> {
        self.damages.of(build)
    }

    /// Makes the archive of a build out of these results, so that [`Self::archive`] finds it; told
    /// to stop, it may be left unmade. Blocks.
    ///
    /// # Errors
    /// The disk refuses, or one of the results is not there.
    pub fn make_archive(
        &self,
        build: BuildId,
        results: &[(SubjobId, Attempt)],
        failures: &[String],
        stop: &CancellationToken,
    ) -> io::Result<()> {
        let store = self.stores.open(build, true)?;
        old_files::take_in(&store, results)?;
        Archive::make(&store, results, failures, stop)
    }

    /// The archive of an ended build, whatever is in it. Blocks.
    ///
    /// # Errors
    /// As [`Self::archive_of`].
    pub fn archive(&self, build: BuildId) -> io::Result<BuildArchive> {
        self.read_archive(build, None)
    }

    /// The archive of an ended build, of which `num_results` subjobs have a result. Blocks.
    ///
    /// # Errors
    /// The disk refuses, it was not made (`NotFound`), or it is damaged: see [`is_damage`].
    pub fn archive_of(&self, build: BuildId, num_results: u64) -> io::Result<BuildArchive> {
        self.read_archive(build, Some(num_results))
    }

    /// The store of a build, if there is one.
    fn stored(&self, build: BuildId) -> io::Result<Arc<BuildStore>> {
        match self.stores.open(build, false) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && Archive::is_in(&self.stores.of_build(build)) =>
            {
                Err(damaged("the file of the blocks is missing"))
            }
            opened => opened,
        }
    }

    fn read_archive(&self, build: BuildId, num_results: Option<u64>) -> io::Result<BuildArchive> {
        let store = self.stored(build);
        let store = store.inspect_err(|error| self.damages.note_error(build, error))?;
        let read = Archive::read(&store).and_then(|(archive, made_at)| {
            match archive.num_results().zip(num_results) {
                Some((has, must_have)) if has != must_have => Err(damaged(format!(
                    "the archive has {has} results, and the build has {must_have}"
                ))),
                _ => Ok((archive, made_at)),
            }
        });
        let (archive, made_at) = match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_missed(&store) => {
                Err(damaged("the list of the archive's pieces is missing"))
            }
            read => read,
        }
        .inspect_err(|error| self.damages.note_error(build, error))?;
        // It tells what was there; the archive needs only the blocks.
        if !archive.fits(&store)? {
            self.damages.note(build, INDEX_DAMAGED);
        }
        self.opened(build, &store, archive, made_at)
    }

    /// The same archive again where what was written of it is damaged: out of the blocks, in memory. Blocks.
    ///
    /// # Errors
    /// The disk refuses, or the blocks are damaged too: see [`is_damage`].
    pub fn archive_again(
        &self,
        build: BuildId,
        results: &[(SubjobId, Attempt)],
        failures: &[String],
    ) -> io::Result<BuildArchive> {
        let store = self.stored(build)?;
        let made_at = std::fs::metadata(store.file(0))?.modified()?;
        let archive = Archive::again(&store, results, failures, timestamp(made_at));
        let archive = archive.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => damaged(format!("there is {error}")),
            _ => error,
        });
        let archive = archive.inspect_err(|error| self.damages.note_error(build, error))?;
        self.opened(build, &store, archive, made_at)
    }

    fn is_missed(&self, store: &BuildStore) -> bool {
        store.num_results() > 0 && !old_files::has_archive(store.directory())
    }

    fn opened(
        &self,
        build: BuildId,
        store: &Arc<BuildStore>,
        archive: Archive,
        made_at: SystemTime,
    ) -> io::Result<BuildArchive> {
        let files = ArchiveFiles::open(store, &archive);
        Ok(BuildArchive {
            files: files.inspect_err(|error| self.damages.note_error(build, error))?,
            archive,
            made_at,
            build,
            damages: self.damages.clone(),
        })
    }

    /// The archive of a build that ended before there were blocks.
    #[must_use]
    pub fn old_archive(&self, build: BuildId, name: OldArchive) -> PathBuf {
        self.stores.of_build(build).join(name.file_name())
    }

    /// Whether it is known without a look at the disk that the archive needs all there is of a build.
    #[must_use]
    pub fn is_tidy(&self, build: BuildId) -> bool {
        // Whoever holds it may be at the disk.
        let stores = self.stores.open.try_lock();
        stores.is_ok_and(|stores| stores.get(&build).is_some_and(|store| store.is_tidy()))
    }

    /// Removes what the archive of a build does not need. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn clear_unused(&self, build: BuildId) -> io::Result<()> {
        let read = self.stores.open(build, false).and_then(|store| {
            let (archive, _) = Archive::read(&store)?;
            Ok((store, archive))
        });
        let (store, archive) = match read {
            // It has no archive of this kind, so nothing is known to be of no use.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read?,
        };
        store.remove_unused(|file| archive.uses(file))?;
        old_files::remove(store.directory())
    }

    /// Removes all of a build. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove(&self, build: BuildId) -> io::Result<()> {
        self.stores.lock().remove(&build);
        self.damages.forget(build);
        match std::fs::remove_dir_all(self.stores.of_build(build)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

/// The archive of an ended build.
#[derive(Debug)]
pub struct BuildArchive {
    files: ArchiveFiles,
    archive: Archive,
    made_at: SystemTime,
    build: BuildId,
    damages: Damages,
}

impl BuildArchive {
    /// The length of `artifacts.tar.gz` in bytes.
    #[must_use]
    pub fn tar_length(&self) -> u64 {
        self.archive.length()
    }

    /// When it was made; it never changes after that.
    #[must_use]
    pub fn made_at(&self) -> SystemTime {
        self.made_at
    }

    /// The bytes of `artifacts.tar.gz` in `range`, to the end also if the build is removed meanwhile.
    pub fn tar(self, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send {
        tar_stream::stream(self.files, &self.archive, range)
    }

    /// `artifacts.zip`, made while it is read, to the end also if the build is removed meanwhile; each piece takes
    /// its turn. It ends in an error if something goes wrong.
    pub fn zip(self, turns: Turns) -> impl Stream<Item = io::Result<Bytes>> + Send {
        let (build, damages) = (self.build, self.damages);
        let stream = zip_stream::stream(self.files, self.archive, turns);
        stream.inspect_err(move |error| damages.note_error(build, error))
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default().as_millis();
    Timestamp(u64::try_from(since).unwrap_or(u64::MAX))
}

fn num_results(stores: &HashMap<BuildId, Arc<BuildStore>>) -> usize {
    stores.values().map(|store| store.num_results()).sum()
}

/// What is in a directory; nothing where there is none.
fn entries(directory: &Path) -> io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The stores of all builds, the open ones at hand.
#[derive(Debug)]
struct Stores {
    directory: PathBuf,
    open: Mutex<HashMap<BuildId, Arc<BuildStore>>>,
}

impl Stores {
    fn of_build(&self, build: BuildId) -> PathBuf {
        self.directory.join(build.to_string())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<BuildId, Arc<BuildStore>>> {
        lock(&self.open)
    }

    /// The store of a build; `make`s it if there is none.
    fn open(&self, build: BuildId, make: bool) -> io::Result<Arc<BuildStore>> {
        // Held while it opens: two openings of one store would not know of each other's results.
        let mut open = self.lock();
        if let Some(store) = open.get(&build) {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(BuildStore::open(self.of_build(build), make)?);
        while open.len() >= KEPT_OPEN || num_results(&open) > KEPT_RESULTS {
            // The lowest id is the oldest build, the least likely to be asked for again.
            let unused = open
                .iter()
                .filter(|(_, store)| Arc::strong_count(store) == 1);
            let Some(oldest) = unused.map(|(build, _)| *build).min() else {
                break;
            };
            open.remove(&oldest);
        }
        open.insert(build, Arc::clone(&store));
        Ok(store)
    }
}
