//! Where everything of one slave lies: `<base>/slave-<port>/`, for one process at a time.
//!
//! ```text
//! lock                                flock of the process that uses the directory
//! slave.pid                           its process id; there while it listens
//! identity/                           the slave's key and its master's; see `master::identity`
//! repos/                              mirrors of repositories, kept from build to build within bounds
//! work/<build>/                       work tree of a git build
//! work/<build>.restored/              what is about to be moved into it, see `setup_cache`
//! artifacts/executor_<E>_<N>/         $ARTIFACT_DIR of atoms, one after the other while they leave nothing in it
//! artifacts/atoms_<E>                 the values of the atoms of a batch that an executor runs
//! artifacts/<build>/executor_<E>_<N>/ the same with what an atom left, until it is packed
//! artifacts/<build>/console_<S>_<K>.<attempt>   a large console that waits to be packed
//! artifacts/<build>/*_build_output    what setup_build and teardown_build wrote
//! consoles/<E>.<N>                    what the atoms of an executor print, one after the other
//! consoles/worker_<E>.<N>             what a worker of an executor prints beside its answers; its requests in `.request`
//! results/<build>/results_<S>.<attempt>.tar.gz   waits for the master to take it
//! held/<build>.<subjob>.<attempt>.tar.gz         the same, from an earlier life of the slave
//! isolation/<N>/                      what is /tmp for a command that is kept apart; see `isolation`
//! isolation/home_<build>/             what is its home
//! instances/<id>.<generation>/                   an instance; see `supervisor`
//! templates/                                     what instances run; see `templates`
//! setup-cache/                                   what set-ups have made; see `setup_cache`
//! ```
//!
//! A file of results may hold many; it is named for the first of them.
//!
//! Of builds, all but `repos/` and `setup-cache/` is gone when a build is torn down, and at the next start. Only results that the
//! master has not acknowledged outlive the process, in `held/`, until it says whether it wants them.

use crate::work::HandOut;
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::daemon::{DataDirectoryLock, LockError};
pub(crate) use clusterrunner_common::disk::beneath::remove_all;
use clusterrunner_common::ids::{AtomId, BuildId, ExecutorIndex, SessionId};
use clusterrunner_common::lock::lock;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tokio::sync::watch;

/// The directory of a running slave. Given free when it is dropped.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    session: SessionId,
    lock: Mutex<DataDirectoryLock>,
    /// Why it can not be used any more, once that is so.
    broken: watch::Sender<Option<String>>,
}

/// The name of the file that the set-up of a build prints to.
pub(crate) const SETUP_OUTPUT: &str = "setup_build_output";

/// The name of the file that the teardown of a build prints to.
pub(crate) const TEARDOWN_OUTPUT: &str = "teardown_build_output";

/// Begins the names of what could not be removed.
const NOT_REMOVED: &str = "not-removed-";

/// Its parts, without the mirrors.
const PARTS: [&str; 5] = ["work", "artifacts", "consoles", "results", "isolation"];

/// Begins the mark of every process that a slave with this base directory and port starts.
pub(crate) fn mark_of(base: &Path, port: u16) -> io::Result<String> {
    let path = std::path::absolute(base)?.join(format!("slave-{port}"));
    Ok(format!("{}:", path.display()))
}

