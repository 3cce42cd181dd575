//! What is read from files, and read again when they change.

use super::TlsError;
use crate::lock::{read, write};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

/// A value that files hold, as it was when they made sense last.
pub(super) struct Fresh<T> {
    files: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<T, TlsError> + Send + Sync>,
    state: RwLock<State<T>>,
}

struct State<T> {
    /// The files when they were read last.
    seen: Vec<Option<Stamp>>,
    value: Arc<T>,
}

/// By what a changed file is known: whoever replaces, writes or opens one to others changes some of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What a look at the files brought.
#[derive(Debug)]
pub(super) enum Look {
    /// They are what they were.
    Same,
    /// Their value counts from now on.
    Renewed,
    /// They make no sense: the value of before goes on counting.
    Kept(TlsError),
}

impl<T> Fresh<T> {
    /// Reads the value for the first time.
    pub(super) fn open(
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        // Before they are read: what changes meanwhile is seen at the next look.
        let seen = stamps(&files);
        let value = Arc::new(make()?);
        Ok(Self {
            files,
            make: Box::new(make),
            state: RwLock::new(State { seen, value }),
        })
    }

    /// The value as it is known.
    pub(super) fn value(&self) -> Arc<T> {
        Arc::clone(&read(&self.state).value)
    }

    /// Reads the files if they have changed, or `anyway`.
    pub(super) fn look(&self, anyway: bool) -> Look {
        let seen = stamps(&self.files);
        if !anyway && read(&self.state).seen == seen {
            return Look::Same;
        }
        let made = (self.make)();
        let mut state = write(&self.state);
        state.seen = seen;
        match made {
            Ok(value) => {
                state.value = Arc::new(value);
                Look::Renewed
            }
            Err(error) => Look::Kept(error),
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| stamp(file)).collect()
}

/// `None` for a file that is not there.
fn stamp(file: &Path) -> Option<Stamp> {
    let found = fs::metadata(file).ok()?;
    Some(Stamp {
        device: found.dev(),
        inode: found.ino(),
        length: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_counts_if_it_makes_sense() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("number");
        fs::write(&file, "1").unwrap();
        let from = file.clone();
        let make = move || {
            let text = fs::read_to_string(&from).unwrap_or_default();
            text.parse::<u64>().map_err(|_| TlsError::NoIdentity)
        };
        let fresh = Fresh::open(vec![file.clone()], make).unwrap();
        assert!(matches!(fresh.look(false), Look::Same));
        assert!(matches!(fresh.look(true), Look::Renewed));
        fs::write(&file, "20").unwrap();
        assert!(matches!(fresh.look(false), Look::Renewed));
        assert_eq!(*fresh.value(), 20);
        fs::remove_file(&file).unwrap();
        assert!(matches!(fresh.look(false), Look::Kept(_)));
        assert!(matches!(fresh.look(false), Look::Same), "it is told once");
        assert_eq!(*fresh.value(), 20);
        fs::write(&file, "3").unwrap();
        assert!(matches!(fresh.look(false), Look::Renewed));
        assert_eq!(*fresh.value(), 3);
    }
}
