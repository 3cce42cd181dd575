//! Makes a journal that a master can work with from one that is damaged, or from an export.
//!
//! The damaged one is never changed: it is read as a copy, and kept under another name.

use super::examine::{Findings, examine_store, missing_ended};
use super::export::{ExportError, import};
use super::private_copy::{Mended, Scratch, beside, with_mended_copy};
use super::record::{Records, leading};
use super::store::Store;
use super::{JournalError, incarnation, live, snapshot};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use sled::Tree;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

/// A repaired journal beside the one it is to take the place of. Removed again when it is dropped.
#[derive(Debug)]
pub struct Repair {
    journal: PathBuf,
    repaired: PathBuf,
    /// What is in the new one, and the problems that the old one had.
    pub findings: Findings,
}

impl Repair {
    /// Makes a new journal of all that is sound in `journal`; it counts from [`Repair::commit`] on. Blocks.
    ///
    /// # Errors
    /// The engine can not open it at all, or the disk refuses.
    pub fn of_damaged(journal: &Path) -> Result<Self, JournalError> {
        let repaired = beside(journal, ".repaired");
        let failed = JournalError::open(&repaired);
        let (findings, scratch) = with_mended_copy(journal, |old, mended| {
            let mut findings = examine_store(old, mended)?;
            findings.cluster.have_ended(&findings.whole);
            // An earlier repair may have left its directory.
            let scratch = Scratch::new(repaired.clone()).map_err(&failed)?;
            let new = Store::open(&scratch.0)?;
            snapshot::write(&new, &findings.cluster, findings.events)?;
            let acknowledged = new.acknowledged.write(findings.events);
            acknowledged.map_err(JournalError::Sync)?;
            let is_whole = |build: BuildId| findings.whole.contains_key(&build);
            copy_records(&old.ended, &new.ended, is_whole)?;
            copy_records(&old.ended_subjobs, &new.ended_subjobs, is_whole)?;
            copy_records(&old.audit, &new.audit, |_| true)?;
            new.sync()?;
            // Without a new incarnation the next start would not notice the lost events.
            incarnation::begin(&new, "the journal was repaired")?;
            Ok((findings, scratch))
        })?;
        scratch.keep();
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
        leave_out_missing(&new)?;
        let findings = examine_store(&new, Mended::default())?;
        let acknowledged = new.acknowledged.write(findings.events);
        acknowledged.map_err(JournalError::Sync)?;
        new.sync()?;
        if findings.problems.is_empty() {
            incarnation::begin(&new, "the journal was brought back from an export")?;
        }
        drop(new);
        scratch.keep();
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
        let Some(above) = self.journal.parent().map(File::open).transpose()? else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // What is in the new one is on disk; so must its name be before it counts.
        above.sync_all()?;
        let kept = match self.journal.exists() {
            false => {
                std::fs::rename(&self.repaired, &self.journal)?;
                None
            }
            true => {
                let name = format!(".before-repair-{}", Timestamp::now().0);
                let kept = beside(&self.journal, &name);
                exchange(&self.repaired, &self.journal, &kept)?;
                Some(kept)
            }
        };
        above.sync_all()?;
        Ok(kept)
    }
}

/// Takes builds that the export left out as damaged off the list of archived builds.
fn leave_out_missing(new: &Store) -> Result<(), JournalError> {
    let live = live::read(new)?;
    if live.problems.is_empty() && !missing_ended(new, &live.cluster)?.is_empty() {
        let mut findings = examine_store(new, Mended::default())?;
        findings.cluster.have_ended(&findings.whole);
        snapshot::write(new, &findings.cluster, findings.events)?;
    }
    Ok(())
}

/// Puts `new` in the place of `old`, which gets the name `kept`. At every moment there is a journal: else a master
/// that is started after a death in between would begin with nothing.
fn exchange(new: &Path, old: &Path, kept: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    // Under this name nothing is ever removed, whichever of the two has it.
    std::fs::rename(new, kept)?;
    let Err(error) = renameat_with(CWD, kept, CWD, old, RenameFlags::EXCHANGE) else {
        return Ok(());
    };
    std::fs::rename(kept, new)?;
    match error {
        // Some file systems can not do that.
        rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS => {
            std::fs::rename(old, kept)?;
            std::fs::rename(new, old)
        }
        error => Err(error.into()),
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
