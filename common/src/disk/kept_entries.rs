//! Entries of the set-up cache, each a file named by its key: who uses them, and which go when there are too many. What is in
//! an entry is its owner's.
//!
//! ```text
//! <key>.tar.gz          an entry. Its time is that of the last use
//! <key>.<number>.part   one that is being made; goes at the next start
//! ```

use crate::clock::random_bytes;
use crate::disk::beneath::remove_all;
use crate::disk::kept_projects::touch;
use crate::disk::regular_file::open_itself;
use crate::lock::lock;
use std::collections::HashMap;
use std::fmt;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

const ENTRY: &str = ".tar.gz";
const PART: &str = ".part";

/// How many digits of a key are shown.
const SHOWN: usize = 12;

/// The name of an entry: 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey(String);

impl EntryKey {
    /// A text that is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// The key of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8; 32]) -> Self {
        Self(hex::encode(bytes))
    }

    /// All of its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As users see it: its first digits.
impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..SHOWN).unwrap_or(&self.0))
    }
}

/// A file that may become an entry. Removed when dropped, unless it was kept.
#[derive(Debug)]
pub struct Part(PathBuf);

impl Part {
    /// Where it is to be written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Once it is kept there is nothing of this name any more.
        std::fs::remove_file(&self.0).ok();
    }
}

type Lock = Arc<RwLock<()>>;

/// The entries of a directory. What is not `async` blocks.
#[derive(Debug)]
pub struct KeptEntries {
    directory: PathBuf,
    /// How much all of them may have; no bound if there is none.
    max_bytes: Option<u64>,
    /// Of those that somebody uses or waits for.
    locks: Mutex<HashMap<EntryKey, Lock>>,
}

/// The right to read one entry. Nobody makes or removes it meanwhile.
#[derive(Debug)]
pub struct Reading {
    _held: OwnedRwLockReadGuard<()>,
}

/// The right to make or remove one entry. Nobody else has it meanwhile.
#[derive(Debug)]
pub struct Making {
    _held: OwnedRwLockWriteGuard<()>,
}

/// An entry as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: EntryKey,
    bytes: u64,
    last_used: SystemTime,
}

impl KeptEntries {
    /// Opens the directory; what is no entry goes. What can not be made or removed is only told in the log: without a cache
    /// all goes on.
    #[must_use]
    pub fn open(directory: PathBuf, max_bytes: Option<u64>) -> Self {
        let kept = Self {
            directory,
            max_bytes,
            locks: Mutex::default(),
        };
        if let Err(error) = kept.clean() {
            let path = kept.directory.display();
            tracing::warn!(%path, %error, "the set-up cache can not be used as it should");
        }
        kept
    }

    fn clean(&self) -> io::Result<()> {
        self.make_directory()?;
        for file in std::fs::read_dir(&self.directory)? {
            let path = file?.path();
            if key_of(&path).is_none() || !path.is_file() {
                remove_all(&path)?;
            }
        }
        self.make_room(0)
    }

