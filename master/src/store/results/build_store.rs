//! The results of one build: its blocks one after the other in a file, and an index of them.

mod appending;
mod orphans;
mod reading;
mod reported;

pub(super) use appending::SyncedDirectories;
pub use reading::StoredConsole;
pub(super) use reading::UsedBlock;
pub use reported::StoredTests;

use super::archive::Archive;
use super::incoming::Incoming;
use super::index::{self, BlockPlace, Index, IndexSum, Key, RECORD, StoredPlace};
use appending::Appending;
use clusterrunner_common::lock::lock;
use orphans::Orphans;
use reported::{NewTests, TestsFile};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};

/// Consoles up to this size are read into memory, larger ones are laid out in a nameless file.
const SMALL_CONSOLE: u64 = 1 << 20;

/// Blocks up to this length, compressed, are read to their end for one console: only there is their checksum.
pub(super) const CHECKED_BLOCK: u64 = 1 << 20;

const BLOCKS: &str = "blocks";
pub(super) const INDEX: &str = "index";
/// What the names of files with one large block begin with.
const LARGE: &str = "block-";

/// A block on its way into the store, and what it holds.
#[derive(Debug)]
pub(super) struct NewBlock {
    pub(super) content: NewContent,
    pub(super) results: Vec<Placed>,
    /// What reports say of the tests of its atoms.
    pub(super) tests: Vec<NewTests>,
}

#[derive(Debug)]
pub(super) enum NewContent {
    Memory(Vec<u8>),
    /// A large one, which keeps a file of its own.
    File(Incoming),
}

/// The store of one build.
#[derive(Debug)]
pub(super) struct BuildStore {
    directory: PathBuf,
    /// Opened when something is appended: a store that is only read writes nothing.
    files: OnceLock<Files>,
    index: Mutex<Index>,
    /// Whether the index was compared with what an archive was made by.
    is_compared: AtomicBool,
    /// Results that the index does not name any more, once one was missed.
    orphans: OnceLock<Orphans>,
    /// Whether something of that was needed.
    needed_orphans: AtomicBool,
    /// Whether there was nothing of the build before.
    is_new: bool,
    /// Held while something is appended. Directories that must get to disk with it: what was made in
    /// them must be as lasting as what comes into it.
    appending: Mutex<Vec<PathBuf>>,
    /// Opened with the first tests.
    tests: Mutex<Option<TestsFile>>,
}

impl BuildStore {
    /// Opens the store in `directory`, to read from. Nothing that is there is changed, however it looks: what was
    /// never acknowledged at the files' ends is left out, and left behind when something is appended.
    ///
    /// # Errors
    /// The disk refuses, or there is no store (`NotFound`) and none is to be made.
    pub(super) fn open(directory: PathBuf, make: bool) -> io::Result<Self> {
        let is_first = directory.parent().is_some_and(|above| !above.exists());
        let is_new = make && make_directory(&directory)?;
        if is_new {
            Archive::reserve(&directory)?;
        }
        // The process that made them may have ended before it synced them.
        let num_unsynced = if is_first { 3 } else { 2 };
        let unsynced = directory.ancestors().take(num_unsynced);
        let unsynced = unsynced.map(Path::to_owned).collect();
        let files = OnceLock::new();
        if make {
            // The names of new files get to disk with the first result.
            files.set(Files::open(&directory)?).ok();
        }
        let blocks_length = std::fs::metadata(directory.join(BLOCKS))?.len();
        let bytes = match std::fs::read(directory.join(INDEX)) {
            // It says nothing any more; the blocks do.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let index = Index::read(&bytes, blocks_length);
        Ok(Self {
            directory,
            files,
            index: Mutex::new(index),
            is_compared: AtomicBool::new(false),
            orphans: OnceLock::new(),
            needed_orphans: AtomicBool::new(false),
            is_new,
            appending: Mutex::new(unsynced),
            tests: Mutex::default(),
        })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    /// Adds blocks and brings them to disk; all of them or none.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn append(&self, blocks: Vec<NewBlock>) -> io::Result<()> {
        let appending = self.begin(blocks)?;
        let synced = appending.sync(&mut SyncedDirectories::default());
        appending.end(synced)
    }

    /// Begins to add blocks: they are written, and count when they are synced. No others are added
    /// meanwhile.
    ///
    /// # Errors
    /// The disk refuses; then nothing is added.
    pub(super) fn begin(&self, blocks: Vec<NewBlock>) -> io::Result<Appending<'_>> {
        let mut unsynced = lock(&self.appending);
        let (records_end, blocks_end) = {
            let index = self.index();
            (index.length, index.blocks_end)
        };
        match self.write(blocks, records_end, blocks_end, &mut unsynced) {
            Ok(added) => Ok(Appending {
                store: self,
                added,
                records_end,
                blocks_end,
                unsynced,
            }),
            Err(error) => {
                self.cut_off(records_end, blocks_end);
                Err(error)
            }
        }
    }

    /// What was written behind these ends in this call is behind the ends that the index knows, and is written over
    /// next time; giving it back is a courtesy to a full disk. Nothing that was there before lies behind them:
    /// see [`Index::read`].
    fn cut_off(&self, records_end: u64, blocks_end: u64) {
        if let Some(files) = self.files.get() {
            files.blocks.set_len(blocks_end).ok();
            files.index.set_len(records_end).ok();
        }
    }

