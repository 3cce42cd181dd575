//! Whether a directory was changed since a moment: what runs there once more may find what the first run has left.

use clusterrunner_common::clock::Timestamp;
use std::fs::{Metadata, read_dir};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// What test runners write in any case, and what passes or fails by none of it.
const OF_RUNNERS: [&str; 2] = ["__pycache__", ".pytest_cache"];

/// How far the times of files may be behind the clock: milliseconds.
const COARSE: u64 = 20;

/// Larger directories are not looked through.
const MOST_ENTRIES: usize = 300_000;

/// Something at or below the directory that was changed since, or can not be looked at.
pub(crate) fn changed_since(directory: &Path, since: Timestamp) -> Option<PathBuf> {
    let since = i128::from(since.0.saturating_sub(COARSE));
    let mut left = vec![directory.to_owned()];
    let mut entries = 0;
    while let Some(place) = left.pop() {
        let (Ok(itself), Ok(found)) = (place.symlink_metadata(), read_dir(&place)) else {
            return Some(place);
        };
        // What runners make is a change of the directory that it is in.
        let mut is_of_runner = false;
        for entry in found {
            entries += 1;
            let Ok(entry) = entry else {
                return Some(place);
            };
            let Ok(found) = entry.metadata() else {
                return Some(entry.path());
            };
            let name = entry.file_name();
            if found.is_dir() && OF_RUNNERS.iter().any(|one| name == *one) {
                is_of_runner |= is_made_since(&found, since);
            } else if found.is_dir() {
                left.push(entry.path());
            } else if is_changed_since(&found, since) {
                return Some(entry.path());
            }
        }
        if (is_changed_since(&itself, since) && !is_of_runner) || entries > MOST_ENTRIES {
            return Some(place);
        }
    }
    None
}

/// The change of a file's state: nobody sets it back.
fn is_changed_since(found: &Metadata, since: i128) -> bool {
    i128::from(found.ctime()) * 1000 + i128::from(found.ctime_nsec() / 1_000_000) >= since
}

fn is_made_since(found: &Metadata, since: i128) -> bool {
    let made = found.created().ok();
    let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    made.is_some_and(|made| i128::try_from(made.as_millis()).unwrap_or(i128::MAX) >= since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A moment after all that was written.
    fn later() -> Timestamp {
        Timestamp(Timestamp::now().0 + 2 * COARSE)
    }

    #[test]
    fn what_is_changed_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        fs::write(path("a/b/file"), "1").unwrap();
        let began = Timestamp(0);
        assert_eq!(changed_since(directory.path(), later()), None);
        let found = changed_since(directory.path(), began).unwrap();
        assert!(found.starts_with(directory.path()));
        assert!(changed_since(&path("nothing"), later()).is_some());
    }

    #[test]
    fn what_runners_write_is_no_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let began = Timestamp::now();
        for cache in OF_RUNNERS {
            fs::create_dir(path(cache)).unwrap();
            fs::write(path(cache).join("x"), "1").unwrap();
        }
        assert_eq!(changed_since(directory.path(), began), None);
        fs::write(path("golden"), "1").unwrap();
        let golden = changed_since(directory.path(), began);
        assert_eq!(golden, Some(path("golden")));
    }
}
