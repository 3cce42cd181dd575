//! Making a build's project ready on this slave, and taking it away again.

mod cached;
mod contained;
mod enclosing;
mod images;
mod job;
mod masked;
mod secrets;
mod taken;
mod teardown;

pub(crate) use taken::TakenTemplates;

use crate::build_template::TemplatePlaces;
use crate::containers::{BuildContainers, ContainerError};
use crate::data_directory::{DataDirectory, SETUP_OUTPUT, make_private};
use crate::deliver::steps::{EndedStep, StepDeliveries};
use crate::isolation::{IsolationError, Isolator};
use crate::secret_files::SecretFiles;
use crate::setup_cache::SetupCaches;
use crate::source::{SourceError, Sources};
use crate::work::{Project, SetupOrder, SetupOutcome};
use cached::say;
use clusterrunner_common::api::StepKind;
use clusterrunner_common::auth::secret::Secret;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::file::JobFileError;
use clusterrunner_common::process::command::{CommandError, Ended, ShellCommand};
use clusterrunner_common::process::console;
use clusterrunner_common::process::sweeper::Sweeper;
use clusterrunner_common::work::SetupJob;
use contained::Contained;
use enclosing::End;
use job::job;
use masked::Masked;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use taken::TakingError;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// How long `teardown_build` may take once the build is not waited for any more.
const HURRIED_TEARDOWN: Duration = Duration::from_secs(30);

/// The file with the templates that a build is based on.
const BASES: &str = "template_bases";

/// How much of a failed command's output goes into the reason.
const REASON_LINES: usize = 20;
/// And how many characters of it.
const REASON_CHARACTERS: usize = 4_000;