    /// The files to append to.
    fn files(&self) -> io::Result<&Files> {
        if let Some(files) = self.files.get() {
            return Ok(files);
        }
        let opened = Files::open(&self.directory)?;
        Ok(self.files.get_or_init(|| opened))
    }

    fn write(
        &self,
        blocks: Vec<NewBlock>,
        records_end: u64,
        blocks_end: u64,
        unsynced: &mut Vec<PathBuf>,
    ) -> io::Result<Vec<(Key, StoredPlace)>> {
        let files = self.files()?;
        let (mut added, mut tests) = (Vec::new(), Vec::new());
        let mut end = blocks_end;
        for mut block in blocks {
            tests.append(&mut block.tests);
            let place = match block.content {
                NewContent::Memory(bytes) => {
                    files.blocks.write_all_at(&bytes, end)?;
                    let offset = end;
                    let length = bytes.len() as u64;
                    end += length;
                    BlockPlace {
                        file: 0,
                        offset,
                        length,
                    }
                }
                NewContent::File(incoming) => {
                    let length = incoming.file().metadata()?.len();
                    let file = incoming.number();
                    incoming.keep(&self.large(file))?;
                    if !unsynced.contains(&self.directory) {
                        unsynced.push(self.directory.clone());
                    }
                    BlockPlace {
                        file,
                        offset: 0,
                        length,
                    }
                }
            };
            let placed = block.results.into_iter().map(|(key, offset, length)| {
                let place = StoredPlace {
                    block: place,
                    offset,
                    length,
                };
                (key, place)
            });
            added.extend(placed);
        }
        let records: Vec<u8> = added
            .iter()
            .flat_map(|(key, place)| index::encode(*key, *place))
            .collect();
        files.index.write_all_at(&records, records_end)?;
        // The blocks have them too: a result counts without them.
        if let Err(error) = self.add_tests(&tests, unsynced) {
            self.warn_of_tests(&error);
        }
        Ok(added)
    }

    /// Whether the names of its files are on disk.
    pub(super) fn has_lasting_names(&self) -> bool {
        lock(&self.appending).is_empty()
    }

    /// Whether there surely are no files but those of the small blocks.
    pub(super) fn is_tidy(&self) -> bool {
        self.is_new && !self.index().has_files
    }

    /// Whether the result of a hand-out is there.
    pub(super) fn has(&self, key: Key) -> bool {
        self.index().find(key).is_some()
    }

    /// Removes the files of large blocks that neither hold a result's latest copy nor are `needed`.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn remove_unused(&self, needed: impl Fn(u64) -> bool) -> io::Result<()> {
        let _one_at_a_time = lock(&self.appending);
        let latest: HashSet<u64> = {
            let index = self.index();
            index.files().collect()
        };
        for file in std::fs::read_dir(&self.directory)? {
            let file = file?;
            let name = file.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(LARGE));
            let number = number.and_then(|number| u64::from_str_radix(number, 16).ok());
            if number.is_some_and(|number| !needed(number) && !latest.contains(&number)) {
                std::fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    /// Whether the index did not name results that were asked for.
    pub(super) fn index_is_damaged(&self) -> bool {
        self.needed_orphans.load(Ordering::Relaxed)
    }

    /// Whether the index is what it was, but for what was appended since. Told once: nothing else changes it.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn has_kept_index(&self, before: IndexSum) -> io::Result<bool> {
        if self.is_compared.swap(true, Ordering::Relaxed) {
            return Ok(true);
        }
        let bytes = match std::fs::read(self.directory.join(INDEX)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            read => read?,
        };
        let length = usize::try_from(before.length).unwrap_or(usize::MAX);
        let same = bytes.get(..length).map(IndexSum::of);
        Ok(same == Some(before))
    }

    /// The index as it is now.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn index_now(&self) -> io::Result<IndexSum> {
        Ok(IndexSum::of(&std::fs::read(self.directory.join(INDEX))?))
    }

    /// The file with this number.
    pub(super) fn file(&self, number: u64) -> PathBuf {
        match number {
            0 => self.directory.join(BLOCKS),
            large => self.large(large),
        }
    }

    /// Removes a large block that no index names.
    pub(super) fn remove_large(&self, number: u64) {
        std::fs::remove_file(self.large(number)).ok();
    }

    fn large(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{LARGE}{number:016x}"))
    }

    /// How many results it has had, each time they came.
    pub(super) fn num_results(&self) -> usize {
        usize::try_from(self.index().length).unwrap_or(usize::MAX) / RECORD
    }

    /// Where it lies.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// The files of a store, to append to.
#[derive(Debug)]
struct Files {
    blocks: File,
    index: File,
}

impl Files {
    fn open(directory: &Path) -> io::Result<Self> {
        let open = |name| {
            let mut options = File::options();
            options.write(true).create(true).truncate(false);
            options.open(directory.join(name))
        };
        let (blocks, index) = (open(BLOCKS)?, open(INDEX)?);
        Ok(Self { blocks, index })
    }
}

/// Makes a directory and those above it; says whether it is new.
fn make_directory(directory: &Path) -> io::Result<bool> {
    match std::fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(directory)?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        made => made.map(|()| true),
    }
}

/// A result, where it begins in its uncompressed block, and how long it is.
pub(super) type Placed = (Key, u64, u64);
