//! What is read out of a store: blocks for an archive, and the console output of one atom.

use super::orphans::Orphans;
use super::{BuildStore, CHECKED_BLOCK, Placed, SMALL_CONSOLE};
use crate::store::results::index::{BlockPlace, Found, Key, StoredPlace};
use clusterrunner_common::ids::{AtomId, Attempt, SubjobId};
use clusterrunner_common::results::artifact::{CONSOLE_FILE, directory_name};
use clusterrunner_common::results::block::{checked_content_of, checked_files_of, content_of};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::atomic::Ordering;

impl BuildStore {
    /// The blocks that hold the results of these hand-outs, in their order.
    ///
    /// # Errors
    /// One of the results is not there.
    pub(in crate::store::results) fn blocks_of(
        &self,
        wanted: &[Key],
    ) -> io::Result<Vec<UsedBlock>> {
        let (mut found, mut lost) = (Vec::with_capacity(wanted.len()), Vec::new());
        {
            let index = self.index();
            for key in wanted {
                match index.find(*key) {
                    Some(place) => found.push((place, *key)),
                    None => lost.push(*key),
                }
            }
        }
        let is_doubtful = !lost.is_empty() || self.index().num_unread > 0;
        for key in lost {
            let place = self.orphan(key)?.ok_or_else(|| missing(key))?;
            found.push((place, key));
        }
        if is_doubtful {
            let orphans = self.orphans()?;
            for (found, _) in &mut found {
                if let Some(in_block) = orphans.in_block(found.place.block) {
                    found.in_block = in_block;
                }
            }
        }
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
    pub(in crate::store::results) fn console(
        &self,
        subjob: SubjobId,
        attempt: Attempt,
        atom: AtomId,
    ) -> io::Result<StoredConsole> {
        let place = self.place_of((subjob, attempt))?;
        let name = format!("{}/{CONSOLE_FILE}", directory_name(subjob, atom));
        let block = self.read_block(place.block)?;
        let (offset, length) = (place.offset, place.length);
        if place.block.length > CHECKED_BLOCK {
            return content_of(block, offset, length, &name, StoredConsole::of);
        }
        checked_content_of(block, offset, length, &name, StoredConsole::of)
    }

    /// Gives `read` each regular file of a result, as [`checked_files_of`].
    ///
    /// # Errors
    /// The disk refuses, there is no such result (`NotFound`), or `read` fails.
    pub(in crate::store::results) fn left_files(
        &self,
        subjob: SubjobId,
        attempt: Attempt,
        read: impl FnMut(&Path, u64, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let place = self.place_of((subjob, attempt))?;
        let block = self.read_block(place.block)?;
        checked_files_of(block, place.offset, place.length, read)
    }

    /// Where a result lies.
    ///
    /// # Errors
    /// The disk refuses, or there is no such result (`NotFound`).
    pub(in crate::store::results) fn place_of(&self, key: Key) -> io::Result<StoredPlace> {
        let known = self.index().find(key);
        let found = match known {
            Some(found) => Some(found),
            None => self.orphan(key)?,
        };
        Ok(found.ok_or_else(|| missing(key))?.place)
    }

    fn orphans(&self) -> io::Result<&Orphans> {
        if let Some(orphans) = self.orphans.get() {
            return Ok(orphans);
        }
        let found = Orphans::of(self)?;
        Ok(self.orphans.get_or_init(|| found))
    }

    /// A result that the index does not name.
    fn orphan(&self, (subjob, _): Key) -> io::Result<Option<Found>> {
        let found = self.orphans()?.find(subjob);
        if found.is_some() {
            self.needed_orphans.store(true, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// A block, compressed as it is.
    ///
    /// # Errors
    /// The disk refuses.
    pub(in crate::store::results) fn read_block(
        &self,
        place: BlockPlace,
    ) -> io::Result<BufReader<io::Take<File>>> {
        let mut file = File::open(self.file(place.file))?;
        file.seek(SeekFrom::Start(place.offset))?;
        Ok(BufReader::new(file.take(place.length)))
    }
}

/// A block of which something is wanted.
#[derive(Debug)]
pub(in crate::store::results) struct UsedBlock {
    pub(in crate::store::results) place: BlockPlace,
    /// What is wanted of it, in its order, where that is not all that it holds.
    pub(in crate::store::results) results: Vec<Placed>,
    /// Whether that is all that it holds.
    pub(in crate::store::results) is_whole: bool,
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
    pub(in crate::store::results) fn of(text: &mut dyn Read) -> io::Result<Self> {
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
