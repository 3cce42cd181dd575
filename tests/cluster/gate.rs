//! Atoms that each say that they run, and then wait until the test lets them go on.

use crate::job::{Job, job};
use crate::repository::Repository;
use crate::wait::wait_for;
use crate::whole_build::runs;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A project with such atoms.
pub(crate) struct Gate {
    pub(crate) repository: Repository,
    /// Where each atom leaves a line with its number when it starts.
    pub(crate) log: PathBuf,
    open: PathBuf,
}

impl Gate {
    /// One with so many atoms.
    pub(crate) fn new(atoms: u32) -> Self {
        Self::with(|job| job.atoms(atoms))
    }

    /// One with a job that is made of the usual one.
    pub(crate) fn with(change: impl FnOnce(Job) -> Job) -> Self {
        let repository = Repository::empty();
        let (log, open) = (repository.outside("runs"), repository.outside("open"));
        let usual = job(format!("echo \"$N\" >> '{}'", log.display())).then(format!(
            "until [ -e '{}' ]; do sleep 0.02; done",
            open.display()
        ));
        repository.commit_job(&change(usual));
        Self {
            repository,
            log,
            open,
        }
    }

    /// The request for a build of it.
    pub(crate) fn request(&self) -> Value {
        self.repository.request()
    }

    /// Waits until so many atoms have started.
    pub(crate) async fn wait_for_runs(&self, number: usize) {
        wait_for("atoms wait at the gate", async || {
            (runs(&self.log).len() >= number).then_some(())
        })
        .await;
    }

    /// Lets all go on.
    pub(crate) fn open(&self) {
        fs::write(&self.open, "").unwrap();
    }

    /// Whether no atom has run twice.
    pub(crate) fn ran_once(&self) -> bool {
        runs(&self.log).values().all(|times| *times == 1)
    }
}
