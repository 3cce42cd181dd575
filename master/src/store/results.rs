//! The results of all builds on the master's disk: `results/<build>/`.
//!
//! Results come in blocks ([`clusterrunner_common::results::block`]) and stay as they came: one after
//! the other in the build's file `blocks` (large ones in files of their own), with an `index` that
//! says where each result lies. `archive.json` says of an ended build which pieces make its
//! archive, and is empty until then. `tests` has what reports say of the tests of its atoms, if there
//! are any. A build thus has a handful of files, however many atoms it has.
//!
//! What is acknowledged is on disk: [`Results::append`] returns after the sync, which it shares with
//! others that wait.

mod archive;
mod archive_files;
mod archiving;
mod artifacts;
mod attempts;
mod batch;
mod build_archive;
mod build_store;
mod damage;
mod incoming;
mod index;
mod made;
mod matrix_archive;
mod piece_stream;
mod received;
mod reported;
mod steps;
mod stored;
mod stores;
mod tar_stream;
#[cfg(test)]
mod test_blocks;
#[cfg(test)]
mod tests;
mod writer;
mod zip_stream;

pub use artifacts::{Artifact, Artifacts};
pub use batch::{CheckedBatch, Expected, Judged};
pub use build_archive::BuildArchive;
pub use build_store::{StoredConsole, StoredTests};
pub use damage::is_damage;
pub use incoming::Incoming;
pub use made::block_of;
pub use matrix_archive::MatrixArchive;
pub use received::{UnusableResult, add_reports, add_starts, add_usages, outcomes};
pub use steps::{ATOMIZERS, FETCH, StoredStep};

use archive::Archive;
use build_store::{NewBlock, NewContent};
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use clusterrunner_common::results::block::CheckedResult;
use damage::{Damages, damaged};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use stores::Stores;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use writer::Writers;

const INDEX_DAMAGED: &str = "the index of the results is not as it was written; results are found in the blocks \
                             themselves";

/// How many large blocks may wait in memory at a time.
const IN_MEMORY: usize = 64;

/// The results of all builds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Results {
    stores: Arc<Stores>,
    writers: Writers,
    /// How many large blocks may wait in memory.
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

    /// Leave to hold one large block in memory, if there is room for it.
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

    /// Removes half-written files of an earlier process, and directories that are empty then. Blocks.
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
        if Archive::is_in(&directory) {
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

    /// Stores a block: what `check_block` found in it, with the hand-outs that its results are of.
    /// Returns when it is on disk. A result that is there already is stored once more; the later one
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
        let (mut placed, mut tests) = (Vec::with_capacity(results.len()), Vec::new());
        for (result, attempt) in results {
            let key = (result.subjob, attempt);
            placed.push((key, result.offset, result.length));
            let of_atoms = result.tests.into_iter();
            tests.extend(of_atoms.map(|(atom, tests)| (key, atom, tests)));
        }
        let block = NewBlock {
            results: placed,
            tests,
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
        opened.inspect_err(|error| self.damages.note_error(build, error))
    }

    /// Gives `read` each regular file that the atoms of a result left: its path, such as `artifact_3_0/report.xml`, its
    /// length, and its content as a stream. Where this returns without an error, all was as it was written. Blocks.
    ///
    /// # Errors
    /// The disk refuses, there is no such result (`NotFound`), what there is is damaged (see [`is_damage`]), or
    /// `read` fails.
    pub fn left_files(
        &self,
        build: BuildId,
        subjob: SubjobId,
        attempt: Attempt,
        read: impl FnMut(&Path, u64, &mut dyn io::Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let store = self.stored(build)?;
        store.left_files(subjob, attempt, read)
    }

    /// What is known to be damaged of a build, in words for its user.
    #[must_use]
    pub fn damages(&self, build: BuildId) -> Vec<String> {
        self.damages.of(build)
    }

    /// Whether it is known without a look at the disk that the archive needs all there is of a build.
    #[must_use]
    pub fn is_tidy(&self, build: BuildId) -> bool {
        // The holder of the lock may be at the disk.
        let stores = self.stores.open.try_lock();
        stores.is_ok_and(|stores| stores.get(&build).is_some_and(|store| store.is_tidy()))
    }

    /// Removes what the archive of a build does not need. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn clear_unused(&self, build: BuildId) -> io::Result<()> {
        let read = self.stores.open(build, false).and_then(|store| {
            let (archive, _) = Archive::read(store.directory())?;
            Ok((store, archive))
        });
        let (store, archive) = match read {
            // It has no archive, so nothing is known to be of no use.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read?,
        };
        store.remove_unused(|file| archive.uses(file))
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

/// What is in a directory; nothing where there is none.
fn entries(directory: &Path) -> io::Result<Vec<std::fs::DirEntry>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
