//! What a child does with the code of projects: unpacks an archive into a repository, or packs a commit.

use clusterrunner_common::child::{self, Inside, MemoryLimit};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::git::{
    ArchiveError, CodeError, CommitId, GitLimits, NewCommit, OwnRepository,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::ExitCode;

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Make an archive the next commit.
    Commit {
        repository: PathBuf,
        archive: PathBuf,
        parent: Option<CommitId>,
        author: String,
        at: Timestamp,
        limits: GitLimits,
        max_memory_bytes: u64,
    },
    /// Write the files of a commit into a file that is there.
    Pack {
        repository: PathBuf,
        commit: CommitId,
        output: PathBuf,
        max_memory_bytes: u64,
    },
}

/// What was done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Done {
    Committed(CommitId),
    Packed,
}

/// Why it was not done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    Refused(String),
    TooLarge(String),
    Failed(String),
}

impl From<CodeError> for Failure {
    fn from(error: CodeError) -> Self {
        match error {
            CodeError::Archive(error @ ArchiveError::TooLarge(_)) => {
                Self::TooLarge(error.to_string())
            }
            CodeError::Archive(error) => Self::Refused(error.to_string()),
            CodeError::Canceled | CodeError::Repository { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Is a process that unpacks or packs code, as its parent says. To be called from `main`, before anything else.
#[must_use]
pub fn keep_code() -> ExitCode {
    child::serve(|order: Order, inside| async move {
        let done = tokio::task::spawn_blocking(move || carry_out(order, &inside)).await;
        done.unwrap_or_else(|error| Err(Failure::Failed(error.to_string())))
    })
}

fn carry_out(order: Order, inside: &Inside) -> Result<Done, Failure> {
    match order {
        Order::Commit {
            repository,
            archive,
            parent,
            author,
            at,
            limits,
            max_memory_bytes,
        } => {
            let _memory = MemoryLimit::set(max_memory_bytes);
            let archive = regular_file::open_itself(&archive)?;
            let new = NewCommit {
                parent: parent.as_ref(),
                author: &author,
                at,
                limits,
            };
            let repository = OwnRepository::at(repository);
            Ok(Done::Committed(repository.commit(
                archive,
                &new,
                &inside.stop,
            )?))
        }
        Order::Pack {
            repository,
            commit,
            output,
            max_memory_bytes,
        } => {
            let _memory = MemoryLimit::set(max_memory_bytes);
            let output = BufWriter::new(File::options().write(true).open(output)?);
            OwnRepository::at(repository).pack(&commit, output, &inside.stop)?;
            Ok(Done::Packed)
        }
    }
}
