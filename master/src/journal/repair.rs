//! Makes a journal that a master can work with from one that is damaged, or from an export.
//!
//! The damaged one is never changed: it is read as a copy, and kept under another name.

use super::examine::{Findings, examine_store};
use super::export::{ExportError, Exported, export_store, import};
use super::record::{Records, leading};
use super::store::Store;
use super::{JournalError, snapshot};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use sled::Tree;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

/// A repaired journal beside the one it is to take the place of. Removed again when it is dropped.
#[derive(Debug)]
pub struct Repair {
    journal: PathBuf,
    repaired: PathBuf,
    /// What is in the new one, and the problems that the old one had.
    pub findings: Findings,
}

/// The names beside a journal that repairing uses for a while.
fn beside(journal: &Path, what: &str) -> PathBuf {
    let mut name = journal.file_name().unwrap_or_default().to_owned();
    name.push(what);
    journal.with_file_name(name)
}

/// A directory that goes with this value.
struct Scratch(PathBuf);

impl Scratch {
    /// Removes what an earlier try left.
    fn new(path: PathBuf) -> io::Result<Self> {
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Self(path)),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may be gone already; what is left does no harm and goes at the next try.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Examines a copy of a journal, so that nothing of it changes. Blocks.
///
/// # Errors
/// It can not be copied, or the engine can not open or read it.
pub fn examine_copy(journal: &Path) -> Result<Findings, JournalError> {
    with_copy(journal, |store, _| examine_store(store, journal))
}

/// Exports a copy of a journal, so that nothing of it changes. Blocks.
///
/// # Errors
/// As [`examine_copy`], or `out` takes no more.
pub fn export_copy(journal: &Path, out: &mut impl Write) -> Result<Exported, ExportError> {
    with_copy(journal, |store, _| export_store(store, out))
}

fn with_copy<T, E: From<JournalError>>(
    journal: &Path,
    read: impl FnOnce(&Store, &Path) -> Result<T, E>,
) -> Result<T, E> {
    let failed = JournalError::open(journal);
    let copy = Scratch::new(beside(journal, ".copy")).map_err(&failed)?;
    copy_directory(journal, &copy.0).map_err(&failed)?;
    let told_of = |error| told_of(error, &copy.0, journal);
    let store = Store::open(&copy.0).map_err(told_of)?;
    read(&store, &copy.0)
}

/// The same error about the journal itself, and not about its copy.
fn told_of(error: JournalError, copy: &Path, journal: &Path) -> JournalError {
    match error {
        JournalError::Damaged { directory } if directory == copy => JournalError::Damaged {
            directory: journal.to_owned(),
        },
        JournalError::Engine { directory, source } if directory == copy => JournalError::Engine {
            directory: journal.to_owned(),
            source,
        },
        other => other,
    }
}

impl Repair {
    /// Makes a new journal of all that is sound in `journal`. Nothing counts before [`Repair::commit`].
    /// Blocks.
    ///
    /// # Errors
    /// The engine can not open it at all, or the disk refuses.
    pub fn of_damaged(journal: &Path) -> Result<Self, JournalError> {
        let repaired = beside(journal, ".repaired");
        let scratch = Scratch::new(repaired.clone()).map_err(JournalError::open(&repaired))?;
        let findings = with_copy(journal, |old, _| {
            let findings = examine_store(old, journal)?;
            let new = Store::open(&scratch.0)?;
            snapshot::write(&new, &findings.cluster, findings.events)?;
            let is_whole = |build: BuildId| findings.whole.contains(&build);
            copy_records(&old.ended, &new.ended, is_whole)?;
            copy_records(&old.ended_subjobs, &new.ended_subjobs, is_whole)?;
            new.sync()?;
            Ok::<_, JournalError>(findings)
        })?;
        std::mem::forget(scratch);
        Ok(Self {
            journal: journal.to_owned(),
            repaired,
            findings,
        })
    }

    /// Makes a new journal of an export, to take the place of `journal`. Nothing counts before
    /// [`Repair::commit`]. Blocks.
    ///
    /// # Errors
    /// The export is not whole, or the disk refuses.
    pub fn of_export(journal: &Path, export: &Path) -> Result<Self, ExportError> {
        let lines = BufReader::new(File::open(export)?);
        let repaired = beside(journal, ".repaired");
        let scratch = Scratch::new(repaired.clone())?;
        let new = Store::open(&scratch.0)?;
        import(&new, lines)?;
        let findings = examine_store(&new, &scratch.0)?;
        drop(new);
        std::mem::forget(scratch);
        Ok(Self {
            journal: journal.to_owned(),
            repaired,
            findings,
        })
    }

    /// Puts the new journal in the place of the old one, which is kept: returns where, if there was
    /// one. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn commit(self) -> io::Result<Option<PathBuf>> {
        let kept = beside(
            &self.journal,
            &format!(".before-repair-{}", Timestamp::now().0),
        );
        let kept = match std::fs::rename(&self.journal, &kept) {
            Ok(()) => Some(kept),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        std::fs::rename(&self.repaired, &self.journal)?;
        if let Some(parent) = self.journal.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(kept)
    }
}

impl Drop for Repair {
    fn drop(&mut self) {
        // Gone already once it counts.
        std::fs::remove_dir_all(&self.repaired).ok();
    }
}

/// Copies the records of some builds.
fn copy_records(
    from: &Tree,
    to: &Tree,
    is_wanted: impl Fn(BuildId) -> bool,
) -> Result<(), JournalError> {
    for record in Records::from(from, &[]) {
        let Ok(record) = record? else {
            continue;
        };
        if is_wanted(BuildId(leading(&record.key).unwrap_or_default())) {
            let mut batch = sled::Batch::default();
            super::put(&mut batch, &record.key, &record.text)?;
            to.apply_batch(batch).map_err(JournalError::Append)?;
        }
    }
    Ok(())
}
