//! Why a project could not be brought here.

use clusterrunner_common::child::ChildError;
use clusterrunner_common::git::{CommitId, GitError, GitUrlError, InvalidCommitId, PackError};
use clusterrunner_common::remote_files::RemoteFileError;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

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
    Git(#[from] GitFailure),
    #[error("the project could not be fetched: {0}")]
    Child(#[source] ChildError),
    #[error(
        "the master did not give the commit ({refusal}), and this slave could not fetch it for itself: {source}"
    )]
    NotGiven {
        refusal: String,
        #[source]
        source: Box<SourceError>,
    },
    #[error("the master did not give the project's code: {0}")]
    OnlyMaster(String),
    #[error("could not make the workspace: {0}")]
    Workspace(#[source] io::Error),
    #[error(transparent)]
    RemoteFile(#[from] RemoteFileError),
    #[error("the set-up was canceled")]
    Canceled,
}

/// Why git could not bring it; the text reaches the user.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{text}")]
pub(crate) struct GitFailure {
    text: String,
    /// The master's packs did not come: whether it refuses them, and why.
    packs: Option<(bool, String)>,
}

impl GitFailure {
    /// A part of the slave ended for an unforeseen reason.
    pub(super) fn broken_off(error: &tokio::task::JoinError) -> Self {
        Self {
            text: format!("fetching the project broke off: {error}"),
            packs: None,
        }
    }

    /// Why the packs did not come, if that is what failed.
    pub(super) fn pack_error(&self) -> Option<PackError> {
        let (is_refused, text) = self.packs.clone()?;
        Some(match is_refused {
            true => PackError::Refused(text),
            false => PackError::Interrupted(text),
        })
    }
}

impl From<GitError> for GitFailure {
    fn from(error: GitError) -> Self {
        let packs = error.pack_error().map(|error| match error {
            PackError::Refused(text) => (true, text.clone()),
            PackError::Interrupted(text) => (false, text.clone()),
        });
        Self {
            text: error.to_string(),
            packs,
        }
    }
}
