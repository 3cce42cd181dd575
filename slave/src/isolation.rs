//! Keeps the commands of builds apart from this machine, as far as the settings and the job say: what of it this machine
//! can do, and what is made for one command and goes with it. How a command gets behind its walls is in
//! [`clusterrunner_common::process::confinement`].

mod account;
mod enclosure;
mod groups;
mod hidden;
mod trial;

pub use trial::isolation_here;

pub(crate) use enclosure::{Enclosed, Enclosure};
pub(crate) use hidden::hidden_places;

use crate::data_directory::{DataDirectory, make_private, remove_all};
use account::{account_of, give_tree, may_write};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use clusterrunner_common::process::confinement::Account;
use clusterrunner_common::process::variables::AllowedVariables;
use clusterrunner_common::settings::IsolationSettings;
use clusterrunner_common::work::{Isolation, IsolationLevel, IsolationWish, NoImage};
use hidden::uncovers;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use trial::Kind;

/// Why commands can not be kept apart as they are to be. The text reaches the user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IsolationError {
    #[error("this slave can not isolate commands at the level {level}: {reason}")]
    NotHere {
        level: IsolationLevel,
        reason: String,
    },
    #[error(transparent)]
    NoImage(#[from] NoImage),
    #[error("could not {step} {} for a command: {source}", .path.display())]
    Io {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("a command could not be isolated: {0}")]
    NotStarted(String),
}

/// Keeps commands apart.
#[derive(Debug)]
pub(crate) struct Isolator {
    settings: IsolationSettings,
    /// Our program, which goes in front of commands.
    program: PathBuf,
    data: Arc<DataDirectory>,
    /// What no command behind walls sees.
    hidden: Vec<PathBuf>,
    /// How many enclosures were made; each has a number of its own.
    made: AtomicU64,
    account: OnceLock<Account>,
    /// What was seen to work here.
    works: Mutex<HashSet<Kind>>,
    /// Held while it is tried what works.
    trial: Mutex<()>,
    /// What set-ups left running, until their builds end.
    left: Mutex<HashMap<BuildId, Vec<Enclosure>>>,
    /// The mirrors that builds were fetched from, which they may read.
    histories: Mutex<HashMap<BuildId, PathBuf>>,
}

impl Isolator {
    pub(crate) fn new(
        settings: IsolationSettings,
        program: PathBuf,
        data: Arc<DataDirectory>,
        hidden: Vec<PathBuf>,
    ) -> Self {
        Self {
            settings,
            program,
            data,
            hidden,
            made: AtomicU64::default(),
            account: OnceLock::new(),
            works: Mutex::default(),
            trial: Mutex::default(),
            left: Mutex::default(),
            histories: Mutex::default(),
        }
    }

    /// One that keeps nothing apart where no job asks for that.
    pub(crate) fn idle(data: Arc<DataDirectory>) -> Self {
        let settings = IsolationSettings::default();
        Self::new(settings, PathBuf::new(), data, Vec::new())
    }

    /// Which variables of the slave commands have that are kept apart.
    pub(crate) fn allowed(&self) -> &AllowedVariables {
        &self.settings.allowed
    }

    /// The least level of all builds of this slave.
    pub(crate) fn demanded(&self) -> IsolationLevel {
        self.settings.demanded.level
    }

    /// What holds for a build, which this machine can do. Blocks.
    ///
    /// # Errors
    /// When it can not: nothing runs looser than it is to.
    pub(crate) fn of_build(
        &self,
        wish: &IsolationWish,
        has_image: bool,
    ) -> Result<Isolation, IsolationError> {
        let isolation = self.settings.demanded.tightened(wish, has_image)?;
        let demanded = self
            .settings
            .demanded
            .tightened(&IsolationWish::default(), false);
        if has_image && demanded.is_ok_and(|demanded| demanded.level == IsolationLevel::User) {
            return Err(IsolationError::NotHere {
                level: IsolationLevel::User,
                reason: "the containers of a job's \"image\" see artifacts of other builds"
                    .to_owned(),
            });
        }
        let kind = Kind::of(&isolation);
        if kind.needs_nothing() || lock(&self.works).contains(&kind) {
            return Ok(isolation);
        }
        // One at a time: trials share their home and a file.
        let _trial = lock(&self.trial);
        if lock(&self.works).contains(&kind) {
            return Ok(isolation);
        }
        let tried = self.try_out(&isolation);
        tried.map_err(|error| self.with_cure(&isolation, error))?;
        lock(&self.works).insert(kind);
        Ok(isolation)
    }

