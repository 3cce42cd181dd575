//! Why a build can not be prepared.

use super::output::{MAX_OUTPUT, Printed};
use clusterrunner_common::child::ChildError;
use clusterrunner_common::git::{GitError, GitUrlError};
use clusterrunner_common::job::config::TooLarge;
use clusterrunner_common::job::file::JobFileError;
use clusterrunner_common::process::command::CommandError;
use clusterrunner_common::remote_files::RemoteFileError;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Why a build can not be prepared; the text becomes its `error_message`. The beginnings of the
/// job's own errors are the original's words.
#[derive(Debug, thiserror::Error)]
pub(super) enum PreparationError {
    #[error("canceled")]
    Canceled,
    #[error(transparent)]
    Url(#[from] GitUrlError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(
        "Could not find the directory \"{}\" on {hostname}. Note that a project of type \"directory\" must be at the \
         same path on every machine of the farm.",
        .directory.display()
    )]
    NoDirectory {
        directory: PathBuf,
        hostname: String,
    },
    #[error(
        "The working tree of this build is not on the master any more: have `clusterrunner build` send it again."
    )]
    NothingSent,
    #[error(
        "{0}. The working tree was sent on top of that commit: build again after `git fetch`, or have all files sent by \
         `clusterrunner build --whole`."
    )]
    NoBase(#[source] GitError),
    #[error("The repository has no directory \"{0}\" (project_directory) at this commit.")]
    NoProjectDirectory(String),
    #[error(transparent)]
    RemoteFile(#[from] RemoteFileError),
    #[error(transparent)]
    Job(#[from] JobFileError),
    #[error(
        "The build brings the variable {0} along (`env`), and its job asks for a secret of this name. Start it without \
         that variable."
    )]
    SecretBrought(String),
    #[error(transparent)]
    Shell(#[from] CommandError),
    #[error("Atomizer command failed! \"{command}\" {how}.{printed}")]
    Atomizer {
        command: String,
        how: String,
        printed: Printed,
    },
    #[error(
        "Atomizer command failed! \"{command}\" printed more than {} MiB. Have it print the values only, one in \
         a line.",
        MAX_OUTPUT >> 20
    )]
    Flood { command: String },
    #[error(
        "The product of atomizers is too large: {} make {} atoms of {} MiB together, more than {} MiB. Have the \
         atomizers print fewer values.",
        factors(.0),
        .0.atoms,
        .0.bytes >> 20,
        MAX_OUTPUT >> 20
    )]
    LargeProduct(TooLarge),
    #[error("Could not keep an atomizer's output: {0}.")]
    Output(#[source] std::io::Error),
    #[error("{0}")]
    Interrupted(String),
    #[error("The build could not be prepared: {0}.")]
    Child(#[source] ChildError),
    /// Said by the process that prepared it.
    #[error("{}", .0.reason)]
    Failed(Failure),
}

impl PreparationError {
    /// Whether an atomizer failed.
    pub(super) fn is_atomizers(&self) -> bool {
        match self {
            Self::Atomizer { .. } | Self::Flood { .. } | Self::LargeProduct(_) => true,
            Self::Failed(failure) => failure.is_atomizers,
            Self::Canceled
            | Self::Url(_)
            | Self::Git(_)
            | Self::NoDirectory { .. }
            | Self::NothingSent
            | Self::NoBase(_)
            | Self::NoProjectDirectory(_)
            | Self::RemoteFile(_)
            | Self::Job(_)
            | Self::SecretBrought(_)
            | Self::Shell(_)
            | Self::Output(_)
            | Self::Interrupted(_)
            | Self::Child(_) => false,
        }
    }
}

/// `A (2 values) and B (3 values)`.
fn factors(product: &TooLarge) -> String {
    let factors = product.factors.iter();
    let factors: Vec<String> = factors
        .map(|(name, values)| format!("{name} ({values} values)"))
        .collect();
    factors.join(" and ")
}

/// The same for the master, from the process that prepares a build.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    /// For the user.
    pub(super) reason: String,
    /// Whether an atomizer is to blame.
    pub(super) is_atomizers: bool,
}
