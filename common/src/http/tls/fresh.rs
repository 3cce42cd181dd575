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
    /// What was wrong with them then, as it was told.
    wrong: Option<String>,
}

/// By what a changed file is known: whoever replaces, writes or opens one to others changes some of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
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
    /// They make no sense, which was not told yet: the value of before goes on counting. They are read again at each
    /// look, since whoever writes them may not be done, and some of what is wrong mends itself without a change of theirs.
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
            state: RwLock::new(State {
                seen,
                value,
                wrong: None,
            }),
        })
    }

    /// The value as it is known.
    pub(super) fn value(&self) -> Arc<T> {
        Arc::clone(&read(&self.state).value)
    }

    /// Reads the files if they have changed, if they could not be read last time, or `anyway`.
    pub(super) fn look(&self, anyway: bool) -> Look {
        let seen = stamps(&self.files);
        let is_known = |state: &State<T>| state.seen == seen && state.wrong.is_none();
        if !anyway && is_known(&read(&self.state)) {
            return Look::Same;
        }
        let made = (self.make)();
        let mut state = write(&self.state);
        match made {
            Ok(value) => {
                state.value = Arc::new(value);
                (state.seen, state.wrong) = (seen, None);
                Look::Renewed
            }
            Err(error) => {
                let wrong = Some(error.to_string());
                let is_told = !anyway && state.seen == seen && state.wrong == wrong;
                (state.seen, state.wrong) = (seen, wrong);
                match is_told {
                    true => Look::Same,
                    false => Look::Kept(error),
                }
            }
        }
    }
}

/// How files are now.
pub(super) fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
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

    #[test]
    fn a_reading_that_fails_is_tried_again_without_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "as it stays").unwrap();
        let answers = [Ok(1), Err(1), Err(1), Err(2), Ok(2)];
        let answers = std::sync::Mutex::new(answers.into_iter());
        let make = move || {
            let next = crate::lock::lock(&answers).next().unwrap();
            next.map_err(|number| match number {
                1 => TlsError::NoIdentity,
                _ => TlsError::NoIdentityForClients,
            })
        };
        let fresh = Fresh::open(vec![file.clone()], make).unwrap();
        fs::write(&file, "changed once").unwrap();
        assert!(matches!(
            fresh.look(false),
            Look::Kept(TlsError::NoIdentity)
        ));
        assert!(matches!(fresh.look(false), Look::Same), "it is told once");
        assert!(matches!(fresh.look(false), Look::Kept(_)), "another fault");
        assert!(matches!(fresh.look(false), Look::Renewed));
        assert_eq!(*fresh.value(), 2);
        assert!(matches!(fresh.look(false), Look::Same));
    }
}
