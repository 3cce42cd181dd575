//! The entries on this slave's disk: who uses them, and which go when there are too many.

use super::CacheKey;
use crate::data_directory::{make_private, remove_all};
use clusterrunner_common::disk::kept_projects::touch;
use clusterrunner_common::lock::lock;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

const ENTRY: &str = ".tar.gz";
const PART: &str = ".part";

type Lock = Arc<RwLock<()>>;

/// The entries. What is not `async` blocks.
#[derive(Debug)]
pub(super) struct Kept {
    directory: PathBuf,
    /// How much all of them may have; no bound if there is none.
    max_bytes: Option<u64>,
    /// Of those that somebody uses or waits for.
    locks: Mutex<HashMap<CacheKey, Lock>>,
}

/// The right to read one entry. Nobody makes or removes it meanwhile.
#[derive(Debug)]
pub(super) struct Reading {
    _held: OwnedRwLockReadGuard<()>,
}

/// The right to make or remove one entry. Nobody else has it meanwhile.
#[derive(Debug)]
pub(super) struct Making {
    _held: OwnedRwLockWriteGuard<()>,
}

/// An entry as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    key: CacheKey,
    bytes: u64,
    last_used: SystemTime,
}

impl Kept {
    /// Opens the directory; what is no entry goes. What can not be made or removed is only told in the log: without a cache
    /// all goes on.
    pub(super) fn open(directory: PathBuf, max_bytes: Option<u64>) -> Self {
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

    /// An atom can remove all that its slave can write.
    pub(super) fn make_directory(&self) -> io::Result<()> {
        make_private(&self.directory)
    }

    pub(super) fn max_bytes(&self) -> Option<u64> {
        self.max_bytes
    }

    /// Where an entry is or will be.
    pub(super) fn path(&self, key: &CacheKey) -> PathBuf {
        self.file(key, ENTRY)
    }

    /// Where it is made.
    pub(super) fn part(&self, key: &CacheKey) -> PathBuf {
        self.file(key, PART)
    }

    fn file(&self, key: &CacheKey, end: &str) -> PathBuf {
        self.directory.join(format!("{}{end}", key.as_str()))
    }

    /// Waits until nobody makes or removes an entry.
    pub(super) async fn reading(&self, key: &CacheKey) -> Reading {
        Reading {
            _held: self.lock_of(key).read_owned().await,
        }
    }

    /// Waits until nobody else uses an entry.
    pub(super) async fn making(&self, key: &CacheKey) -> Making {
        Making {
            _held: self.lock_of(key).write_owned().await,
        }
    }

    fn lock_of(&self, key: &CacheKey) -> Lock {
        let mut locks = lock(&self.locks);
        locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(locks.entry(key.clone()).or_default())
    }

    /// How many bytes an entry has, which counts as used now; none where there is none.
    pub(super) fn use_now(&self, key: &CacheKey) -> Option<u64> {
        let path = self.path(key);
        let found = std::fs::symlink_metadata(&path).ok()?;
        // One that seems unused for longer only goes earlier.
        touch(&path).ok();
        found.is_file().then_some(found.len())
    }

    /// Makes an entry of what is written whole at [`part`](Self::part); others go if there are too many.
    ///
    /// # Errors
    /// The disk refuses, or the entry alone is more than may be kept.
    pub(super) fn keep(&self, key: &CacheKey) -> io::Result<()> {
        let part = self.part(key);
        let kept = self
            .make_room(std::fs::metadata(&part)?.len())
            .and_then(|()| {
                std::fs::rename(&part, self.path(key))?;
                File::open(&self.directory)?.sync_all()
            });
        if kept.is_err() {
            std::fs::remove_file(&part).ok();
        }
        kept
    }

    /// Removes what is not made whole.
    pub(super) fn give_up(&self, key: &CacheKey) {
        // What is left goes at the next start.
        std::fs::remove_file(self.part(key)).ok();
    }

    /// Removes an entry. What can not be removed stays in the way.
    pub(super) fn remove(&self, key: &CacheKey) {
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
        let is_used = |key: &CacheKey| {
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

fn key_of(path: &Path) -> Option<CacheKey> {
    let name = path.file_name()?.to_str()?;
    CacheKey::parse(name.strip_suffix(ENTRY)?)
}

/// The entries that have to go so that no more than `most` bytes are left: those that were used longest ago, but none in
/// use.
fn surplus(mut entries: Vec<Entry>, most: u64, is_used: impl Fn(&CacheKey) -> bool) -> Vec<Entry> {
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

    fn key(digit: char) -> CacheKey {
        CacheKey::parse(&digit.to_string().repeat(64)).unwrap()
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

    fn write(kept: &Kept, digit: char, bytes: usize) -> io::Result<()> {
        std::fs::write(kept.part(&key(digit)), vec![0; bytes]).unwrap();
        kept.keep(&key(digit))
    }

    #[test]
    fn what_is_in_the_way_goes_or_keeps_nobody_from_work() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("setup-cache");
        let in_the_way = directory.join(format!("{}{ENTRY}", key('a').as_str()));
        std::fs::create_dir_all(in_the_way.join("sub")).unwrap();
        let kept = Kept::open(directory.clone(), Some(100));
        assert_eq!(kept.use_now(&key('a')), None);
        write(&kept, 'a', 40).unwrap();
        remove_all(&directory).unwrap();
        assert_eq!(kept.use_now(&key('a')), None);
        kept.make_directory().unwrap();
        write(&kept, 'a', 40).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let nowhere = Kept::open(folder.path().join("file"), None);
        assert_eq!(nowhere.use_now(&key('a')), None);
        nowhere.make_directory().unwrap_err();
    }

    #[tokio::test]
    async fn entries_outlive_a_start_within_the_bound_and_parts_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("setup-cache");
        let kept = Kept::open(directory.clone(), Some(100));
        write(&kept, 'a', 40).unwrap();
        write(&kept, 'b', 40).unwrap();
        std::fs::write(kept.part(&key('c')), "half of it").unwrap();
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
        let kept = Kept::open(directory.clone(), Some(100));
        assert_eq!(kept.use_now(&key('a')), Some(40));
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        drop(kept);
        let kept = Kept::open(directory, Some(39));
        assert_eq!(kept.use_now(&key('a')), None);
    }
}
