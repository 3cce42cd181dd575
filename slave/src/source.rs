//! Where a build's project comes from: a repository's mirror, or a directory of this machine.

use crate::data_directory::{DataDirectory, remove_all};
use crate::work::SetupOrder;
use clusterrunner_common::build_request::ProjectSource;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::git::{
    CommitId, GitError, GitOptions, GitUrl, GitUrlError, InvalidCommitId, Mirror, Revision,
};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::kept_projects::{bound, find, remove_unnamed, touch, unname};
use clusterrunner_common::remote_files::{RemoteFileError, fetch_remote_files_within};
use clusterrunner_common::retention::ProjectBounds;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// Why a project is not here. The text reaches the user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error(
        "Could not find the directory \"{}\" on {hostname}. Note that a project of type \"directory\" must exist at the same path on every machine.",
        .directory.display()
    )]
    NoDirectory {
        directory: PathBuf,
        hostname: String,
    },
    #[error("there is no directory \"{directory}\" in {url} at commit {commit}")]
    NoDirectoryInside {
        directory: String,
        url: String,
        commit: CommitId,
    },
    #[error(transparent)]
    Url(#[from] GitUrlError),
    #[error(transparent)]
    Commit(#[from] InvalidCommitId),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    RemoteFile(#[from] RemoteFileError),
    #[error("a step of fetching the project broke off: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
    #[error("the set-up was canceled")]
    Canceled,
}

/// Fetches projects.
#[derive(Debug)]
pub(crate) struct Sources {
    hostname: String,
    git: GitOptions,
    /// By their directories; few, as a slave sees few repositories.
    mirrors: Mutex<HashMap<PathBuf, SharedMirror>>,
    /// The mirrors of the work trees that there are.
    work_trees: Mutex<HashMap<BuildId, SharedMirror>>,
}

/// A mirror takes one user at a time.
type SharedMirror = Arc<AsyncMutex<Mirror>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sources {
    pub(crate) fn new(hostname: String, git: GitOptions) -> Self {
        Self {
            hostname,
            git,
            mirrors: Mutex::default(),
            work_trees: Mutex::default(),
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
                let url = GitUrl::parse(url, self.git.allow_local_sources)?;
                let work_tree = data.work_tree(order.build);
                let mirror = self.mirror(data, &url);
                lock(&self.work_trees).insert(order.build, Arc::clone(&mirror));
                let revision = Revision {
                    remote: remote.clone(),
                    branch: branch.clone(),
                    hash: commit.map(|commit| commit.to_string()),
                };
                let commit = check_out(mirror, revision, work_tree.clone(), stop).await?;
                inside(work_tree, project_directory.as_deref(), &url, commit).await?
            }
        };
        let files = fetch_remote_files_within(
            &order.remote_files,
            &project,
            self.git.allow_local_sources,
            self.git.idle_timeout,
        );
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

    fn mirror(&self, data: &DataDirectory, url: &GitUrl) -> SharedMirror {
        let directory = data.mirrors().join(url.directory_name());
        let mut mirrors = lock(&self.mirrors);
        let mirror = mirrors.entry(directory).or_insert_with_key(|directory| {
            let mirror = Mirror::new(directory.clone(), url.clone(), self.git.clone());
            Arc::new(AsyncMutex::new(mirror))
        });
        Arc::clone(mirror)
    }

    /// Removes mirrors that are beyond the bounds and that no build uses. Blocks.
    pub(crate) fn remove_surplus(
        &self,
        data: &DataDirectory,
        bounds: &ProjectBounds,
    ) -> io::Result<()> {
        let parents = [data.mirrors()];
        remove_unnamed(&parents)?;
        let found = find(&parents, bounds.max_bytes.is_some())?;
        bound(&found, bounds, Timestamp::now(), |project| {
            // Nobody gets a mirror as long as this is locked.
            let mut mirrors = lock(&self.mirrors);
            let directory = data.mirrors().join(&project.name);
            let users = mirrors
                .get(&directory)
                .map_or(0, |m| Arc::strong_count(m) - 1);
            if users > 0 {
                return false;
            }
            let name = project.name.to_string_lossy();
            if let Err(error) = unname(&parents, &project.name) {
                tracing::warn!(project = %name, %error, "could not remove a mirror");
                return false;
            }
            mirrors.remove(&directory);
            tracing::info!(project = %name, bytes = project.bytes, "a mirror that nobody uses is removed");
            true
        });
        remove_unnamed(&parents)
    }

    /// Removes what a git build was checked out to; nothing where there is nothing.
    pub(crate) async fn remove_work_tree(&self, data: &DataDirectory, build: BuildId) {
        let Some(mirror) = lock(&self.work_trees).remove(&build) else {
            return;
        };
        let mirror = mirror.lock_owned().await;
        let path = data.work_tree(build);
        let removed = spawn_blocking(move || {
            if let Err(error) = mirror.remove_work_tree(&path) {
                tracing::debug!(build.id = %build, %error, "git could not remove a work tree");
                // What is no work tree yet, or not any more, is in the way all the same.
                remove_all(&path)?;
            }
            note_use(&mirror);
            io::Result::Ok(())
        });
        if let Err(error) = removed
            .await
            .map_err(io::Error::other)
            .and_then(|done| done)
        {
            tracing::warn!(build.id = %build, %error, "could not remove a work tree");
        }
    }
}

/// A mirror whose use can not be noted only seems unused for longer, and is fetched again.
fn note_use(mirror: &Mirror) {
    touch(mirror.directory()).ok();
}

async fn is_directory(path: &Path) -> bool {
    tokio::fs::metadata(path)
        .await
        .is_ok_and(|found| found.is_dir())
}

async fn check_out(
    mirror: SharedMirror,
    revision: Revision,
    work_tree: PathBuf,
    stop: &CancellationToken,
) -> Result<CommitId, SourceError> {
    let mirror = tokio::select! {
        mirror = mirror.lock_owned() => mirror,
        () = stop.cancelled() => return Err(SourceError::Canceled),
    };
    let stop = stop.clone();
    // Ends soon after `stop` by itself, and keeps the mirror locked until then.
    let checked_out = spawn_blocking(move || {
        let commit = mirror.fetch(&revision, &stop)?;
        mirror.check_out(&commit, &work_tree, &stop)?;
        note_use(&mirror);
        Ok::<_, GitError>(commit)
    });
    Ok(checked_out.await??)
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

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::SessionId;

    #[test]
    fn only_mirrors_that_no_build_uses_go() {
        let base = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(base.path(), 1, SessionId("s".to_owned())).unwrap();
        let sources = Sources::new("here".to_owned(), GitOptions::default());
        let mirrors = ["used", "known", "unknown"].map(|name| {
            let url = GitUrl::parse(&format!("https://example.org/{name}"), false).unwrap();
            std::fs::create_dir_all(data.mirrors().join(url.directory_name())).unwrap();
            url
        });
        let used = sources.mirror(&data, &mirrors[0]);
        drop(sources.mirror(&data, &mirrors[1]));
        let bounds = ProjectBounds {
            max_age: Some(std::time::Duration::ZERO),
            max_bytes: None,
        };
        let left = || {
            sources.remove_surplus(&data, &bounds).unwrap();
            let is_left = |url: &GitUrl| data.mirrors().join(url.directory_name()).exists();
            mirrors.each_ref().map(is_left)
        };
        assert_eq!(left(), [true, false, false]);
        lock(&sources.work_trees).insert(BuildId(1), used);
        assert_eq!(left(), [true, false, false]);
        lock(&sources.work_trees).clear();
        assert_eq!(left(), [false; 3]);
        assert_eq!(std::fs::read_dir(data.mirrors()).unwrap().count(), 0);
    }
}
