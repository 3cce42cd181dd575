//! Where a build's project comes from: a repository's mirror, or a directory of this machine.

use crate::data_directory::DataDirectory;
use crate::work::SetupOrder;
use clusterrunner_common::build_request::ProjectSource;
use clusterrunner_common::ids::BuildId;
use std::path::PathBuf;
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
    #[error("git is not supported yet")]
    Git,
}

/// Fetches projects.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) hostname: String,
}

impl Sources {
    /// Brings a build's project here; returns `$PROJECT_DIR`.
    pub(crate) async fn fetch(
        &self,
        _data: &DataDirectory,
        order: &SetupOrder,
        _stop: &CancellationToken,
    ) -> Result<PathBuf, SourceError> {
        let directory = match &order.source {
            ProjectSource::Directory { project_directory } => PathBuf::from(project_directory),
            ProjectSource::Git { .. } => return Err(SourceError::Git),
        };
        if !tokio::fs::metadata(&directory)
            .await
            .is_ok_and(|found| found.is_dir())
        {
            return Err(SourceError::NoDirectory {
                directory,
                hostname: self.hostname.clone(),
            });
        }
        Ok(directory)
    }

    /// Removes what a git build was checked out to.
    pub(crate) async fn remove_work_tree(&self, _data: &DataDirectory, _build: BuildId) {}
}
