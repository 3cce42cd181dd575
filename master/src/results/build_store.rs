//! The results of one build: its blocks one after the other in a file, and an index of them.

mod appending;

pub(super) use appending::SyncedDirectories;

use super::archive::Archive;
use super::incoming::Incoming;
use super::index::{self, BlockPlace, Index, Key, Place, RECORD};
use appending::Appending;
use clusterrunner_common::artifact::{CONSOLE_FILE, directory_name};
use clusterrunner_common::ids::{AtomId, Attempt, SubjobId};
use clusterrunner_common::result_block::content_of;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Consoles up to this size are read into memory, larger ones are laid out in a nameless file.
const SMALL_CONSOLE: u64 = 1 << 20;

const BLOCKS: &str = "blocks";
const INDEX: &str = "index";
/// What the names of files with one large block begin with.
const LARGE: &str = "block-";

/// A block on its way into the store, and what it holds.
#[derive(Debug)]
pub(super) struct NewBlock {
    pub(super) content: NewContent,
    pub(super) results: Vec<Placed>,
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
    blocks: File,
    index_file: File,
    index: Mutex<Index>,
    /// Whether there was nothing of the build before.
    is_new: bool,
    /// Held while something is appended. Directories that must get to disk with it: what was made in
    /// them must be as lasting as what comes into it.
    appending: Mutex<Vec<PathBuf>>,
}

