//! Prepares one build: fetches the project, reads its job, runs the atomizers. Read from top to
//! bottom; the core sees to it that a project that preparing changes is prepared once at a time.

mod error;
mod output;

use crate::cluster::command::Command;
use crate::cluster::event::Plan;
use crate::learning::Durations;
use crate::metrics::{InternalError, Measured};
use crate::project_locks::ProjectLocks;
use clusterrunner_common::build_request::{BuildRequest, ProjectSource};
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::command::{Ended, ShellCommand};
use clusterrunner_common::disk_space::DiskSpace;
use clusterrunner_common::git::{GitError, GitOptions, GitUrl, Mirror, Revision};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job_config::{Job, TimeLimit, Timeouts, atoms_from_output};
use clusterrunner_common::job_file::read_job;
use clusterrunner_common::kept_projects;
use clusterrunner_common::remote_files::{RemoteFileRules, fetch_remote_files};
use clusterrunner_common::sweeper::Sweeper;
use error::PreparationError;
use output::{MAX_OUTPUT, Output};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// What every preparation needs.
#[derive(Clone, Debug)]
pub struct Preparer {
    /// Where mirrors of repositories lie.
    pub mirrors: PathBuf,
    /// Where the master's work trees lie, one for each repository.
    pub work_trees: PathBuf,
    /// How repositories are reached.
    pub git: GitOptions,
    /// What remote files may be.
    pub remote_files: RemoteFileRules,
    /// Begins the mark of every process started here.
    pub mark: String,
    /// Time between asking a process to end and killing it.
    pub kill_grace: Duration,
    /// Ends what atomizers leave behind.
    pub sweeper: Sweeper,
    /// How long commands may run whose job does not say.
    pub default_timeouts: Timeouts,
    /// This machine, for messages.
    pub hostname: String,
    /// Who uses which project's directory.
    pub projects: ProjectLocks,
    /// What is known of how long atoms take.
    pub durations: Durations,
    /// The space that is left here.
    pub space: DiskSpace,
    /// Where failing atomizers are counted.
    pub measured: Measured,
}

/// Where an atomizer runs.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    project: &'a Path,
    /// Keeps others from changing it, if anybody could.
    only_user: &'a Option<Arc<OwnedMutexGuard<()>>>,
}

impl Preparer {
    /// Prepares a build and says how it went; `None` if it was told to stop. Waits while the disk is
    /// nearly full, and begins anew if it becomes so meanwhile.
    pub async fn prepare(
        &self,
        build: BuildId,
        request: BuildRequest,
        stop: CancellationToken,
    ) -> Option<Command> {
        let what = format!("preparing build {build}");
        let prepared = loop {
            if !self.space.wait_for(0, &what, &stop).await {
                return None;
            }
            let try_only = stop.child_token();
            let planning = self.plan(build, &request, &try_only);
            tokio::pin!(planning);
            let prepared = tokio::select! {
                prepared = &mut planning => prepared,
                () = self.space.runs_out() => {
                    try_only.cancel();
                    planning.await
                }
            };
            if prepared.is_ok() || stop.is_cancelled() {
                break prepared;
            }
            // Whatever it says, it may be for want of space.
            if !try_only.is_cancelled() && self.space.check(0).is_ok() {
                break prepared;
            }
        };
        match prepared {
            _ if stop.is_cancelled() => None,
            Ok(plan) => Some(Command::ReportPrepared {
                build,
                plan: Box::new(plan),
            }),
            Err(error) => {
                if matches!(
                    error,
                    PreparationError::Atomizer { .. } | PreparationError::Flood { .. }
                ) {
                    self.measured.count(InternalError::AtomizerFailure);
                }
                let reason = error.to_string();
                Some(Command::ReportPreparationFailed { build, reason })
            }
        }
    }

