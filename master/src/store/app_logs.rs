//! What happens to apps and what their processes print, in the order in which the master learns of it:
//! `app_logs/<project>/`, bounded for each app.
//!
//! Slaves repeat what they are not sure of. The output of a placement of an instance counts by its bytes, as in
//! [`super::instance_logs`], so each byte is stored once. Lines are numbered from the first one of the app on; a reader
//! names a line. Nothing here is synced: after a power cut a slave sends again what it still has.

mod log;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use log::{AppLine, AppLines, Origin};

use clusterrunner_common::api::instances::LogPiece;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_common::lock::lock;
use log::Log;
use std::collections::{HashMap, HashSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The logs of all apps. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct AppLogs(Arc<Logs>);

#[derive(Debug)]
struct Logs {
    directory: PathBuf,
    max_bytes: u64,
    known: Mutex<HashMap<ProjectId, Arc<Known>>>,
}

/// A log that was asked for.
#[derive(Debug, Default)]
struct Known {
    /// None until it is needed.
    log: Mutex<Option<Log>>,
    /// How many lines there were.
    num_lines: watch::Sender<u64>,
}

/// A piece of what a process of an app printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output<'a> {
    /// The process as users call it, such as `web.1`.
    pub process: &'a str,
    /// Whether it is a run, of which only the beginning is for this log.
    pub is_run: bool,
    /// The piece.
    pub piece: &'a LogPiece,
    /// How many bytes of the placement's output were stored elsewhere before this piece. A log that has nothing of the
    /// placement goes on there.
    pub before: u64,
}

impl AppLogs {
    /// The logs below a directory, which is made if it is not there, each of about `max_bytes` at most. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn open(directory: PathBuf, max_bytes: u64) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        Ok(Self(Arc::new(Logs {
            directory,
            max_bytes,
            known: Mutex::default(),
        })))
    }

    /// Removes the logs of all projects but these, and opens the others, so that nothing has to wait for that later. To
    /// be called before anything comes in. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn keep_only(&self, needed: &HashSet<ProjectId>) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.0.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            // What has another name is none of ours.
            let Some(project) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            match needed.contains(&project) {
                true => self.with(project, |_| Ok(()))?,
                false => std::fs::remove_dir_all(entry.path())?,
            }
        }
        Ok(())
    }

    /// Stores lines about an app itself.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn add_controller_lines(
        &self,
        project: ProjectId,
        at: Timestamp,
        lines: Vec<String>,
    ) -> io::Result<()> {
        self.with(project, |log| log.add_controller_lines(at, lines))
    }

    /// Stores a piece of what a process printed, unless it is there already. Says how many bytes of the placement's
    /// output are there now; nothing for a placement before the latest one. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn add_output(
        &self,
        project: ProjectId,
        at: Timestamp,
        output: Output<'_>,
    ) -> io::Result<Option<u64>> {
        self.with(project, |log| log.add_output(at, output))
    }

    /// The lines from line `first` on, at least one of them if there is any, and about `most_bytes` at most. What is not
    /// kept any more is left out. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn read(
        &self,
        project: ProjectId,
        first: u64,
        most_bytes: usize,
    ) -> io::Result<AppLines> {
        self.with(project, |log| log.read(first, most_bytes))
    }

    /// The last lines, at most so many. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn read_last(&self, project: ProjectId, most_lines: usize) -> io::Result<AppLines> {
        self.with(project, |log| log.read_last(most_lines))
    }

    /// Tells how many lines there were, and each time that there are more. The first value comes with the first use of
    /// the log.
    #[must_use]
    pub(crate) fn num_lines(&self, project: ProjectId) -> watch::Receiver<u64> {
        self.known(project).num_lines.subscribe()
    }

    /// Removes the log of an app. Blocks.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn remove(&self, project: ProjectId) -> io::Result<()> {
        let known = lock(&self.0.known).remove(&project);
        // Who writes to it right now comes first.
        let _writer = known.as_ref().map(|known| lock(&known.log));
        match std::fs::remove_dir_all(self.directory_of(project)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn with<T>(
        &self,
        project: ProjectId,
        work: impl FnOnce(&mut Log) -> io::Result<T>,
    ) -> io::Result<T> {
        let known = self.known(project);
        let mut opened = lock(&known.log);
        let log = match &mut *opened {
            Some(log) => log,
            none => none.insert(Log::open(self.directory_of(project), self.0.max_bytes)?),
        };
        let done = work(log);
        known.num_lines.send_if_modified(|number| {
            let before = std::mem::replace(number, log.num_lines());
            *number != before
        });
        done
    }

    fn known(&self, project: ProjectId) -> Arc<Known> {
        Arc::clone(lock(&self.0.known).entry(project).or_default())
    }

    fn directory_of(&self, project: ProjectId) -> PathBuf {
        self.0.directory.join(project.to_string())
    }
}