impl BuildStore {
    /// Opens the store in `directory`. What was never acknowledged at the files' ends is cut off.
    ///
    /// # Errors
    /// The disk refuses, or there is no store (`NotFound`) and none is to be made.
    pub(super) fn open(directory: PathBuf, make: bool) -> io::Result<Self> {
        let is_first = directory.parent().is_some_and(|above| !above.exists());
        let is_new = make && make_directory(&directory)?;
        if is_new {
            Archive::reserve(&directory)?;
        }
        // Whoever made them earlier may not have come to sync them.
        let num_unsynced = if is_first { 3 } else { 2 };
        let unsynced = directory.ancestors().take(num_unsynced);
        let unsynced = unsynced.map(Path::to_owned).collect();
        let open = |name| {
            let mut options = File::options();
            options.read(true).write(true).create(make).truncate(false);
            options.open(directory.join(name))
        };
        let (blocks, mut index_file) = (open(BLOCKS)?, open(INDEX)?);
        let mut bytes = Vec::new();
        index_file.read_to_end(&mut bytes)?;
        let blocks_length = blocks.metadata()?.len();
        let index = Index::read(&bytes, blocks_length);
        if blocks_length > index.blocks_end {
            blocks.set_len(index.blocks_end)?;
        }
        if bytes.len() as u64 > index.length {
            index_file.set_len(index.length)?;
        }
        Ok(Self {
            directory,
            blocks,
            index_file,
            index: Mutex::new(index),
            is_new,
            appending: Mutex::new(unsynced),
        })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Begins to add blocks: they are written, and count when they are synced. Nobody else adds any
    /// meanwhile.
    ///
    /// # Errors
    /// The disk refuses; then nothing is added.
    pub(super) fn begin(&self, blocks: Vec<NewBlock>) -> io::Result<Appending<'_>> {
        let one_at_a_time = self.appending.lock();
        let mut unsynced = one_at_a_time.unwrap_or_else(PoisonError::into_inner);
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

    /// What was written behind these ends is behind the ends that the index knows, and is written over
    /// next time; giving it back is a courtesy to a full disk.
    fn cut_off(&self, records_end: u64, blocks_end: u64) {
        self.blocks.set_len(blocks_end).ok();
        self.index_file.set_len(records_end).ok();
    }

    fn write(
        &self,
        blocks: Vec<NewBlock>,
        records_end: u64,
        blocks_end: u64,
        unsynced: &mut Vec<PathBuf>,
    ) -> io::Result<Vec<(Key, Place)>> {
        let mut added = Vec::new();
        let mut end = blocks_end;
        for block in blocks {
            let place = match block.content {
                NewContent::Memory(bytes) => {
                    self.blocks.write_all_at(&bytes, end)?;
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
                let place = Place {
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
        self.index_file.write_all_at(&records, records_end)?;
        Ok(added)
    }

    /// Whether the names of its files are on disk.
    pub(super) fn has_lasting_names(&self) -> bool {
        let unsynced = self.appending.lock();
        unsynced.unwrap_or_else(PoisonError::into_inner).is_empty()
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
        let one_at_a_time = self.appending.lock();
        let _one_at_a_time = one_at_a_time.unwrap_or_else(PoisonError::into_inner);
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

    /// The blocks that hold the results of these hand-outs, in their order.
    ///
    /// # Errors
    /// One of the results is not there.
    pub(super) fn blocks_of(&self, wanted: &[Key]) -> io::Result<Vec<UsedBlock>> {
        let mut found = {
            let index = self.index();
            let found = wanted.iter().map(|key| {
                let found = index.find(*key).ok_or_else(|| missing(*key))?;
                Ok((found, *key))
            });
            found.collect::<io::Result<Vec<_>>>()?
        };
        found.sort_unstable_by_key(|(found, _)| (found.place.block, found.place.offset));
        let used = found.chunk_by(|(one, _), (other, _)| one.place.block == other.place.block);
        let used = used.filter_map(|results| {
            let (first, _) = results.first()?;
            let is_whole = results.len() == first.in_block;
            let placed = results.iter().filter(|_| !is_whole);
            let placed = placed.map(|(found, key)| (*key, found.place.offset, found.place.length));
            Some(UsedBlock {
                place: first.place.block,
                is_whole,
                results: placed.collect(),
            })
        });
        Ok(used.collect())
    }

    /// The console output of an atom, to be read and searched from its beginning.
    ///
    /// # Errors
    /// The disk refuses, or there is no such result (`NotFound`).
    pub(super) fn console(
        &self,
        subjob: SubjobId,
        attempt: Attempt,
        atom: AtomId,
    ) -> io::Result<StoredConsole> {
        let key = (subjob, attempt);
        let found = self.index().find(key);
        let place = found.ok_or_else(|| missing(key))?.place;
        let name = format!("{}/{CONSOLE_FILE}", directory_name(subjob, atom));
        let block = self.read_block(place.block)?;
        content_of(block, place.offset, place.length, &name, StoredConsole::of)
    }

    /// A block, compressed as it is.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn read_block(&self, place: BlockPlace) -> io::Result<BufReader<io::Take<File>>> {
        let mut file = File::open(self.file(place.file))?;
        file.seek(SeekFrom::Start(place.offset))?;
        Ok(BufReader::new(file.take(place.length)))
    }

    /// The file with this number.
    pub(super) fn file(&self, number: u64) -> PathBuf {
        match number {
            0 => self.directory.join(BLOCKS),
            large => self.large(large),
        }
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

/// A block of which something is wanted.
#[derive(Debug)]
pub(super) struct UsedBlock {
    pub(super) place: BlockPlace,
    /// What is wanted of it, in its order, where that is not all that it holds.
    pub(super) results: Vec<Placed>,
    /// Whether that is all that it holds.
    pub(super) is_whole: bool,
}

fn missing((subjob, attempt): Key) -> io::Error {
    let what = format!("no result of subjob {subjob}, attempt {attempt}");
    io::Error::new(io::ErrorKind::NotFound, what)
}

/// An atom's output, from its beginning.
#[derive(Debug)]
pub enum StoredConsole {
    /// A short one.
    Memory(Cursor<Vec<u8>>),
    /// A long one.
    File(BufReader<File>),
}

impl StoredConsole {
    /// Compressed text can not be searched from its end, so it is laid out.
    pub(super) fn of(text: &mut dyn Read) -> io::Result<Self> {
        let mut start = Vec::new();
        text.take(SMALL_CONSOLE).read_to_end(&mut start)?;
        if (start.len() as u64) < SMALL_CONSOLE {
            return Ok(Self::Memory(Cursor::new(start)));
        }
        let mut file = tempfile::tempfile()?;
        io::Write::write_all(&mut file, &start)?;
        io::copy(text, &mut file)?;
        file.rewind()?;
        Ok(Self::File(BufReader::new(file)))
    }
}
