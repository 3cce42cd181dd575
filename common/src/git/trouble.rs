//! What goes wrong with the files of a repository of this machine. [`super::GitError`] says which repository it was.

use std::io;
use std::path::{Path, PathBuf};

use git2::Oid;

use super::TreeError;

#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{}", .0.message())]
    Git(#[from] git2::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is a pipe or a device, not a file", .0.display())]
    NoFile(PathBuf),
    #[error("there is no such directory")]
    NoDirectory,
    #[error("this directory is not a git repository")]
    NoRepository,
    #[error("it has no parent directory or no name")]
    NoName,
    #[error("{} is not an index that can be read", .0.display())]
    NoIndex(PathBuf),
    #[error("the merged pack is missing")]
    NoMergedPack,
    #[error("commit {commit} is not there: {}", .source.message())]
    NoCommit { commit: String, source: git2::Error },
    #[error("commit {commit} is refused: {source}")]
    Refused { commit: Oid, source: TreeError },
}

impl Trouble {
    /// For `map_err`.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::File { path, source }
    }
}
