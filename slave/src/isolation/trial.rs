//! What of isolation this machine can do: it is tried.

use super::{Enclosed, IsolationError, Isolator};
use crate::control_groups::remove_left;
use crate::data_directory::DataDirectory;
use clusterrunner_common::ids::{BuildId, SessionId};
use clusterrunner_common::process::command::{Ended, ShellCommand};
use clusterrunner_common::settings::IsolationSettings;
use clusterrunner_common::work::{Isolation, IsolationLevel, IsolationWish};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a command that does nothing may take.
const TRIAL: Duration = Duration::from_secs(30);

/// No build has this number.
const NO_BUILD: BuildId = BuildId(0);

/// What a machine can do or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    level: IsolationLevel,
    network: bool,
    memory: bool,
    pids: bool,
    cpus: bool,
}

impl Kind {
    pub(super) fn of(isolation: &Isolation) -> Self {
        Self {
            level: isolation.level,
            network: isolation.network,
            memory: isolation.memory_bytes.is_some(),
            pids: isolation.pids.is_some(),
            cpus: isolation.cpus.is_some(),
        }
    }

    /// Containers are tried by whoever runs them.
    pub(super) fn needs_nothing(self) -> bool {
        matches!(self.level, IsolationLevel::None | IsolationLevel::Container)
    }
}

/// What of isolation a slave of this user could do on this machine, with the limits of its settings: for each level below
/// containers, why not, if not. `directory` is for files that the trials need, `program` is ours. Blocks.
///
/// # Errors
/// When these files can not be made.
pub fn isolation_here(
    settings: &IsolationSettings,
    program: &Path,
    directory: &Path,
) -> std::io::Result<Vec<(IsolationLevel, Result<(), String>)>> {
    let session = SessionId("doctor".to_owned());
    let data = DataDirectory::open(directory, 1, session).map_err(std::io::Error::other)?;
    data.empty().map_err(std::io::Error::other)?;
    let demanded = Isolation {
        level: IsolationLevel::None,
        ..settings.demanded
    };
    let settings = IsolationSettings {
        demanded,
        ..settings.clone()
    };
    let isolator = Isolator::new(settings, program.to_owned(), Arc::new(data), Vec::new());
    let levels = [IsolationLevel::Limits, IsolationLevel::User];
    let tried = levels.map(|level| {
        let wish = IsolationWish {
            level: Some(level),
            ..IsolationWish::default()
        };
        let found = isolator.of_build(&wish, false);
        (level, found.map(drop).map_err(|error| error.to_string()))
    });
    Ok(tried.into())
}

impl Isolator {
    /// Runs a command that does nothing. Blocks.
    ///
    /// # Errors
    /// Why commands can not be kept apart like that here.
    pub(super) fn try_out(&self, isolation: &Isolation) -> Result<(), IsolationError> {
        let not_here = |reason: String| IsolationError::NotHere {
            level: isolation.level,
            reason,
        };
        let directory = self.data.isolation();
        let mark = format!("{}isolation:", self.data.life_mark());
        let enclosed = Enclosed {
            build: NO_BUILD,
            project: None,
            writable: &[],
            readable: &[],
            mark: &mark,
        };
        let enclosure = self.enclose(isolation, enclosed)?;
        let command = ShellCommand {
            command_line: "exit 0".to_owned(),
            working_directory: "/".into(),
            variables: Arc::default(),
            environment: Vec::new(),
            mark: enclosure
                .as_ref()
                .map_or(mark.as_str(), super::Enclosure::mark)
                .to_owned(),
            max_output: None,
            confinement: enclosure.as_ref().map(super::Enclosure::confinement),
        };
        let output = directory.join("trial");
        let tried = || -> Result<Option<Ended>, String> {
            let file = File::create(&output).map_err(|error| error.to_string())?;
            let mut running = command.start(file).map_err(|error| error.to_string())?;
            let began = Instant::now();
            while began.elapsed() < TRIAL {
                let ended = running.wait(TRIAL).map_err(|error| error.to_string())?;
                if ended.is_some() {
                    return Ok(ended);
                }
            }
            Ok(None)
        };
        let ended = tried().map_err(not_here);
        let said = std::fs::read_to_string(&output).unwrap_or_default();
        std::fs::remove_file(&output).ok();
        let ended = ended?;
        if let (Some(ended), Some(enclosure)) = (ended, &enclosure) {
            enclosure.check(ended).map_err(|error| match error {
                IsolationError::NotStarted(reason) => not_here(reason),
                other => other,
            })?;
        }
        drop(enclosure);
        self.forget(NO_BUILD);
        match ended {
            Some(Ended::Exited(0)) => Ok(()),
            ended => Err(not_here(format!(
                "a trial ended with {ended:?} {}",
                said.trim()
            ))),
        }
    }

    /// What helps where it is the limits alone that this machine can not do. Blocks.
    pub(super) fn with_cure(&self, isolation: &Isolation, error: IsolationError) -> IsolationError {
        let without = Isolation {
            memory_bytes: None,
            pids: None,
            cpus: None,
            ..*isolation
        };
        let (level, reason) = match error {
            IsolationError::NotHere { level, reason } => (level, reason),
            other => return other,
        };
        let has_limits = Kind::of(&without) != Kind::of(isolation);
        let cure = match level == IsolationLevel::User
            && has_limits
            && self.try_out(&without).is_ok()
        {
            true => {
                ". Without limits it can: set `atom_pids = 0`, and neither `atom_memory` nor `atom_cpus` (a job sets \
                 `pids`, `memory` and `cpus`)"
            }
            false => "",
        };
        IsolationError::NotHere {
            level,
            reason: format!("{reason}{cure}"),
        }
    }

    /// Says in the log of a slave that starts why all its builds would fail. Blocks.
    pub(crate) fn warn_if_not_here(&self) {
        if self.settings.demanded.level == IsolationLevel::Container {
            return;
        }
        if let Err(error) = self.of_build(&IsolationWish::default(), false) {
            tracing::warn!(%error, "no build can run here");
        }
    }

    /// Removes control groups that an earlier life of this slave has left, with what is in them. Blocks.
    pub(crate) fn remove_left(&self) {
        remove_left(&self.group_prefix());
    }
}
