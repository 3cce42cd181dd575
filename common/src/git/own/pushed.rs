//! What pushes need of a project's repository. What is pushed is brought in by git itself.

use super::OwnRepository;
use crate::git::CommitId;
use crate::git::mirror_files::{self, open_here};
use crate::git::own::CodeError;

/// Below it is one ref for each commit whose push is not over.
pub const UNDER_WAY: &str = "refs/pushes";

impl OwnRepository {
    /// Makes the repository where it is not there.
    ///
    /// # Errors
    /// [`CodeError::Repository`].
    pub fn make(&self) -> Result<(), CodeError> {
        if self.directory.exists() {
            return Ok(());
        }
        mirror_files::make_bare(&self.directory, |_| Ok(())).map_err(self.failed("make"))
    }

    /// Whether no branch and no tag is there.
    ///
    /// # Errors
    /// [`CodeError::Repository`].
    pub fn is_empty(&self) -> Result<bool, CodeError> {
        let repository = open_here(&self.directory).map_err(self.git("open"))?;
        let mut refs = repository.references().map_err(self.git("read"))?;
        let is_shown = |name: &str| !name.starts_with(UNDER_WAY);
        Ok(!refs.names().flatten().any(is_shown))
    }

    /// How many branches, tags and other refs there are.
    ///
    /// # Errors
    /// [`CodeError::Repository`].
    pub fn number_of_refs(&self) -> Result<u64, CodeError> {
        let repository = open_here(&self.directory).map_err(self.git("open"))?;
        let mut refs = repository.references().map_err(self.git("read"))?;
        Ok(refs.names().count() as u64)
    }

    /// Makes a branch the one that clones check out, by its whole name (`refs/heads/…`).
    ///
    /// # Errors
    /// [`CodeError::Repository`].
    pub fn show_first(&self, branch: &str) -> Result<(), CodeError> {
        let repository = open_here(&self.directory).map_err(self.git("open"))?;
        let shown = repository.set_head(branch);
        shown.map_err(self.git("write to"))
    }

    /// The push of a commit is over: what was accepted has a branch by now.
    ///
    /// # Errors
    /// [`CodeError::Repository`].
    pub fn end_push(&self, commit: &CommitId) -> Result<(), CodeError> {
        let repository = open_here(&self.directory).map_err(self.git("open"))?;
        let found = repository.find_reference(&push_ref(commit));
        match found.and_then(|mut found| found.delete()) {
            Err(error) if error.code() != git2::ErrorCode::NotFound => {
                Err(self.git("write to")(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The ref of a commit whose push is not over.
#[must_use]
pub fn push_ref(commit: &CommitId) -> String {
    format!("{UNDER_WAY}/{commit}")
}
