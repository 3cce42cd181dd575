//! What is made for one command, and goes with it.

use super::groups::LimitedGroups;
use super::hidden::resolvers;
use super::{IsolationError, Isolator};
use crate::data_directory::remove_all;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use clusterrunner_common::process::command::{Ended, end_marked_blocking};
use clusterrunner_common::process::confinement::{
    Confinement, ConfinementOrder, NOT_CONFINED_EXIT_CODE, Walls,
};
use clusterrunner_common::work::{Isolation, IsolationLevel, LimitHit};
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How many processes of ours are behind walls with a command, or in front of them.
const BESIDE: u32 = 2;

/// The surroundings of a command that is to be kept apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Enclosed<'a> {
    pub(crate) build: BuildId,
    /// The directory of the project, which it may write to.
    pub(crate) project: Option<&'a Path>,
    /// What else it may write to: directories of the slave, which are given to the user that it is.
    pub(crate) writable: &'a [&'a Path],
    /// What it is to read of the slave's own.
    pub(crate) readable: &'a [PathBuf],
    /// Begins the mark of its processes.
    pub(crate) mark: &'a str,
}

/// One command's own. All that it has started is killed, and all of it goes, when this is dropped.
#[derive(Debug)]
pub(crate) struct Enclosure {
    confinement: Arc<Confinement>,
    groups: LimitedGroups,
    /// The mark of its processes, and of no others.
    mark: String,
    /// Temporary files.
    scratch: Option<PathBuf>,
    /// What it finds in its environment beside what every command finds.
    variables: Vec<(String, OsString)>,
}

impl Isolator {
    /// What a command needs to be kept apart; none where it is not to be, or is in a container. Blocks.
    ///
    /// # Errors
    /// When it can not be made: the command must not run then.
    pub(crate) fn enclose(
        &self,
        isolation: &Isolation,
        enclosed: Enclosed<'_>,
    ) -> Result<Option<Enclosure>, IsolationError> {
        let has_walls = match isolation.level {
            IsolationLevel::None | IsolationLevel::Container => return Ok(None),
            IsolationLevel::Limits => false,
            IsolationLevel::User => true,
        };
        let number = self.next();
        let beside = if has_walls { BESIDE } else { 0 };
        // An earlier life may have left a group that can not be removed.
        let name = format!("{}{}-{number}", self.group_prefix(), std::process::id());
        let groups = LimitedGroups::make(name, isolation, beside, !has_walls);
        let groups = groups.map_err(|error| IsolationError::NotHere {
            level: isolation.level,
            reason: error.to_string(),
        })?;
        let mut enclosure = Enclosure {
            confinement: Arc::new(Confinement {
                program: self.program.clone(),
                allowed: self.settings.allowed.clone(),
                order: ConfinementOrder {
                    groups: groups.doors(),
                    report: self.data.isolation().join(format!("{number}.report")),
                    walls: None,
                },
            }),
            groups,
            mark: format!("{}enclosed{number}:", enclosed.mark),
            scratch: None,
            variables: Vec::new(),
        };
        if has_walls {
            let scratch = self.make_scratch(number)?;
            enclosure.scratch = Some(scratch.clone());
            let home = self.have_home(enclosed.build, isolation)?;
            for path in enclosed.writable {
                self.give(isolation, path)?;
            }
            for path in enclosed.readable {
                self.give_whole(isolation, path)?;
            }
            let walls = self.walls(isolation, enclosed, (scratch, &home))?;
            Arc::make_mut(&mut enclosure.confinement).order.walls = Some(walls);
            enclosure.variables = self.variables_of(home);
        }
        Ok(Some(enclosure))
    }

    fn walls(
        &self,
        isolation: &Isolation,
        enclosed: Enclosed<'_>,
        (scratch, home): (PathBuf, &Path),
    ) -> Result<Walls, IsolationError> {
        let project = enclosed.project;
        let project = project.map(|project| self.project_place(isolation, enclosed.build, project));
        let project = project.transpose()?;
        let history = lock(&self.histories).get(&enclosed.build).cloned();
        let shown = self.settings.shown.iter().cloned();
        let readable = enclosed.readable.iter().cloned();
        let readable = readable.chain(history).chain(shown).chain(resolvers());
        let writable = enclosed.writable.iter().map(|path| (*path).to_owned());
        let writable = project.into_iter().chain(writable);
        Ok(Walls {
            account: self.account(isolation)?,
            network: isolation.network,
            hidden: self.hidden.clone(),
            writable: writable.chain([home.to_owned()]).collect(),
            readable: readable.collect(),
            temporary: scratch,
            empty: self.empty_file()?,
        })
    }

    fn variables_of(&self, home: PathBuf) -> Vec<(String, OsString)> {
        let user = self.settings.run_as.as_ref();
        let user = ["USER", "LOGNAME"]
            .into_iter()
            .zip(user.into_iter().cycle())
            .map(|(name, user)| (name.to_owned(), OsString::from(user)));
        let own = [
            ("HOME".to_owned(), home.into_os_string()),
            ("TMPDIR".to_owned(), "/tmp".into()),
        ];
        own.into_iter().chain(user).collect()
    }

    /// Begins the names of this slave's control groups.
    pub(super) fn group_prefix(&self) -> String {
        let digest = hex::encode(Sha256::digest(self.data.mark().as_bytes()));
        let digest = digest.get(..16).unwrap_or_default();
        format!("clusterrunner-atoms-{digest}-")
    }
}

impl Enclosure {
    /// How the command is to be started.
    pub(crate) fn confinement(&self) -> Arc<Confinement> {
        Arc::clone(&self.confinement)
    }

    /// The mark that its command must have: all goes by it where there is no control group.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// What it finds in its environment beside what every command finds.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (String, OsString)> {
        self.variables.iter().cloned()
    }

    /// Says so where a command that ended was not even started.
    ///
    /// # Errors
    /// [`IsolationError::NotStarted`].
    pub(crate) fn check(&self, ended: Ended) -> Result<(), IsolationError> {
        if ended != Ended::Exited(NOT_CONFINED_EXIT_CODE) {
            return Ok(());
        }
        match self.confinement.why_not_started() {
            Some(reason) => Err(IsolationError::NotStarted(reason)),
            None => Ok(()),
        }
    }

    /// The limit that was hit since the last time this was asked.
    pub(crate) fn hit(&mut self) -> Option<LimitHit> {
        self.groups.hit()
    }
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        self.groups.kill();
        if self.groups.is_empty() {
            // The process in front has the mark, and with it ends all that is behind the walls.
            end_marked_blocking(&self.mark, Duration::ZERO);
        }
        if let Some(scratch) = &self.scratch
            && let Err(error) = remove_all(scratch)
        {
            tracing::warn!(path = %scratch.display(), %error, "temporary files of a command could not be removed");
        }
    }
}
