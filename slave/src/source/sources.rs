//! Fetching a build's project, from wherever its order says.

use super::error::SourceError;
use super::fetching::{Fetching, Order, Wanted};
use super::master_source::MasterSource;
use super::mirrors::Mirrors;
use crate::data_directory::{DataDirectory, make_private, remove_all};
use crate::master::api::MasterApi;
use crate::master::registration::Registration;
use crate::master::retrying::Backoff;
use crate::work::SetupOrder;
use clusterrunner_common::git::{CommitId, GitOptions, GitUrl, PackError, Revision};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::remote_files::{RemoteFileRules, fetch_remote_files};
use clusterrunner_common::work::{ProjectSource, Repository};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Fetches projects.
#[derive(Debug)]
pub(crate) struct Sources {
    hostname: String,
    git: GitOptions,
    remote_files: RemoteFileRules,
    fetching: Fetching,
    /// Gives projects, if it says so.
    master: (MasterApi, Registration),
    pub(crate) mirrors: Mirrors,
}

impl Sources {
    pub(crate) fn new(
        hostname: String,
        git: GitOptions,
        remote_files: RemoteFileRules,
        fetching: Fetching,
        master: (MasterApi, Registration),
    ) -> Self {
        Self {
            hostname,
            git,
            remote_files,
            fetching,
            master,
            mirrors: Mirrors::default(),
        }
    }

    /// Brings a build's project here, remote files and all; returns `$PROJECT_DIR`.
    pub(crate) async fn fetch(
        &self,
        data: &DataDirectory,
        order: &SetupOrder,
        stop: &CancellationToken,
    ) -> Result<PathBuf, SourceError> {
        let project = match &order.source {
            ProjectSource::Directory { project_directory } => {
                self.in_place(project_directory).await?
            }
            ProjectSource::Git {
                url,
                remote,
                branch,
                project_directory,
                ..
            } => {
                // A master of the original names a branch only, mostly one that it made for this.
                let commit: Option<CommitId> =
                    order.commit.as_deref().map(str::parse).transpose()?;
                let revision = Revision {
                    remote: remote.clone(),
                    branch: branch.clone(),
                    hash: commit.as_ref().map(CommitId::to_string),
                };
                let commit = match commit {
                    Some(commit) if order.source_from_master => {
                        self.take_or_fetch(data, order.build, url, commit, revision, stop)
                            .await?
                    }
                    _ => {
                        self.fetch_from_repository(data, order.build, url, revision, stop)
                            .await?
                    }
                };
                let url = GitUrl::parse(url, true)?;
                let work_tree = data.work_tree(order.build);
                inside(work_tree, project_directory.as_deref(), &url, commit).await?
            }
            ProjectSource::Own { commit: None, .. } => empty(data.work_tree(order.build)).await?,
            ProjectSource::Own {
                project,
                commit: Some(commit),
            } => {
                // Nobody else has it.
                let own = Repository::Own(*project);
                let taken = self
                    .take_from_master(data, order.build, own, commit.parse()?, stop)
                    .await?;
                taken.map_err(SourceError::OnlyMaster)?;
                data.work_tree(order.build)
            }
        };
        let files = fetch_remote_files(&order.remote_files, &project, &self.remote_files);
        tokio::select! {
            fetched = files => fetched?,
            () = stop.cancelled() => return Err(SourceError::Canceled),
        }
        Ok(project)
    }

    async fn in_place(&self, directory: &str) -> Result<PathBuf, SourceError> {
        let directory = PathBuf::from(directory);
        if is_directory(&directory).await {
            return Ok(directory);
        }
        Err(SourceError::NoDirectory {
            directory,
            hostname: self.hostname.clone(),
        })
    }

