//! Git's part of a set-up, in a child process: a repository is a stranger's, and what it does to the process that
//! unpacks it must not end a slave that runs atoms of others.

use super::error::{GitFailure, SourceError};
use super::mirrors::SharedMirror;
use clusterrunner_common::child::{self, ChildError, Children, Inside, MemoryLimit};
use clusterrunner_common::disk::kept_projects::touch;
use clusterrunner_common::git::{CommitId, GitError, GitOptions, Mirror, PackSource, Revision};
use clusterrunner_common::work::Repository;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What is to be brought, and to where.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) repository: Repository,
    pub(super) git: GitOptions,
    pub(super) work_tree: PathBuf,
    pub(super) wanted: Wanted,
}

/// Which commit, and where it is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Wanted {
    /// From the repository.
    Fetched(Revision),
    /// From the master.
    Taken(CommitId),
}

/// An order as the child gets it.
#[derive(Debug, Serialize, Deserialize)]
struct ChildOrder {
    mirror: PathBuf,
    max_memory_bytes: u64,
    order: Order,
}

/// How git is run.
#[derive(Clone, Debug)]
pub(crate) struct Fetching {
    pub(crate) children: Children,
    /// How much memory it may take.
    pub(crate) max_memory_bytes: u64,
}

impl Fetching {
    /// Does something with a mirror as its only user, and ends soon after `stop`.
    pub(super) async fn bring(
        &self,
        shared: SharedMirror,
        order: Order,
        packs: Option<Arc<dyn PackSource + Send + Sync>>,
        stop: &CancellationToken,
    ) -> Result<CommitId, SourceError> {
        let url = order.repository.url(order.git.allow_local_sources)?;
        let mut mirror = tokio::select! {
            mirror = shared.lock_owned() => mirror,
            () = stop.cancelled() => return Err(SourceError::Canceled),
        };
        // The last build's way to the repository may have been another one.
        *mirror = Mirror::new(mirror.directory().to_owned(), url, order.git.clone());
        let order = ChildOrder {
            mirror: mirror.directory().to_owned(),
            max_memory_bytes: self.max_memory_bytes,
            order,
        };
        let answered = self.children.run_with(&order, packs, stop).await;
        // Unused for longer it only seems, and is fetched again.
        touch(mirror.directory()).ok();
        let brought: Result<CommitId, GitFailure> =
            answered.answer.map_err(|error| match error {
                ChildError::Canceled => SourceError::Canceled,
                error => SourceError::Child(error),
            })?;
        brought.map_err(SourceError::Git)
    }
}

/// Is a process that brings one project, as its parent says. To be called from `main`, before anything else.
#[must_use]
pub(crate) fn fetch_project() -> ExitCode {
    child::serve(|order: ChildOrder, inside| async move {
        let brought = tokio::task::spawn_blocking(move || bring(order, &inside)).await;
        brought.unwrap_or_else(|error| Err(GitFailure::broken_off(&error)))
    })
}

fn bring(order: ChildOrder, inside: &Inside) -> Result<CommitId, GitFailure> {
    let _memory = MemoryLimit::set(order.max_memory_bytes);
    let ChildOrder { mirror, order, .. } = order;
    let allow_local_sources = order.git.allow_local_sources;
    let url = order.repository.url(allow_local_sources);
    let url = url.map_err(GitError::from)?;
    let mirror = Mirror::new(mirror, url, order.git);
    let (work_tree, stop) = (&order.work_tree, &inside.stop);
    match order.wanted {
        Wanted::Fetched(revision) => {
            let commit = mirror.fetch(&revision, stop)?;
            mirror.check_out(&commit, work_tree, stop)?;
            Ok(commit)
        }
        Wanted::Taken(commit) => {
            let packs = inside.packs();
            mirror.take_commit(&commit, &packs, stop)?;
            mirror.check_out_with(&commit, work_tree, &packs, stop)?;
            Ok(commit)
        }
    }
}
