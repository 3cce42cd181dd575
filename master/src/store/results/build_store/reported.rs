//! What reports say of the tests of a build's atoms: a file of records beside the blocks, which have the same once more
//! in the directories of the atoms. From there it would be found only by reading every block.
//!
//! A record is subjob, attempt, atom and length (4 bytes each, big-endian), the CRC-32 of these and of what follows, and
//! then the tests as the slave wrote them. Of several records of one hand-out the last one counts.

use super::BuildStore;
use crate::store::results::index::Key;
use clusterrunner_common::ids::{AtomId, Attempt, SubjobId};
use clusterrunner_common::junit::bounds::MAX_FORM;
use clusterrunner_common::junit::{ReportedTest, read_form};
use clusterrunner_common::lock::lock;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

const TESTS: &str = "tests";

/// The length of a record without its tests.
const HEAD: usize = 5 * 4;

/// How many bytes are kept of all tests of a build; those of atoms that end later count as one test each.
const MAX_OF_BUILD: u64 = 512 << 20;

/// The tests of an atom on their way into the store.
pub(in crate::store::results) type NewTests = (Key, AtomId, Vec<u8>);

/// The file, to append to.
#[derive(Debug)]
pub(super) struct TestsFile {
    file: File,
    end: u64,
    is_synced: bool,
}

impl BuildStore {
    /// Writes the tests of some atoms. If what they belong to does not get to disk, nobody asks for them.
    pub(super) fn add_tests(
        &self,
        tests: &[NewTests],
        unsynced: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        if tests.is_empty() {
            return Ok(());
        }
        let mut opened = lock(&self.tests);
        let opened = match &mut *opened {
            Some(opened) => opened,
            none => {
                if !unsynced.contains(&self.directory) {
                    unsynced.push(self.directory.clone());
                }
                none.insert(TestsFile::open(&self.directory)?)
            }
        };
        for (key, atom, form) in tests {
            let record = record(*key, *atom, form);
            if opened.end + record.len() as u64 > MAX_OF_BUILD {
                tracing::debug!(directory = %self.directory.display(), "no room for more tests");
                return Ok(());
            }
            opened.file.write_all_at(&record, opened.end)?;
            opened.end += record.len() as u64;
            opened.is_synced = false;
        }
        Ok(())
    }

    /// Says that tests are lost.
    pub(super) fn warn_of_tests(&self, error: &io::Error) {
        tracing::warn!(directory = %self.directory.display(), %error, "tests of atoms could not be kept");
    }

    /// Brings what was written of them to disk.
    pub(super) fn sync_tests(&self) -> io::Result<()> {
        let mut opened = lock(&self.tests);
        if let Some(opened) = opened.as_mut().filter(|opened| !opened.is_synced) {
            opened.file.sync_data()?;
            opened.is_synced = true;
        }
        Ok(())
    }
}

impl TestsFile {
    fn open(directory: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(directory.join(TESTS))?;
        // What is torn at the end is written over.
        let end = walk(&file, 0, |_, _, _| {})?;
        Ok(Self {
            file,
            end,
            is_synced: true,
        })
    }
}

fn record((subjob, attempt): Key, atom: AtomId, form: &[u8]) -> Vec<u8> {
    let length = u32::try_from(form.len()).unwrap_or(u32::MAX);
    let mut record = Vec::with_capacity(HEAD + form.len());
    for number in [subjob.0, attempt.0, atom.0, length] {
        record.extend(number.to_be_bytes());
    }
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&record);
    checksum.update(form);
    record.extend(checksum.finalize().to_be_bytes());
    record.extend(form);
    record
}

/// Gives `take` each record from a place on: its numbers, where it begins, and how long it is with its head. Says where
/// the last one ends.
fn walk(file: &File, mut at: u64, mut take: impl FnMut([u32; 3], u64, usize)) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut head = [0; HEAD];
    while at + HEAD as u64 <= length {
        file.read_exact_at(&mut head, at)?;
        let (numbers, _) = head.as_chunks::<4>();
        let [subjob, attempt, atom, form, _] = *numbers else {
            break;
        };
        let [subjob, attempt, atom, form] = [subjob, attempt, atom, form].map(u32::from_be_bytes);
        let whole = HEAD + form as usize;
        let end = at + whole as u64;
        if form as usize > MAX_FORM || end > length {
            break;
        }
        take([subjob, attempt, atom], at, whole);
        at = end;
    }
    Ok(at)
}