    async fn plan(
        &self,
        build: BuildId,
        request: &BuildRequest,
        stop: &CancellationToken,
    ) -> Result<Plan, PreparationError> {
        // Held to the end: the atomizers read the directory too, and so does what they leave behind.
        // All that is awaited below ends soon after `stop`, and is awaited to its end.
        let only_user = match request.preparing_changes_project() {
            true => tokio::select! {
                () = stop.cancelled() => return Err(PreparationError::Canceled),
                lock = self.lock(request) => Some(Arc::new(lock?)),
            },
            false => None,
        };
        let (project, commit) = self.fetch(request, stop).await?;
        let files = fetch_remote_files(&request.remote_files, &project, &self.remote_files);
        tokio::select! {
            () = stop.cancelled() => return Err(PreparationError::Canceled),
            fetched = files => fetched?,
        }
        let (config, job_name) = (request.config.as_ref(), request.job_name.as_deref());
        let (job_name, job) =
            read_job(config, job_name, &project).map_err(|error| match &request.project {
                ProjectSource::Git {
                    project_directory, ..
                } => error.in_repository(project_directory.as_deref()),
                ProjectSource::Directory { .. } => error,
            })?;
        let timeouts = job.timeouts.or(self.default_timeouts);
        let atoms = match &request.atoms_override {
            Some(atoms) => atoms.clone(),
            None => {
                let limit = timeouts.atomizer.and_then(TimeLimit::duration);
                let place = Place {
                    project: &project,
                    only_user: &only_user,
                };
                self.atomize(build, &job, place, limit, stop).await?
            }
        };
        let (atoms, expected_ms) = self.durations.expected(request, &job_name, atoms).await;
        Ok(Plan {
            commit,
            job_name,
            command: job.commands,
            setup_build: job.setup_build,
            teardown_build: job.teardown_build,
            max_executors: job.max_executors,
            max_executors_per_slave: job.max_executors_per_slave,
            labels: job.labels,
            priority: job.priority,
            weight: job.weight,
            timeouts,
            atoms,
            expected_ms,
        })
    }

    async fn lock(&self, request: &BuildRequest) -> Result<OwnedMutexGuard<()>, PreparationError> {
        let directory = match &request.project {
            ProjectSource::Directory { project_directory } => PathBuf::from(project_directory),
            ProjectSource::Git { url, .. } => {
                let url = GitUrl::parse(url, self.git.allow_local_sources)?;
                self.work_trees.join(url.directory_name())
            }
        };
        Ok(self.projects.lock(&directory).await)
    }

    /// Brings the project here; says where it is, and at which commit.
    async fn fetch(
        &self,
        request: &BuildRequest,
        stop: &CancellationToken,
    ) -> Result<(PathBuf, Option<String>), PreparationError> {
        match &request.project {
            ProjectSource::Directory { project_directory } => {
                let directory = PathBuf::from(project_directory);
                if !directory.is_dir() {
                    let hostname = self.hostname.clone();
                    return Err(PreparationError::NoDirectory {
                        directory,
                        hostname,
                    });
                }
                Ok((directory, None))
            }
            ProjectSource::Git {
                url,
                remote,
                branch,
                hash,
                project_directory,
            } => {
                let url = GitUrl::parse(url, self.git.allow_local_sources)?;
                let name = url.directory_name();
                let work_tree = self.work_trees.join(&name);
                let mirror = Mirror::new(self.mirrors.join(&name), url, self.git.clone());
                let revision = Revision {
                    remote: remote.clone(),
                    branch: branch.clone(),
                    hash: hash.clone(),
                };
                let checked_out = tokio::task::spawn_blocking({
                    let (work_tree, stop) = (work_tree.clone(), stop.clone());
                    move || {
                        let commit = mirror.fetch(&revision, &stop)?;
                        mirror.check_out(&commit, &work_tree, &stop)?;
                        // Unused for longer it only seems, and is fetched again.
                        kept_projects::touch(&work_tree).ok();
                        Ok::<_, GitError>(commit)
                    }
                });
                let commit = checked_out.await.map_err(interrupted)??;
                let project = match project_directory {
                    None => work_tree,
                    Some(inside) => project_inside(&work_tree, inside)?,
                };
                Ok((project, Some(commit.to_string())))
            }
        }
    }

