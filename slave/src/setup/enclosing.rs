//! Set-up and teardown are kept apart from their machine as atoms are: they are commands of the same strangers.

use super::cached::say;
use super::{Setup, SetupError};
use crate::build_template::TemplatePlaces;
use crate::isolation::{Enclosed, Enclosure, IsolationError};
use crate::work::Project;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::process::command::{Ended, ShellCommand};
use clusterrunner_common::process::variables::BuildVariables;
use clusterrunner_common::work::{Isolation, IsolationLevel, LimitHit, SetupJob};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// What has run, and what it may have left running.
pub(super) struct Ran {
    pub(super) end: End,
    pub(super) enclosure: Option<Enclosure>,
}

/// How a command of a set-up or teardown has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) ended: Ended,
    /// The limit of what it may use that it failed at.
    pub(super) hit: Option<LimitHit>,
}

impl From<Ended> for End {
    fn from(ended: Ended) -> Self {
        Self { ended, hit: None }
    }
}

impl End {
    /// The limit, behind a message.
    pub(super) fn told(&self) -> String {
        let hit = self.hit.map(|hit| format!(" ({hit})"));
        hit.unwrap_or_default()
    }
}

impl Setup {
    /// What holds for the commands of a build, which this machine can do; the project belongs to their user.
    pub(super) async fn isolation(
        &self,
        (build, job): (BuildId, &SetupJob),
        variables: &BuildVariables,
        project: &Path,
    ) -> Result<Isolation, SetupError> {
        let (isolator, wish) = (Arc::clone(&self.isolator), job.isolation);
        let (has_image, project) = (job.image.is_some(), project.to_owned());
        let makes_template = TemplatePlaces::are_of(variables);
        let found = move || {
            let isolation = isolator.of_build(&wish, has_image)?;
            if makes_template && isolation.level >= IsolationLevel::User {
                return Err(IsolationError::NotHere {
                    level: isolation.level,
                    reason: "templates are built from parts of the machine that are hidden then"
                        .to_owned(),
                });
            }
            isolator.project_place(&isolation, build, &project)?;
            isolator.give_project(&isolation, &project)?;
            Ok(isolation)
        };
        Ok(spawn_blocking(found).await??)
    }

    /// Gives what was put into a project to the user of its commands.
    pub(super) async fn give_project(&self, project: &Project) -> Result<(), SetupError> {
        let (isolator, isolation) = (Arc::clone(&self.isolator), project.isolation);
        let directory = project.directory.clone();
        let give = move || isolator.give_project(&isolation, &directory);
        Ok(spawn_blocking(give).await??)
    }

    /// Ends what the set-up of a build has left running behind walls, before its project is changed.
    pub(super) async fn end_left(&self, build: BuildId) {
        let isolator = Arc::clone(&self.isolator);
        if let Err(error) = spawn_blocking(move || isolator.end_left(build)).await {
            tracing::error!(build.id = %build, %error, "the task that ends what a set-up left failed");
        }
    }

    /// What keeps a command of a build apart that runs once.
    pub(super) async fn enclosed(
        &self,
        build: BuildId,
        project: &Project,
        command: &ShellCommand,
    ) -> Result<Option<Enclosure>, SetupError> {
        if project.isolation.level == IsolationLevel::None {
            return Ok(None);
        }
        let (isolator, isolation) = (Arc::clone(&self.isolator), project.isolation);
        let directory = project.directory.clone();
        let secrets = command.variables.secret_files.clone();
        let mark = command.mark.clone();
        let enclose = move || {
            let enclosed = Enclosed {
                build,
                project: Some(&directory),
                writable: &[],
                readable: secrets.as_slice(),
                mark: &mark,
            };
            isolator.enclose(&isolation, enclosed)
        };
        Ok(spawn_blocking(enclose).await??)
    }

    /// Runs a command to its end, and says behind its output which limit it failed at.
    pub(super) async fn run_enclosed(
        &self,
        mut command: ShellCommand,
        mut enclosure: Option<Enclosure>,
        (file, limit): (File, Option<Duration>),
        stop: &CancellationToken,
    ) -> Result<Ran, SetupError> {
        if let Some(enclosure) = &enclosure {
            command.environment.extend(enclosure.variables());
            enclosure.mark().clone_into(&mut command.mark);
            command.confinement = Some(enclosure.confinement());
        }
        let said = file.try_clone();
        let ended = command.run(file, stop, limit, self.kill_grace).await?;
        let mut hit = None;
        if let Some(enclosure) = &mut enclosure {
            enclosure.check(ended)?;
            hit = enclosure.hit().filter(|_| ended != Ended::Exited(0));
            if let (Some(hit), Ok(said)) = (hit, &said) {
                say(said, format!("clusterrunner: {hit}"));
            }
        }
        let end = End { ended, hit };
        Ok(Ran { end, enclosure })
    }
}