/// The tests of a build's atoms that left reports, to be read.
#[derive(Debug, Default)]
pub struct StoredTests {
    path: PathBuf,
    file: Option<File>,
    places: HashMap<(SubjobId, Attempt, AtomId), (u64, usize)>,
    end: u64,
}

impl StoredTests {
    /// Opens what is there of a build; without reports there is nothing. Blocks.
    pub(in crate::store::results) fn open(directory: &Path) -> io::Result<Self> {
        let mut stored = Self {
            path: directory.join(TESTS),
            ..Self::default()
        };
        stored.refresh()?;
        Ok(stored)
    }

    /// Takes in what came since. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn refresh(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => match File::open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                opened => none.insert(opened?),
            },
        };
        let places = &mut self.places;
        self.end = walk(file, self.end, |[subjob, attempt, atom], at, length| {
            let key = (SubjobId(subjob), Attempt(attempt), AtomId(atom));
            places.insert(key, (at, length));
        })?;
        Ok(())
    }

    /// Whether no atom left a report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The tests of an atom; none where it left no report, or what was kept is damaged. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn of(
        &self,
        subjob: SubjobId,
        attempt: Attempt,
        atom: AtomId,
    ) -> io::Result<Vec<ReportedTest>> {
        let place = self.places.get(&(subjob, attempt, atom));
        let (Some(file), Some((at, length))) = (&self.file, place) else {
            return Ok(Vec::new());
        };
        let mut kept = vec![0; *length];
        file.read_exact_at(&mut kept, *at)?;
        let form = kept.split_off(HEAD);
        match kept == record((subjob, attempt), atom, &form)[..HEAD] {
            true => Ok(read_form(&form)),
            false => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::junit::TestOutcome;

    fn form(name: &str) -> Vec<u8> {
        format!("{{\"name\":\"{name}\",\"outcome\":\"passed\"}}\n").into_bytes()
    }

    fn key(subjob: u32, attempt: u32) -> Key {
        (SubjobId(subjob), Attempt(attempt))
    }

    fn add(directory: &Path, subjob: u32, attempt: u32, name: &str) {
        let mut opened = TestsFile::open(directory).unwrap();
        let record = record(key(subjob, attempt), AtomId(0), &form(name));
        opened.file.write_all_at(&record, opened.end).unwrap();
        opened.end += record.len() as u64;
    }

    fn names(directory: &Path, subjob: u32, attempt: u32) -> Vec<String> {
        let stored = StoredTests::open(directory).unwrap();
        let tests = stored.of(SubjobId(subjob), Attempt(attempt), AtomId(0));
        let tests = tests.unwrap().into_iter();
        tests
            .map(|test| {
                assert_eq!(test.outcome, TestOutcome::Passed);
                test.name
            })
            .collect()
    }

    #[test]
    fn tests_are_found_by_hand_out_and_atom_and_the_last_ones_count() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert!(StoredTests::open(path).unwrap().is_empty());
        assert!(names(path, 1, 1).is_empty());
        add(path, 1, 1, "first");
        add(path, 1, 2, "second");
        add(path, 7, 1, "other");
        add(path, 1, 1, "again");
        assert!(!StoredTests::open(path).unwrap().is_empty());
        let found = [(1, 1), (1, 2), (7, 1), (7, 2)].map(|(s, a)| names(path, s, a).join(" "));
        assert_eq!(found, ["again", "second", "other", ""]);
    }

    #[test]
    fn what_is_torn_or_damaged_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        add(path, 1, 1, "first");
        let first = std::fs::read(path.join(TESTS)).unwrap();
        add(path, 2, 1, "second");
        let both = std::fs::read(path.join(TESTS)).unwrap();
        for length in first.len()..both.len() {
            std::fs::write(path.join(TESTS), &both[..length]).unwrap();
            assert_eq!(names(path, 1, 1), ["first"]);
            assert!(names(path, 2, 1).is_empty());
            // What comes next takes its place.
            add(path, 3, 1, "third");
            assert_eq!(names(path, 3, 1), ["third"]);
        }
        for byte in 0..first.len() {
            let mut damaged = both.clone();
            damaged[byte] ^= 1;
            std::fs::write(path.join(TESTS), &damaged).unwrap();
            assert!(names(path, 1, 1).is_empty(), "{byte}");
        }
        std::fs::write(path.join(TESTS), [0xff; 100]).unwrap();
        assert!(StoredTests::open(path).unwrap().is_empty());
    }
}