    /// Makes the directory anew if it is gone: an atom can remove all that its slave can write.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn make_directory(&self) -> io::Result<()> {
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700).create(&self.directory)
    }

    /// How much all of them may have, and so each; no bound if there is none.
    #[must_use]
    pub fn max_bytes(&self) -> Option<u64> {
        self.max_bytes
    }

    /// Where an entry is or will be.
    #[must_use]
    pub fn path(&self, key: &EntryKey) -> PathBuf {
        self.directory.join(format!("{}{ENTRY}", key.as_str()))
    }

    /// Where an entry can be made. There is no file yet.
    #[must_use]
    pub fn part(&self, key: &EntryKey) -> Part {
        let number = u64::from_be_bytes(random_bytes());
        let name = format!("{}.{number:016x}{PART}", key.as_str());
        Part(self.directory.join(name))
    }

    /// Waits until nobody makes or removes an entry.
    pub async fn reading(&self, key: &EntryKey) -> Reading {
        Reading {
            _held: self.lock_of(key).read_owned().await,
        }
    }

    /// Waits until nobody else uses an entry.
    pub async fn making(&self, key: &EntryKey) -> Making {
        Making {
            _held: self.lock_of(key).write_owned().await,
        }
    }

    fn lock_of(&self, key: &EntryKey) -> Lock {
        let mut locks = lock(&self.locks);
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(key.clone()).or_default())
    }

    /// Opens an entry, which counts as used now, and says how many bytes it has; none where there is none. What is read of
    /// it stays as long as the file is open, also if the entry goes.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open_entry(&self, key: &EntryKey) -> io::Result<Option<(File, u64)>> {
        let path = self.path(key);
        let file = match open_itself(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        touch(&path).ok();
        let bytes = file.metadata()?.len();
        Ok(Some((file, bytes)))
    }

    /// How many bytes an entry has, which counts as used now; none where there is none.
    #[must_use]
    pub fn use_now(&self, key: &EntryKey) -> Option<u64> {
        let path = self.path(key);
        let found = std::fs::symlink_metadata(&path).ok()?;
        // One that seems unused for longer only goes earlier.
        touch(&path).ok();
        found.is_file().then_some(found.len())
    }

    /// Makes an entry of what is written whole, and synced; others go if there are too many. It takes the place of one that
    /// is there: that one may be damaged.
    ///
    /// # Errors
    /// The disk refuses, or the entry alone is more than may be kept (`FileTooLarge`).
    pub fn keep(&self, key: &EntryKey, part: &Part) -> io::Result<()> {
        self.make_room(std::fs::metadata(part.path())?.len())?;
        std::fs::rename(part.path(), self.path(key))?;
        File::open(&self.directory)?.sync_all()
    }

    /// Removes an entry. What can not be removed stays in the way.
    pub fn remove(&self, key: &EntryKey) {
        if let Err(error) = remove_all(&self.path(key)) {
            tracing::warn!(%key, %error, "could not remove a damaged entry of the set-up cache");
        }
    }

    /// Removes what was used longest ago, until `more` bytes fit in. What is in use stays.
    fn make_room(&self, more: u64) -> io::Result<()> {
        let Some(most) = self.max_bytes else {
            return Ok(());
        };
        if more > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // Nobody begins to use one meanwhile.
        let locks = lock(&self.locks);
        let is_used = |key: &EntryKey| {
            locks
                .get(key)
                .is_some_and(|lock| Arc::strong_count(lock) > 1)
        };
        for entry in surplus(self.entries()?, most.saturating_sub(more), is_used) {
            std::fs::remove_file(self.path(&entry.key))?;
            tracing::info!(key = %entry.key, bytes = entry.bytes, "removed an entry of the set-up cache for others");
        }
        Ok(())
    }

    fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        for file in std::fs::read_dir(&self.directory)? {
            let file = file?;
            let (Some(key), Ok(metadata)) = (key_of(&file.path()), file.metadata()) else {
                continue;
            };
            found.push(Entry {
                key,
                bytes: metadata.len(),
                last_used: metadata.modified()?,
            });
        }
        Ok(found)
    }
}

fn key_of(path: &Path) -> Option<EntryKey> {
    let name = path.file_name()?.to_str()?;
    EntryKey::parse(name.strip_suffix(ENTRY)?)
}