/// Why a build could not be set up. The text reaches the user.
#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("setup_build {how}{output}")]
    Failed { how: String, output: String },
    #[error("setup_build could not be run: {0}")]
    Command(#[from] CommandError),
    #[error("could not write {}: {source}", .path.display())]
    Output {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the secrets of the build could not be masked: {0}")]
    Mask(#[source] io::Error),
    #[error("the secrets of the build can not be given: {0}")]
    Secrets(#[source] io::Error),
    #[error(transparent)]
    Job(#[from] JobFileError),
    #[error("reading the job broke off: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
    #[error("the image {image} of the job can not be used: {source}")]
    Image {
        image: String,
        #[source]
        source: ContainerError,
    },
    #[error("the template {reference} can not be used: {source}")]
    Template {
        reference: String,
        #[source]
        source: TakingError,
    },
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    #[error("the set-up was canceled")]
    Canceled,
}

/// Where builds are set up.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) data: Arc<DataDirectory>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) kill_grace: Duration,
    /// Ends what builds leave running.
    pub(crate) sweeper: Sweeper,
    pub(crate) space: DiskSpace,
    /// How much of a command's output is kept.
    pub(crate) max_output: Option<u64>,
    /// Where builds make templates.
    pub(crate) templates: TemplatePlaces,
    /// Where builds run whose job names an image.
    pub(crate) containers: Arc<BuildContainers>,
    /// What keeps their commands apart from this machine.
    pub(crate) isolator: Arc<Isolator>,
    /// The templates of the farm that they take.
    pub(crate) taken: TakenTemplates,
    /// Who brings to the master what commands print.
    pub(crate) steps: StepDeliveries,
    /// What earlier set-ups have made.
    pub(crate) caches: Arc<SetupCaches>,
    /// The farm's: no stranger can name what is kept.
    pub(crate) secret: Secret,
    /// Where secrets of builds lie that are given as files.
    pub(crate) secret_files: SecretFiles,
}

impl Setup {
    /// Sets a build up; stops soon after `stop`.
    pub(crate) async fn set_up(&self, order: SetupOrder, stop: &CancellationToken) -> SetupOutcome {
        if let Err(short) = self.space.check(0) {
            return SetupOutcome::Failed {
                reason: short.to_string(),
                left: None,
            };
        }
        self.mend().await;
        let directory = match self.sources.fetch(&self.data, &order, stop).await {
            Ok(directory) => directory,
            Err(error) => {
                return SetupOutcome::Failed {
                    reason: error.to_string(),
                    left: None,
                };
            }
        };
        let job = match job(order.job.clone(), &directory).await {
            Ok(job) => job,
            Err(error) => {
                return SetupOutcome::Failed {
                    reason: error.to_string(),
                    left: None,
                };
            }
        };
        let image = match self.image(order.build, &job, stop).await {
            Ok(image) => image,
            Err(error) => {
                return SetupOutcome::Failed {
                    reason: error.to_string(),
                    left: None,
                };
            }
        };
        let variables = Arc::clone(&order.variables);
        let variables = self.variables(order.build, variables, &job, stop);
        let variables = match variables.await {
            Ok(variables) => {
                self.with_secrets(order.build, variables, &order.secrets)
                    .await
            }
            Err(error) => Err(error),
        };
        let variables = match variables {
            Ok(variables) => variables,
            Err(error) => {
                return SetupOutcome::Failed {
                    reason: error.to_string(),
                    left: None,
                };
            }
        };
        let history = self.sources.mirrors.history(order.build);
        self.isolator.note_history(order.build, history);
        let isolation = match self
            .isolation((order.build, &job), &variables, &directory)
            .await
        {
            Ok(isolation) => isolation,
            Err(error) => {
                return SetupOutcome::Failed {
                    reason: error.to_string(),
                    left: None,
                };
            }
        };
        let mut project = Project {
            directory,
            variables,
            teardown_build: job.teardown_build.clone(),
            teardown_timeout: job.teardown_timeout_s.map(Duration::from_secs),
            image: image.map(Arc::from),
            junit: Arc::new(job.junit.clone().unwrap_or_default()),
            batch_command: job.batch_command.as_deref().map(Arc::from),
            worker: job.worker.clone().map(Arc::new),
            isolation,
        };
        let Some(setup_build) = &job.setup_build else {
            return SetupOutcome::Complete(project);
        };
        let ran = self.run_setup(&order, (&job, setup_build), &mut project, stop);
        match ran.await {
            Ok(()) => SetupOutcome::Complete(project),
            Err(error) => SetupOutcome::Failed {
                reason: error.to_string(),
                left: Some(project),
            },
        }
    }

    async fn run_setup(
        &self,
        order: &SetupOrder,
        (job, setup_build): (&SetupJob, &str),
        project: &mut Project,
        stop: &CancellationToken,
    ) -> Result<(), SetupError> {
        let build = order.build;
        let (output, file) = self.output(build, SETUP_OUTPUT).await?;
        // What is kept of a set-up for other builds has no secrets if the set-up has none.
        let setup_build = (setup_build, job.cache.is_none());
        let said = file.try_clone().map_err(|source| SetupError::Output {
            path: output.clone(),
            source,
        })?;
        let began_at = Timestamp::now();
        let restored = self.restore(order, (job, setup_build.0), project, &said, stop);
        let limit = job.setup_timeout_s.map(Duration::from_secs);
        let end = match restored.await {
            Ok(Some(cached)) if cached.is_restored && job.setup_once => {
                self.give_project(project).await?;
                say(
                    &said,
                    "setup_build is not run: what it makes was restored (setup_once)",
                );
                End::from(Ended::Exited(0))
            }
            Ok(cached) => {
                self.give_project(project).await?;
                let ran = self.run_setup_build(build, setup_build, (file, limit), project, stop);
                let mut end = ran.await?;
                if let Some(cached) = cached {
                    if cached.is_restored
                        && !matches!(end.ended, Ended::Exited(0) | Ended::Canceled)
                    {
                        let again = said.try_clone().map_err(|source| SetupError::Output {
                            path: output.clone(),
                            source,
                        })?;
                        self.begin_anew(order, &said, stop).await?;
                        self.give_project(project).await?;
                        let ran =
                            self.run_setup_build(build, setup_build, (again, limit), project, stop);
                        end = ran.await?;
                        if end.ended == Ended::Exited(0) {
                            self.keep_anew(&cached, &said, stop).await;
                        }
                    } else if !cached.is_restored && end.ended == Ended::Exited(0) {
                        self.keep(&cached, &said, stop).await;
                    }
                }
                end
            }
            Err(SetupError::Canceled) => End::from(Ended::Canceled),
            Err(error) => return Err(error),
        };
        let step = EndedStep {
            kind: StepKind::Setup,
            ended: end.ended,
            hit: end.hit,
            limit,
            began_at,
            output: output.clone(),
        };
        self.steps.deliver(build, step).await;
        let how = match end.ended {
            Ended::Exited(0) => return Ok(()),
            Ended::Exited(code) => format!("exited with {code}"),
            Ended::Signaled(signal) => format!("was killed by signal {signal}"),
            Ended::TimedOut => format!("timed out after {} s", job.setup_timeout_s.unwrap_or(0)),
            Ended::Canceled => return Err(SetupError::Canceled),
        };
        Err(SetupError::Failed {
            how: how + &end.told(),
            output: self.end_of_output(output, project).await,
        })
    }

    /// What goes behind a message that a set-up failed.
    async fn end_of_output(&self, output: PathBuf, project: &Project) -> String {
        let told = last_lines(output, self.max_output).await;
        let (isolation, directory) = (&project.isolation, &project.directory);
        match self
            .isolator
            .why_denied(isolation, directory, told.as_bytes())
        {
            Some(why) => format!("{told}\n({why})"),
            None => told,
        }
    }

    /// Whether the data directory is gone for good, so that this slave ends.
    pub(crate) async fn has_lost_its_place(&self) -> bool {
        self.mend().await;
        self.data.why_broken().is_some()
    }

    async fn run_setup_build(
        &self,
        build: BuildId,
        (setup_build, gets_secrets): (&str, bool),
        (file, limit): (File, Option<Duration>),
        project: &mut Project,
        stop: &CancellationToken,
    ) -> Result<End, SetupError> {
        let mut command = self.command(build, setup_build, project);
        if !gets_secrets {
            command.variables = Arc::new(command.variables.without_secrets());
        }
        let (file, masked) = self.masked(file, &command)?;
        let Some(image) = project.image.clone() else {
            let enclosure = self.enclosed(build, project, &command).await?;
            let ran = self
                .run_enclosed(command, enclosure, (file, limit), stop)
                .await;
            Masked::end(masked).await;
            let ran = ran?;
            // What it has left running is for the atoms.
            self.isolator.keep(build, ran.enclosure);
            return Ok(ran.end);
        };
        let contained = self.contained(build, command, project, Arc::clone(&image), true);
        let ran = contained.run(file, stop, limit).await;
        Masked::end(masked).await;
        let ran = ran.map_err(failed(&image))?;
        if let Some(changed) = ran.changed {
            // What was installed in the container is there for the atoms, too.
            project.image = Some(changed.into());
        }
        Ok(ran.end)
    }

    /// Makes anew what is gone of the data directory. What can not be made the set-up will miss.
    async fn mend(&self) {
        let data = Arc::clone(&self.data);
        spawn_blocking(move || data.mend().ok()).await.ok();
    }

    /// A command that is to run in a container of its own.
    fn contained(
        &self,
        build: BuildId,
        command: ShellCommand,
        project: &Project,
        image: Arc<str>,
        keeps_changes: bool,
    ) -> Contained {
        Contained {
            containers: Arc::clone(&self.containers),
            build,
            command,
            image,
            artifacts: self.data.all_artifacts(),
            mark: self.data.container_mark(build),
            isolation: project.isolation,
            grace: self.kill_grace,
            keeps_changes,
        }
    }

    /// Where a command is to print that prints to a file in the end.
    fn masked(
        &self,
        file: File,
        command: &ShellCommand,
    ) -> Result<(File, Option<Masked>), SetupError> {
        let masked = Masked::to(file, &command.variables.mask, self.max_output);
        masked.map_err(SetupError::Mask)
    }

    fn command(&self, build: BuildId, line: &str, project: &Project) -> ShellCommand {
        let directory = project.directory.clone();
        ShellCommand {
            command_line: line.to_owned(),
            working_directory: directory.clone(),
            variables: Arc::clone(&project.variables),
            environment: vec![("PROJECT_DIR".to_owned(), OsString::from(directory))],
            mark: self.data.build_mark(build),
            max_output: self.max_output,
            confinement: None,
        }
    }

    async fn output(&self, build: BuildId, name: &str) -> Result<(PathBuf, File), SetupError> {
        let directory = self.data.artifacts(build);
        let path = directory.join(name);
        let made = {
            let path = path.clone();
            spawn_blocking(move || {
                make_private(&directory)?;
                regular_file::create(&path)
            })
        };
        let made = made.await.map_err(io::Error::other).and_then(|made| made);
        match made {
            Ok(file) => Ok((path, file)),
            Err(source) => Err(SetupError::Output { path, source }),
        }
    }
}

fn not_taken(reference: &str) -> impl FnOnce(TakingError) -> SetupError {
    let reference = reference.to_owned();
    move |error| match error {
        TakingError::Canceled => SetupError::Canceled,
        source => SetupError::Template { reference, source },
    }
}

fn failed(image: &str) -> impl FnOnce(ContainerError) -> SetupError {
    let image = image.to_owned();
    move |error| match error {
        ContainerError::Canceled => SetupError::Canceled,
        source => SetupError::Image { image, source },
    }
}

/// The end of a command's output, to go behind a message; empty when there is none.
async fn last_lines(output: PathBuf, max_size: Option<u64>) -> String {
    let read = move |path: &Path| -> Option<String> {
        let file = regular_file::open_itself(path).ok()?;
        let tail = console::live_segment(file, max_size, REASON_LINES, None, true).ok()?;
        let text = tail.content.trim_end();
        let skipped = text.chars().count().saturating_sub(REASON_CHARACTERS);
        let text: String = text.chars().skip(skipped).collect();
        (!text.is_empty()).then(|| format!("; its output ended with:\n{text}"))
    };
    let read = spawn_blocking(move || read(&output)).await;
    read.ok().flatten().unwrap_or_default()
}