    /// Where a project really is. Behind walls it must be the build's own work tree, or a place where nothing is hidden:
    /// it can be written to there.
    pub(crate) fn project_place(
        &self,
        isolation: &Isolation,
        build: BuildId,
        project: &Path,
    ) -> Result<PathBuf, IsolationError> {
        if isolation.level != IsolationLevel::User {
            return Ok(project.to_owned());
        }
        let real = project.canonicalize().map_err(failed("find", project))?;
        let own = self.data.work_tree(build);
        let real_data = self.data.path().canonicalize();
        let real_data = real_data.map_err(failed("find", self.data.path()))?;
        let real_own = real_data.join("work").join(build.to_string());
        if let Ok(inside) = real.strip_prefix(&real_own) {
            // No empty last part: that would end the path with a slash.
            let is_whole = inside.as_os_str().is_empty();
            return Ok(if is_whole { own } else { own.join(inside) });
        }
        let has_hidden = real.starts_with(&real_data) || uncovers(&real, &self.hidden);
        if has_hidden {
            return Err(IsolationError::NotHere {
                level: isolation.level,
                reason: format!(
                    "the project directory {} is, has or lies in a place that is hidden from commands",
                    project.display()
                ),
            });
        }
        Ok(real)
    }

    /// Gives a work tree to the user that commands run as there, if that is another one than this. Other projects belong to
    /// whom they belong. Blocks.
    pub(crate) fn give_project(
        &self,
        isolation: &Isolation,
        project: &Path,
    ) -> Result<(), IsolationError> {
        let leads_out = project
            .components()
            .any(|part| part == Component::ParentDir);
        if leads_out || !project.starts_with(self.data.path()) {
            return Ok(());
        }
        let Some(account) = self.account(isolation)? else {
            return Ok(());
        };
        give_tree(project, &account).map_err(failed("give away", project))
    }

    /// The same for a directory with all that is in it, or for a file.
    fn give_whole(&self, isolation: &Isolation, path: &Path) -> Result<(), IsolationError> {
        match self.account(isolation)? {
            Some(account) if path.is_dir() => {
                give_tree(path, &account).map_err(failed("give away", path))
            }
            _ => self.give(isolation, path),
        }
    }

    /// The same for one file or directory of the slave.
    pub(crate) fn give(&self, isolation: &Isolation, path: &Path) -> Result<(), IsolationError> {
        let Some(account) = self.account(isolation)? else {
            return Ok(());
        };
        let given = lchown(path, Some(account.uid), Some(account.gid));
        given.map_err(failed("give away", path))
    }

    /// What to tell of a command that failed and printed that it may not do something, where its user may not write to the
    /// project: that belongs to whom it belongs.
    pub(crate) fn why_denied(
        &self,
        isolation: &Isolation,
        project: &Path,
        printed: &[u8],
    ) -> Option<String> {
        const DENIED: &[u8] = b"ermission denied";
        let name = self.settings.run_as.as_deref()?;
        if !printed.windows(DENIED.len()).any(|part| part == DENIED) {
            return None;
        }
        let account = self.account(isolation).ok()??;
        let found = fs::metadata(project).ok()?;
        let may = may_write(&account, (found.uid(), found.gid()), found.mode());
        (!may).then(|| {
            format!("commands run as {name} (run_as), who may not write to the project directory")
        })
    }

    /// Who commands are, where that is another user than the slave's.
    fn account(&self, isolation: &Isolation) -> Result<Option<Account>, IsolationError> {
        let Some(name) = &self.settings.run_as else {
            return Ok(None);
        };
        if isolation.level != IsolationLevel::User {
            return Ok(None);
        }
        if let Some(known) = self.account.get() {
            return Ok(Some(known.clone()));
        }
        let not_here = |reason| IsolationError::NotHere {
            level: isolation.level,
            reason,
        };
        let found = account_of(name).map_err(not_here)?;
        Ok(Some(self.account.get_or_init(|| found).clone()))
    }