/// The entries that have to go so that no more than `most` bytes are left: those that were used longest ago, but none in
/// use.
fn surplus(mut entries: Vec<Entry>, most: u64, is_used: impl Fn(&EntryKey) -> bool) -> Vec<Entry> {
    entries.sort_by_key(|entry| entry.last_used);
    let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
    let mut going = Vec::new();
    for entry in entries {
        if total > most && !is_used(&entry.key) {
            total -= entry.bytes;
            going.push(entry);
        }
    }
    going
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn key(digit: char) -> EntryKey {
        EntryKey::parse(&digit.to_string().repeat(64)).unwrap()
    }

    fn entry(digit: char, bytes: u64, age: u64) -> Entry {
        Entry {
            key: key(digit),
            bytes,
            last_used: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 - age),
        }
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_what_is_in_use_stays() {
        let entries = || {
            vec![
                entry('a', 10, 3),
                entry('b', 20, 9),
                entry('c', 30, 1),
                entry('d', 5, 7),
            ]
        };
        let going = |most, used: &[char]| {
            let used: Vec<_> = used.iter().map(|digit| key(*digit)).collect();
            let going = surplus(entries(), most, |key| used.contains(key));
            going
                .iter()
                .map(|entry| entry.key.as_str().chars().next().unwrap())
                .collect::<String>()
        };
        assert_eq!(going(65, &[]), "");
        assert_eq!(going(64, &[]), "b");
        assert_eq!(going(40, &[]), "bd");
        assert_eq!(going(0, &[]), "bdac");
        assert_eq!(going(40, &['b']), "dac");
        assert_eq!(going(0, &['b', 'c']), "da");
    }

    fn write(kept: &KeptEntries, digit: char, bytes: usize) -> io::Result<()> {
        let part = kept.part(&key(digit));
        std::fs::write(part.path(), vec![0; bytes]).unwrap();
        kept.keep(&key(digit), &part)
    }

    #[test]
    fn what_is_in_the_way_goes_or_keeps_nobody_from_work() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("setup-cache");
        let in_the_way = directory.join(format!("{}{ENTRY}", key('a').as_str()));
        std::fs::create_dir_all(in_the_way.join("sub")).unwrap();
        let kept = KeptEntries::open(directory.clone(), Some(100));
        assert_eq!(kept.use_now(&key('a')), None);
        write(&kept, 'a', 40).unwrap();
        remove_all(&directory).unwrap();
        assert_eq!(kept.use_now(&key('a')), None);
        kept.make_directory().unwrap();
        write(&kept, 'a', 40).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let nowhere = KeptEntries::open(folder.path().join("file"), None);
        assert_eq!(nowhere.use_now(&key('a')), None);
        nowhere.make_directory().unwrap_err();
    }

    #[tokio::test]
    async fn entries_outlive_a_start_within_the_bound_and_parts_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("setup-cache");
        let kept = KeptEntries::open(directory.clone(), Some(100));
        write(&kept, 'a', 40).unwrap();
        write(&kept, 'b', 40).unwrap();
        std::fs::write(directory.join("c.part"), "half of it").unwrap();
        assert_eq!(kept.use_now(&key('a')), Some(40));
        assert_eq!(kept.use_now(&key('c')), None);
        let used = kept.reading(&key('a')).await;
        let _also = kept.reading(&key('a')).await;
        let error = write(&kept, 'd', 101).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(
            kept.use_now(&key('b')),
            Some(40),
            "nothing goes for what can not be kept"
        );
        write(&kept, 'e', 60).unwrap();
        assert_eq!(kept.use_now(&key('b')), None);
        assert_eq!(kept.use_now(&key('a')), Some(40), "it is in use");
        kept.remove(&key('e'));
        drop((used, kept));
        let kept = KeptEntries::open(directory.clone(), Some(100));
        assert_eq!(kept.use_now(&key('a')), Some(40));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        drop(kept);
        let kept = KeptEntries::open(directory, Some(39));
        assert_eq!(kept.use_now(&key('a')), None);
    }

    #[test]
    fn what_is_kept_again_takes_the_place() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptEntries::open(folder.path().to_owned(), None);
        write(&kept, 'a', 1).unwrap();
        write(&kept, 'a', 2).unwrap();
        let (_, bytes) = kept.open_entry(&key('a')).unwrap().unwrap();
        assert_eq!(bytes, 2);
        assert!(kept.open_entry(&key('b')).unwrap().is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        for wrong in ["", "../x", &"A".repeat(64), &"a".repeat(63)] {
            assert_eq!(EntryKey::parse(wrong), None);
        }
    }
}
