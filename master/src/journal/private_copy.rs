//! Examines a journal as a private copy, since the engine writes when it opens one. It takes the first unreadable
//! record for the end of the log and overwrites what follows.

use super::store::Store;
use super::{JournalError, Problem, acknowledged, files};
use clusterrunner_common::disk::space::is_disk_full;
use std::fs::{File, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// A name beside a journal that is used for a while.
pub(super) fn beside(journal: &Path, what: &str) -> PathBuf {
    let mut name = journal.file_name().unwrap_or_default().to_owned();
    name.push(what);
    journal.with_file_name(name)
}

/// A directory that goes with this value.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    /// Removes what an earlier try left.
    pub(super) fn new(path: PathBuf) -> io::Result<Self> {
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Self(path)),
        }
    }

    /// Keeps the directory.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may be gone already; what is left does no harm and goes at the next try.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// What `read` finds in a copy of a journal. Nothing of the journal itself changes. Blocks.
///
/// # Errors
/// There is no room for a copy, the engine can not open or read it, or what `read` says.
pub(super) fn with_copy<T>(
    journal: &Path,
    read: impl FnOnce(&Store) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    let copy = copy(journal)?;
    opened(&copy.0, journal, read)
}

/// What had to be mended in a copy before it could be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Mended {
    /// Files beside the data: nothing is lost by them.
    pub(super) beside: Vec<Problem>,
    /// The data itself: what can not be read is left out.
    pub(super) data: Option<Problem>,
}

impl Mended {
    pub(super) fn problems(self) -> impl Iterator<Item = Problem> {
        self.beside.into_iter().chain(self.data)
    }
}

/// Calls `read` with a mended copy of a journal and with what was mended. `read` may be called
/// twice. Nothing of the journal itself changes. Blocks.
///
/// # Errors
/// As [`with_copy`].
pub(super) fn with_mended_copy<T>(
    journal: &Path,
    mut read: impl FnMut(&Store, Mended) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    acknowledged::check_format(journal)?;
    let failed = JournalError::open(journal);
    let mut mended = Mended {
        beside: files::problems(journal).map_err(&failed)?,
        data: None,
    };
    let first = copy(journal)?;
    files::mend(&first.0).map_err(&failed)?;
    let what = match opened(&first.0, journal, |store| read(store, mended.clone())) {
        Err(JournalError::Damaged { what, .. }) => what,
        done => return done,
    };
    drop(first);
    // Its own snapshot leads the engine to pages that it can not read. Without one it goes through its whole log
    // and leaves those out.
    let second = copy(journal)?;
    files::mend(&second.0).map_err(&failed)?;
    files::remove_snapshots(&second.0).map_err(&failed)?;
    mended.data = Some(Problem {
        place: format!("the file `{}`", files::DATA),
        what,
        lost: "what is in the damaged part".to_owned(),
    });
    match opened(&second.0, journal, |store| read(store, mended.clone())) {
        Err(JournalError::Damaged { directory, what }) => {
            Err(JournalError::Lost { directory, what })
        }
        done => done,
    }
}

/// What `read` finds in a copy. What the engine can not read is damage, also where it panics.
fn opened<T>(
    copy: &Path,
    journal: &Path,
    read: impl FnOnce(&Store) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    let all = || read(&Store::open(copy)?);
    let done = catch_unwind(AssertUnwindSafe(all));
    let done = done.unwrap_or_else(|_| Err(JournalError::damaged(journal)));
    done.map_err(|error| match error {
        JournalError::Damaged { what, .. } => JournalError::Damaged {
            directory: journal.to_owned(),
            what,
        },
        JournalError::Engine { source, .. } | JournalError::Read(source) => {
            JournalError::engine(journal, source)
        }
        other => other,
    })
}

/// Copies a journal that nobody uses: beside it, or to where temporary files go if there is no room.
fn copy(journal: &Path) -> Result<Scratch, JournalError> {
    let failed = JournalError::open(journal);
    let _lock = lock(journal)?;
    let near = beside(journal, ".copy");
    let copy = Scratch::new(near).map_err(&failed)?;
    match copy_directory(journal, &copy.0) {
        Ok(()) => return Ok(copy),
        Err(error) if is_disk_full(&error) => drop(copy),
        Err(error) => return Err(failed(error)),
    }
    let far = tempfile::Builder::new()
        .prefix("clusterrunner-journal-")
        .tempdir();
    let copied = far.and_then(|far| copy_directory(journal, far.path()).map(|()| far));
    match copied {
        Ok(far) => Ok(Scratch(far.keep())),
        Err(error) if is_disk_full(&error) => Err(JournalError::NoRoom {
            directory: journal.to_owned(),
            bytes: size(journal).map_err(&failed)?,
        }),
        Err(error) => Err(failed(error)),
    }
}

/// As long as the engine has a journal open it holds this lock.
pub(super) fn lock(journal: &Path) -> Result<Option<File>, JournalError> {
    let data = match File::open(journal.join(files::DATA)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(JournalError::open(journal))?,
    };
    match data.try_lock() {
        Ok(()) => Ok(Some(data)),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse {
            directory: journal.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(JournalError::open(journal)(error)),
    }
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_directory(&entry.path(), &to)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn size(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
