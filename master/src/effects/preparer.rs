//! Prepares one build: fetches the project, reads its job, runs the atomizers. The core sees to it that a project that
//! preparing changes is prepared once at a time.
//!
//! All that touches the project is done by a child process (`work`), since the project is a stranger's: what ends or
//! stops the child is an error of its build. Here is what the builds share: space, locks, and what was learned.

mod atomizer;
mod bases;
mod error;
mod fetch_step;
mod found;
mod output;
mod step;
mod work;

pub use work::prepare_build;

use crate::effects::learning::Durations;
use crate::effects::project_locks::ProjectLocks;
use crate::read::metrics::{InternalError, Measured};
use crate::store::own_repositories::OwnRepositories;
use crate::store::results::Results;
use crate::store::working_trees::WorkingTrees;
use clusterrunner_common::child::{ChildError, Children};
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::git::{CommitId, GitOptions, GitUrl};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::config::Timeouts;
use clusterrunner_common::process::sweeper::Sweeper;
use clusterrunner_common::remote_files::RemoteFileRules;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use clusterrunner_core::builds::plan::Plan;
use clusterrunner_core::command::Command;
use error::PreparationError;
use fetch_step::FetchFiles;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use step::StepFiles;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;
use work::{Order, Prepared, SentFor, SentPacks, Surroundings};

/// The first argument of a process that prepares a build, see [`prepare_build`].
pub const PREPARE_BUILD: &str = "prepare-build";

/// What every preparation needs.
#[derive(Clone, Debug)]
pub struct Preparer {
    /// Where mirrors of repositories lie.
    pub mirrors: PathBuf,
    /// Where the master's work trees lie, one for each repository.
    pub work_trees: PathBuf,
    /// The repositories that projects have here.
    pub own: OwnRepositories,
    /// What clients have sent.
    pub sent: WorkingTrees,
    /// How repositories are reached.
    pub git: GitOptions,
    /// What remote files may be.
    pub remote_files: RemoteFileRules,
    /// How much memory git may take.
    pub git_max_memory_bytes: u64,
    /// The processes that do it.
    pub children: Children,
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
    /// Where is kept what atomizers print.
    pub results: Results,
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
                if error.is_atomizers() {
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
                locks = self.lock(request) => Some(locks?),
            },
            false => None,
        };
        let order = Order {
            build,
            request: request.clone(),
            own_repository: match request.project {
                ProjectSource::Own { project, .. } => Some(self.own.directory_of(project)),
                ProjectSource::Git { .. } | ProjectSource::Directory { .. } => None,
            },
            sent: self.sent_for(request).await?,
            fetch: self.fetch_files(build),
            step: self.step_files(build),
            surroundings: self.surroundings(),
        };
        let answered = self.children.run::<Prepared>(&order, stop).await;
        if request.atoms_override.is_none() {
            self.keep_step(build).await;
        }
        // The build does not wait for the end of what an atomizer leaves in the background, but the next build of the project
        // does. Mostly there is nothing, and to look for that takes milliseconds.
        let leaves_nothing = |prepared: &Prepared| prepared.leaves_nothing;
        if !answered.answer.as_ref().is_ok_and(leaves_nothing) {
            self.sweeper.end_later(answered.mark, only_user);
        }
        let prepared = answered.answer.map_err(|error| match error {
            ChildError::Canceled => PreparationError::Canceled,
            error => PreparationError::Child(error),
        })?;
        let mut plan = prepared.planned.map_err(PreparationError::Failed)?;
        let atoms = std::mem::take(&mut plan.atoms);
        (plan.atoms, plan.expected_ms) = self
            .durations
            .expected(request, &plan.job_name, atoms)
            .await;
        Ok(plan)
    }

    /// What was sent for a build of a working tree; nothing for other builds.
    async fn sent_for(&self, request: &BuildRequest) -> Result<Option<SentFor>, PreparationError> {
        let (ProjectSource::Git { url, hash, .. }, Some(_)) =
            (&request.project, &request.working_tree)
        else {
            return Ok(None);
        };
        let repository = GitUrl::parse(url, self.git.allow_local_sources)?.sent_directory_name();
        let commit: Option<CommitId> = hash.as_deref().and_then(|hash| hash.parse().ok());
        let commit = commit.ok_or(PreparationError::NothingSent)?;
        let found = self.sent.find(&repository, &commit).await;
        let sent = found.into_iter().map(|chain| SentPacks {
            bases: chain
                .iter()
                .flat_map(|sent| sent.known.bases.clone())
                .collect(),
            packs: chain.into_iter().map(|sent| sent.pack).collect(),
        });
        let sent: Vec<SentPacks> = sent.collect();
        match sent.is_empty() {
            true => Err(PreparationError::NothingSent),
            false => Ok(Some(SentFor { commit, sent })),
        }
    }

    fn fetch_files(&self, build: BuildId) -> FetchFiles {
        let [output, begun, description] = self.results.fetch_files(build);
        FetchFiles {
            output,
            begun,
            description,
        }
    }

    fn step_files(&self, build: BuildId) -> StepFiles {
        let [output, description] = self.results.atomizers_files(build);
        StepFiles {
            output,
            description,
        }
    }

    /// Keeps what the atomizers have printed. The build goes on without it.
    async fn keep_step(&self, build: BuildId) {
        let results = self.results.clone();
        let kept = tokio::task::spawn_blocking(move || results.keep_atomizers(build)).await;
        let kept = kept.map_err(io::Error::other).and_then(|kept| kept);
        if let Err(error) = kept {
            tracing::warn!(build.id = build.0, %error, "what the atomizers printed is not kept");
        }
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            mirrors: self.mirrors.clone(),
            work_trees: self.work_trees.clone(),
            git: self.git.clone(),
            remote_files: self.remote_files.clone(),
            git_max_memory_bytes: self.git_max_memory_bytes,
            kill_grace: self.kill_grace,
            default_timeouts: self.default_timeouts,
            hostname: self.hostname.clone(),
        }
    }

    /// A build of a working tree also uses what the repository's own builds do, and before that of working trees.
    async fn lock(
        &self,
        request: &BuildRequest,
    ) -> Result<Vec<OwnedMutexGuard<()>>, PreparationError> {
        let mut further = None;
        let directory = match &request.project {
            ProjectSource::Directory { project_directory } => PathBuf::from(project_directory),
            ProjectSource::Git { url, .. } => {
                let url = GitUrl::parse(url, self.git.allow_local_sources)?;
                if request.working_tree.is_some() {
                    further = Some(self.work_trees.join(url.sent_directory_name()));
                }
                self.work_trees.join(url.directory_name())
            }
            ProjectSource::Own { project, .. } => {
                self.work_trees.join(GitUrl::own(*project).directory_name())
            }
        };
        let mut locks = vec![self.projects.lock(&directory).await];
        if let Some(further) = further {
            locks.push(self.projects.lock(&further).await);
        }
        Ok(locks)
    }
}