    async fn atomize(
        &self,
        build: BuildId,
        job: &Job,
        place: Place<'_>,
        limit: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<Vec<String>, PreparationError> {
        let project = place.project;
        let mut atoms = Vec::new();
        for atomizer in &job.atomizers {
            let output = self
                .run_atomizer(build, &atomizer.command, place, limit, stop)
                .await?;
            let values = atoms_from_output(&atomizer.name, &output, &project.to_string_lossy());
            atoms.extend(values);
        }
        Ok(atoms)
    }

    async fn run_atomizer(
        &self,
        build: BuildId,
        command: &str,
        place: Place<'_>,
        limit: Option<Duration>,
        stop: &CancellationToken,
    ) -> Result<String, PreparationError> {
        let output = Output::new(MAX_OUTPUT).map_err(PreparationError::Output)?;
        let shell = ShellCommand {
            command_line: command.to_owned(),
            working_directory: place.project.to_owned(),
            environment: vec![("PROJECT_DIR".to_owned(), place.project.into())],
            mark: format!("{}{build}:{}:", self.mark, hex_of_random()),
            max_output: None,
        };
        let file = output.to_write().map_err(PreparationError::Output)?;
        let flooded = stop.child_token();
        let ended = {
            let run = shell.run(file, &flooded, limit, self.kill_grace);
            tokio::pin!(run);
            tokio::select! {
                ended = &mut run => ended,
                () = output.becomes_too_much() => {
                    flooded.cancel();
                    run.await
                }
            }
        };
        // What an atomizer leaves in the background is nobody's any more; the build need not wait for
        // its end.
        self.sweeper.end_later(shell.mark, place.only_user.clone());
        let ended = ended?;
        if stop.is_cancelled() {
            return Err(PreparationError::Canceled);
        }
        // A part of it would be a part of the atoms, and the build would pass without the rest.
        if output.is_too_much().map_err(PreparationError::Output)? {
            let command = command.to_owned();
            return Err(PreparationError::Flood { command });
        }
        let text = output.text().map_err(PreparationError::Output)?;
        let how = match ended {
            // `find -print0` or UTF-16: values are lines of text, and become arguments of a shell.
            Ended::Exited(0) if text.contains('\0') => {
                "printed a NUL character, which no atom can have".to_owned()
            }
            Ended::Exited(0) => return Ok(text),
            Ended::Exited(code) => format!("exited with {code}"),
            Ended::Signaled(signal) => format!("was ended by signal {signal}"),
            Ended::TimedOut => format!(
                "timed out after {} s",
                limit.map_or(0, |limit| limit.as_secs())
            ),
            Ended::Canceled => return Err(PreparationError::Canceled),
        };
        Err(PreparationError::Atomizer {
            command: command.to_owned(),
            how,
            output: text,
        })
    }
}

fn interrupted(error: tokio::task::JoinError) -> PreparationError {
    PreparationError::Interrupted(format!("Fetching the project was interrupted: {error}."))
}

fn hex_of_random() -> String {
    format!("{:08x}", u32::from_be_bytes(random_bytes()))
}

/// The project's directory in the work tree; also through links it must lie there.
fn project_inside(work_tree: &Path, inside: &str) -> Result<PathBuf, PreparationError> {
    let missing = || PreparationError::NoProjectDirectory(inside.to_owned());
    let real = work_tree
        .join(inside)
        .canonicalize()
        .map_err(|_| missing())?;
    let root = work_tree.canonicalize().map_err(|_| missing())?;
    if real.starts_with(root) && real.is_dir() {
        Ok(work_tree.join(inside))
    } else {
        Err(missing())
    }
}