    /// Notes which mirror a build was fetched from, before its first command.
    pub(crate) fn note_history(&self, build: BuildId, history: Option<PathBuf>) {
        let mut histories = lock(&self.histories);
        match history {
            Some(history) => histories.insert(build, history),
            None => histories.remove(&build),
        };
    }

    /// Keeps what a set-up may have left running until its build ends.
    pub(crate) fn keep(&self, build: BuildId, enclosure: Option<Enclosure>) {
        if let Some(enclosure) = enclosure {
            let mut left = lock(&self.left);
            left.entry(build).or_default().push(enclosure);
        }
    }

    /// Ends what is left of a build's set-up: the slave is about to change its project. Blocks.
    pub(crate) fn end_left(&self, build: BuildId) {
        let left = lock(&self.left).remove(&build);
        drop(left);
    }

    /// The same at the end of a build; its private home goes, too. Blocks.
    pub(crate) fn forget(&self, build: BuildId) {
        self.end_left(build);
        self.note_history(build, None);
        let home = self.home(build);
        if let Err(error) = remove_all(&home) {
            tracing::warn!(build.id = %build, path = %home.display(), %error, "could not remove the home of a build");
        }
    }

    fn home(&self, build: BuildId) -> PathBuf {
        self.data.isolation().join(format!("home_{build}"))
    }

    /// A number that no other enclosure of this slave has.
    fn next(&self) -> u64 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }

    /// The home of a build's commands, made if it is not there: what its set-up installs there its atoms find.
    fn have_home(&self, build: BuildId, isolation: &Isolation) -> Result<PathBuf, IsolationError> {
        let home = self.home(build);
        if home.is_dir() {
            return Ok(home);
        }
        make_private(&home).map_err(failed("make", &home))?;
        if self.settings.run_as.is_some() {
            // The history of a work tree belongs to another user than its commands.
            let trusting = home.join(".gitconfig");
            let written = fs::write(&trusting, "[safe]\n\tdirectory = *\n");
            written.map_err(failed("write", &trusting))?;
            self.give(isolation, &trusting)?;
        }
        self.give(isolation, &home)?;
        Ok(home)
    }

    /// A directory for temporary files of a command.
    fn make_scratch(&self, number: u64) -> Result<PathBuf, IsolationError> {
        let scratch = self.data.isolation().join(number.to_string());
        make_private(&scratch).map_err(failed("make", &scratch))?;
        let everybody = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(&scratch, everybody).map_err(failed("open", &scratch))?;
        Ok(scratch)
    }

    /// A file in which nothing is.
    fn empty_file(&self) -> Result<PathBuf, IsolationError> {
        let path = self.data.isolation().join("empty");
        if !path.exists() {
            File::create(&path).map_err(failed("make", &path))?;
        }
        Ok(path)
    }
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IsolationError {
    let path = path.to_owned();
    move |source| IsolationError::Io { step, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::SessionId;

    #[test]
    fn who_may_not_write_to_a_project_is_told() {
        let base = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(base.path(), 1, SessionId("s".to_owned())).unwrap();
        let settings = IsolationSettings {
            run_as: Some("nobody".to_owned()),
            ..IsolationSettings::default()
        };
        let isolator = Isolator::new(settings, PathBuf::new(), Arc::new(data), Vec::new());
        let behind_walls = Isolation {
            level: IsolationLevel::User,
            ..Isolation::default()
        };
        let project = tempfile::tempdir().unwrap();
        let permit = |mode| {
            fs::set_permissions(project.path(), fs::Permissions::from_mode(mode)).unwrap();
        };
        let denied = b"sh: 1: cannot create s.txt: Permission denied\n";
        let why = |isolation: &Isolation, printed: &[u8]| {
            isolator.why_denied(isolation, project.path(), printed)
        };
        permit(0o555);
        let told = why(&behind_walls, denied).unwrap();
        assert!(told.contains("run as nobody (run_as)"), "{told}");
        assert_eq!(why(&behind_walls, b"it failed\n"), None);
        assert_eq!(why(&Isolation::default(), denied), None);
        permit(0o777);
        assert_eq!(why(&behind_walls, denied), None);
    }
}
