//! What can go wrong with a repository, in words for the person who asked for the build.

use std::io;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::limits::MAXIMUM_SUBMODULE_DEPTH;
use super::{CommitId, GitUrlError, PackError, TreeError};

/// Why a repository could not be fetched or checked out.
///
/// Messages say which step failed, for which repository (without credentials), the reason given by the other side, and
/// where it is not plain what can be done.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The repository's URL, or that of the build's `remote`, may not be used.
    #[error(transparent)]
    Url(#[from] GitUrlError),
    /// The caller's token fired.
    #[error("git was canceled")]
    Canceled,
    /// `remote` is neither `origin` nor a URL.
    #[error(
        "remote \"{remote}\" is not known: it must be \"origin\" (the repository's own url) or a repository URL"
    )]
    UnknownRemote {
        /// The remote as it was given.
        remote: String,
    },
    /// The mirror in our own directory can not be used or made.
    #[error("could not {step} the mirror {directory} of {url}: {reason}")]
    Mirror {
        /// What was being done.
        step: &'static str,
        /// The mirror's directory.
        directory: PathBuf,
        /// The repository, without credentials.
        url: String,
        /// Why it failed.
        reason: String,
    },
    /// The repository could not be reached or read.
    #[error("could not fetch from {url}: {reason}")]
    Fetch {
        /// The repository, without credentials.
        url: String,
        /// What the other side or the network said.
        reason: String,
    },
    /// Another mirror did not give it.
    #[error("could not take the commit of {url} from the master: {source}")]
    Pack {
        /// The repository, without credentials.
        url: String,
        /// The cause.
        #[source]
        source: PackError,
    },
    /// There is no commit at all.
    #[error("{url} is empty: it has no branch and no commit yet")]
    EmptyRepository {
        /// The repository, without credentials.
        url: String,
    },
    /// No branch, tag or ref has the name that was asked for.
    #[error("there is no branch or tag \"{branch}\" in {url}; {}", list_branches(.existing, *.total))]
    BranchMissing {
        /// What was asked for.
        branch: String,
        /// The repository, without credentials.
        url: String,
        /// The first branches it has, at most ten.
        existing: Vec<String>,
        /// How many branches it has.
        total: usize,
    },
    /// The branch or tag does not lead to a commit.
    #[error("\"{name}\" in {url} is not a commit: {reason}")]
    NotACommit {
        /// The branch, tag or id.
        name: String,
        /// The repository, without credentials.
        url: String,
        /// Git's reason.
        reason: String,
    },
    /// The text is no commit id and no abbreviation of one.
    #[error("\"{}\" is not a commit id: it must be 4 to 40 hexadecimal digits", .hash.escape_debug())]
    InvalidHash {
        /// The hash as it was given.
        hash: String,
    },
    /// The commit is not in the repository, as far as it may be fetched.
    #[error(
        "there is no commit {hash} in {url}: it was not in its branches and tags and could not be fetched by its id \
         ({reason}); push it to a branch first"
    )]
    CommitMissing {
        /// The id, maybe abbreviated.
        hash: String,
        /// The repository, without credentials.
        url: String,
        /// Why fetching it by its id failed.
        reason: String,
    },
    /// Several objects begin with the abbreviated id.
    #[error("the commit id {hash} is ambiguous in {url}; give more digits")]
    AmbiguousHash {
        /// The hash as it was given.
        hash: String,
        /// The repository, without credentials.
        url: String,
    },
    /// libgit2 could not write the commit into the work tree.
    #[error("could not check out commit {commit} of {url} into {work_tree}: {reason}")]
    CheckOut {
        /// The commit.
        commit: CommitId,
        /// The repository, without credentials.
        url: String,
        /// The directory.
        work_tree: PathBuf,
        /// Git's reason.
        reason: String,
    },
    /// The files of the commit are too many, too large, or have names that must not be used.
    #[error("commit {commit} of {url} is refused: {source}")]
    Tree {
        /// The commit.
        commit: CommitId,
        /// The repository, without credentials.
        url: String,
        /// The cause.
        #[source]
        source: TreeError,
    },
    /// The directory holds files, and they are not a work tree of this mirror.
    #[error(
        "{work_tree} is in the way: it holds files and is no work tree of {url}; remove it or set another directory"
    )]
    ForeignWorkTree {
        /// The directory.
        work_tree: PathBuf,
        /// The repository, without credentials.
        url: String,
    },
    /// A file of the work tree could not be read, written or removed.
    #[error("could not {step} {path}: {source}")]
    WorkTree {
        /// What was being done.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A submodule could not be fetched or checked out.
    #[error("submodule {path}: {source}")]
    Submodule {
        /// Its path in the work tree.
        path: String,
        /// The cause.
        #[source]
        source: Box<GitError>,
    },
    /// `.gitmodules` names something that can not be used.
    #[error("submodule {path} of {url}: {source}")]
    SubmoduleEntry {
        /// Its path in the work tree.
        path: String,
        /// The repository that holds it, without credentials.
        url: String,
        /// What is wrong with the entry.
        source: SubmoduleProblem,
    },
}

/// Why the entry of a submodule can not be used.
#[derive(Debug, thiserror::Error)]
pub enum SubmoduleProblem {
    /// Its path is no path below the work tree.
    #[error("its path leads out of the work tree")]
    LeadsOut,
    /// Submodules in submodules, without an end.
    #[error("submodules are nested more than {MAXIMUM_SUBMODULE_DEPTH} deep")]
    TooDeep,
    /// `.gitmodules` does not name its path.
    #[error("it is not in .gitmodules")]
    Unlisted,
    /// `.gitmodules` names no URL.
    #[error("it has no url in .gitmodules")]
    NoUrl,
    /// Its URL may not be used.
    #[error(transparent)]
    Url(#[from] GitUrlError),
    /// The path of the commit is a file or a directory.
    #[error("it is no submodule")]
    NoSubmodule,
    /// libgit2 could not read the commit.
    #[error("{}", .0.message())]
    Git(#[from] git2::Error),
}

impl GitError {
    /// Why the packs of the repository, or of one of its submodules, did not come, if that is what failed.
    pub fn pack_error(&self) -> Option<&PackError> {
        match self {
            Self::Pack { source, .. } => Some(source),
            Self::Submodule { source, .. } => source.pack_error(),
            _ => None,
        }
    }
}

/// # Errors
/// [`GitError::Canceled`] if the token has fired.
pub(super) fn stop_if(cancel: &CancellationToken) -> Result<(), GitError> {
    if cancel.is_cancelled() {
        Err(GitError::Canceled)
    } else {
        Ok(())
    }
}

/// For `map_err`: which step with which path of a work tree failed.
pub(super) fn in_step(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GitError {
    let path = path.to_owned();
    move |source| GitError::WorkTree { step, path, source }
}

fn list_branches(existing: &[String], total: usize) -> String {
    if existing.is_empty() {
        return "it has no branches".to_owned();
    }
    let names = existing.join(", ");
    match total.saturating_sub(existing.len()) {
        0 => format!("its branches are: {names}"),
        more => format!("its branches are: {names} and {more} more"),
    }
}