    async fn fetch_from_repository(
        &self,
        data: &DataDirectory,
        build: BuildId,
        url: &str,
        revision: Revision,
        stop: &CancellationToken,
    ) -> Result<CommitId, SourceError> {
        let name = GitUrl::parse(url, self.git.allow_local_sources)?;
        let shared = self.mirrors.of(data, build, &name, &self.git);
        let order = Order {
            repository: Repository::Url(url.to_owned()),
            git: self.git.clone(),
            work_tree: data.work_tree(build),
            wanted: Wanted::Fetched(revision),
        };
        self.fetching.bring(shared, order, None, stop).await
    }

    /// Takes the commit from the master; what the master can not give is fetched from the repository.
    async fn take_or_fetch(
        &self,
        data: &DataDirectory,
        build: BuildId,
        url: &str,
        commit: CommitId,
        revision: Revision,
        stop: &CancellationToken,
    ) -> Result<CommitId, SourceError> {
        let repository = Repository::Url(url.to_owned());
        let taken = self.take_from_master(data, build, repository, commit, stop);
        let refusal = match taken.await? {
            Ok(commit) => return Ok(commit),
            Err(refusal) => refusal,
        };
        let shown = GitUrl::parse(url, true)?;
        tracing::warn!(
            build.id = %build, url = %shown, refusal,
            "the master can not give a project; fetching it from its repository"
        );
        self.fetch_from_repository(data, build, url, revision, stop)
            .await
            .map_err(|source| SourceError::NotGiven {
                refusal,
                source: Box::new(source),
            })
    }

    /// Takes the commit from the master, however long that is away; the inner error says why the master does not give
    /// it.
    async fn take_from_master(
        &self,
        data: &DataDirectory,
        build: BuildId,
        repository: Repository,
        commit: CommitId,
        stop: &CancellationToken,
    ) -> Result<Result<CommitId, String>, SourceError> {
        // A name only: nothing is read there.
        let name = repository.url(true)?;
        let names_only = GitOptions {
            allow_local_sources: true,
            ..self.git.clone()
        };
        let (api, registration) = self.master.clone();
        let master = Arc::new(MasterSource::new(api, registration, build, stop.clone()));
        let mut backoff = Backoff::quick();
        loop {
            let shared = self.mirrors.of(data, build, &name, &self.git);
            let order = Order {
                repository: repository.clone(),
                git: names_only.clone(),
                work_tree: data.work_tree(build),
                wanted: Wanted::Taken(commit.clone()),
            };
            let packs = Some(Arc::clone(&master) as _);
            let error = match self.fetching.bring(shared, order, packs, stop).await {
                Ok(commit) => return Ok(Ok(commit)),
                Err(SourceError::Git(error)) => error,
                Err(other) => return Err(other),
            };
            match error.pack_error() {
                Some(PackError::Interrupted(_)) if !master.is_exhausted() => {
                    tracing::warn!(build.id = %build, %error, "asking the master again for a project");
                    tokio::select! {
                        () = backoff.pause() => {}
                        () = stop.cancelled() => return Err(SourceError::Canceled),
                    }
                }
                Some(refusal) => return Ok(Err(refusal.to_string())),
                None => return Err(error.into()),
            }
        }
    }
}

/// The workspace of a project without any code.
async fn empty(work_tree: PathBuf) -> Result<PathBuf, SourceError> {
    let made = tokio::task::spawn_blocking(move || {
        remove_all(&work_tree)?;
        make_private(&work_tree)?;
        io::Result::Ok(work_tree)
    });
    let made = made.await.map_err(io::Error::other);
    made.and_then(|made| made).map_err(SourceError::Workspace)
}

async fn is_directory(path: &Path) -> bool {
    tokio::fs::metadata(path)
        .await
        .is_ok_and(|found| found.is_dir())
}

async fn inside(
    work_tree: PathBuf,
    directory: Option<&str>,
    url: &GitUrl,
    commit: CommitId,
) -> Result<PathBuf, SourceError> {
    let Some(directory) = directory else {
        return Ok(work_tree);
    };
    let path = work_tree.join(directory);
    if is_directory(&path).await {
        return Ok(path);
    }
    Err(SourceError::NoDirectoryInside {
        directory: directory.to_owned(),
        url: url.to_string(),
        commit,
    })
}