/// Why the directory can not be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    /// Another slave works there, or it can not be made.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// What an earlier life left can not be looked through.
    #[error("could not look for results of an earlier life in {}: {source}", .path.display())]
    Left {
        /// Where it was to be written.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It can not be found or emptied.
    #[error("could not {step} {}: {source}", .path.display())]
    Unusable {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

fn unusable(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirectoryError {
    let path = path.to_owned();
    move |source| DataDirectoryError::Unusable { step, path, source }
}

impl DataDirectory {
    /// Takes `<base>/slave-<port>/` for this process. Blocks.
    pub(crate) fn open(
        base: &Path,
        port: u16,
        session: SessionId,
    ) -> Result<Self, DataDirectoryError> {
        let base = std::path::absolute(base).map_err(unusable("find", base))?;
        let path = base.join(format!("slave-{port}"));
        let lock = DataDirectoryLock::take(&path, "slave")?;
        Ok(Self {
            path,
            session,
            lock: Mutex::new(lock),
            broken: watch::Sender::new(None),
        })
    }

    /// Makes anew what of it is gone: an atom can remove all that its slave can write. What can not be made ends
    /// the slave. Says whether there was anything to do. Blocks.
    pub(crate) fn mend(&self) -> io::Result<bool> {
        let mended = self.remake();
        match &mended {
            Ok(false) => {}
            Ok(true) => {
                let path = self.path.display();
                tracing::error!(%path, "parts of the data directory were missing and were recreated: no other program may change it");
            }
            Err(error) => {
                let path = self.path.display();
                let reason =
                    format!("its data directory {path} is gone and can not be made anew: {error}");
                self.broken.send_replace(Some(reason));
            }
        }
        mended
    }

    fn remake(&self) -> io::Result<bool> {
        let mut lock = lock(&self.lock);
        let mut is_mended = false;
        if !self.path.join("lock").exists() {
            let taken = DataDirectoryLock::take(&self.path, "slave").map_err(io::Error::other)?;
            // The pid file of the old one may be where that of the new one is.
            std::mem::replace(&mut *lock, taken).give_up();
            is_mended = true;
        }
        for part in PARTS.iter().chain(&["repos", "held"]) {
            let part = self.path.join(part);
            if !part.is_dir() {
                make_private(&part)?;
                is_mended = true;
            }
        }
        Ok(is_mended)
    }

    /// Ends the slave for this reason.
    pub(crate) fn give_up(&self, reason: String) {
        self.broken.send_replace(Some(reason));
    }

    /// Why it can not be used any more, if that is so.
    pub(crate) fn why_broken(&self) -> Option<String> {
        self.broken.borrow().clone()
    }

    /// The build whose processes have this mark.
    pub(crate) fn build_of(&self, mark: &str) -> Option<BuildId> {
        let of_this_life = mark.strip_prefix(&format!("{}{}:", self.mark(), self.session))?;
        let (build, _) = of_this_life.split_once(':')?;
        build.parse().ok()
    }

    /// Waits until it can not be used any more, and says why.
    pub(crate) async fn broken(&self) -> String {
        let mut broken = self.broken.subscribe();
        match broken
            .wait_for(Option::is_some)
            .await
            .map(|reason| reason.clone())
        {
            Ok(Some(reason)) => reason,
            // The sender lives as long as `self`.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// What can not be removed, such as files that an atom made as another user, must not keep the slave from work.
    fn set_aside(&self, part: &Path, error: &io::Error) -> io::Result<()> {
        let name = part.file_name().unwrap_or_default().to_string_lossy();
        let aside = self
            .path
            .join(format!("{NOT_REMOVED}{name}-{}", self.session));
        std::fs::rename(part, &aside)?;
        let aside = aside.display();
        tracing::warn!(%error, "what an earlier life left can not be removed and is now {aside}: remove it as the owner of its files");
        Ok(())
    }

    /// Empties the directory but for its mirrors, once nothing of an earlier process runs any more. Blocks.
    pub(crate) fn empty(&self) -> Result<(), DataDirectoryError> {
        for part in PARTS {
            let part = self.path.join(part);
            if let Err(error) = remove_all(&part) {
                self.set_aside(&part, &error)
                    .map_err(unusable("empty", &part))?;
            }
            make_private(&part).map_err(unusable("make", &part))?;
        }
        let mirrors = self.mirrors();
        make_private(&mirrors).map_err(unusable("make", &mirrors))
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where mirrors of repositories are.
    pub(crate) fn mirrors(&self) -> PathBuf {
        self.path.join("repos")
    }

    /// Where a git build is checked out.
    pub(crate) fn work_tree(&self, build: BuildId) -> PathBuf {
        self.path.join("work").join(build.to_string())
    }

    /// Where is unpacked what is to be moved into a work tree: on the same file system.
    pub(crate) fn beside_work_tree(&self, build: BuildId) -> PathBuf {
        self.path.join("work").join(format!("{build}.restored"))
    }

    /// Where artifacts are, of whatever build.
    pub(crate) fn all_artifacts(&self) -> PathBuf {
        self.path.join("artifacts")
    }

    /// Where commands that are kept apart have what is theirs alone.
    pub(crate) fn isolation(&self) -> PathBuf {
        self.path.join("isolation")
    }

    /// Where the artifacts of a build are.
    pub(crate) fn artifacts(&self, build: BuildId) -> PathBuf {
        self.path.join("artifacts").join(build.to_string())
    }

    /// `$ARTIFACT_DIR` of atoms: the one with this number of an executor.
    pub(crate) fn artifact_directory(&self, executor: ExecutorIndex, number: u64) -> PathBuf {
        self.path
            .join("artifacts")
            .join(format!("executor_{executor}_{number}"))
    }

    /// Where the consoles of all executors are.
    pub(crate) fn all_consoles(&self) -> PathBuf {
        self.path.join("consoles")
    }

    /// Where the values of the atoms are that an executor runs in one process.
    pub(crate) fn atoms_file(&self, executor: ExecutorIndex) -> PathBuf {
        self.all_artifacts().join(format!("atoms_{executor}"))
    }

    /// What a worker of an executor prints beside its answers: the worker with this number.
    pub(crate) fn worker_output(&self, executor: ExecutorIndex, number: u64) -> PathBuf {
        let name = format!("worker_{executor}.{number}");
        self.all_consoles().join(name)
    }

    /// Where such a worker finds what it is to do, if that is a text.
    pub(crate) fn worker_request(&self, executor: ExecutorIndex, number: u64) -> PathBuf {
        let name = format!("worker_{executor}.{number}.request");
        self.all_consoles().join(name)
    }

    /// The mark of a worker of an executor for a build.
    pub(crate) fn worker_mark(
        &self,
        build: BuildId,
        executor: ExecutorIndex,
        number: u64,
    ) -> String {
        format!("{}worker_{executor}.{number}:", self.build_mark(build))
    }

    /// Where an executor's atoms print: its file with this number.
    pub(crate) fn console(&self, executor: ExecutorIndex, number: u64) -> PathBuf {
        self.all_consoles().join(format!("{executor}.{number}"))
    }

    /// Where the set-up of a build prints.
    pub(crate) fn setup_output(&self, build: BuildId) -> PathBuf {
        self.artifacts(build).join(SETUP_OUTPUT)
    }

    /// Where the teardown of a build prints.
    pub(crate) fn teardown_output(&self, build: BuildId) -> PathBuf {
        self.artifacts(build).join(TEARDOWN_OUTPUT)
    }

    /// Where the console of an atom is kept that is too large for memory.
    pub(crate) fn kept_console(&self, hand_out: HandOut, atom: AtomId) -> PathBuf {
        let HandOut {
            build,
            subjob,
            attempt,
        } = hand_out;
        self.artifacts(build)
            .join(format!("console_{subjob}_{atom}.{attempt}"))
    }

    /// Where packed results of a build wait.
    pub(crate) fn results(&self, build: BuildId) -> PathBuf {
        self.path.join("results").join(build.to_string())
    }

    /// A file of packed results of which this is the first.
    pub(crate) fn result_file(&self, hand_out: HandOut) -> PathBuf {
        let HandOut {
            build,
            subjob,
            attempt,
        } = hand_out;
        self.results(build)
            .join(format!("results_{subjob}.{attempt}.tar.gz"))
    }

    /// A file of no name below the results of a build, which goes when it is closed. Blocks.
    pub(crate) fn scratch_file(&self, build: BuildId) -> io::Result<File> {
        let number = u64::from_be_bytes(random_bytes());
        let path = self.results(build).join(format!(".{number:016x}"));
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }

    /// Where a packed result waits that outlived its slave's process.
    pub(crate) fn held_file(&self, hand_out: HandOut) -> PathBuf {
        let HandOut {
            build,
            subjob,
            attempt,
        } = hand_out;
        self.path
            .join("held")
            .join(format!("{build}.{subjob}.{attempt}.tar.gz"))
    }

    /// Puts a result aside for the next life. Blocks.
    pub(crate) fn hold(&self, hand_out: HandOut) -> io::Result<()> {
        let held = self.held_file(hand_out);
        std::fs::rename(self.result_file(hand_out), held)
    }

    /// The packed results that earlier lives left, whole or not. Blocks.
    pub(crate) fn left_results(&self) -> io::Result<Vec<PathBuf>> {
        let held = self.path.join("held");
        make_private(&held)?;
        let mut left = entries(&held)?;
        let results = self.path.join("results");
        if results.is_dir() {
            for build in entries(&results)? {
                left.extend(entries(&build)?);
            }
        }
        Ok(left)
    }

    /// Begins the mark of every process that any slave in this directory ever started.
    pub(crate) fn mark(&self) -> String {
        format!("{}:", self.path.display())
    }

    /// Begins the mark of every process that this life of the slave starts.
    pub(crate) fn life_mark(&self) -> String {
        format!("{}{}:", self.mark(), self.session)
    }

    /// Begins the mark of every process of a build.
    pub(crate) fn build_mark(&self, build: BuildId) -> String {
        format!("{}{build}:", self.life_mark())
    }

    /// The mark of the first processes of a build's containers.
    pub(crate) fn container_mark(&self, build: BuildId) -> String {
        format!("{}container:", self.build_mark(build))
    }

    /// The mark of the processes of a hand-out.
    pub(crate) fn hand_out_mark(&self, hand_out: HandOut) -> String {
        let HandOut {
            build,
            subjob,
            attempt,
        } = hand_out;
        format!("{}{subjob}.{attempt}:", self.build_mark(build))
    }
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Makes a directory and those above it, for this user only.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether an error says that the directory of a file is not there.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

#[cfg(test)]
mod tests;
