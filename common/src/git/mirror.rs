//! A bare mirror of one repository: fetching into it, and settling which commit a build is about.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{ErrorCode, Oid, Repository};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::commit_id::COMMIT_ID_LENGTH;
use super::conversation::Wanted;
use super::mirror_files::{self, PINS};
use super::remote_refs::{Advertised, RemoteRef};
use super::{CommitId, GitError, GitOptions, GitUrl, tracking_refs};

/// Git takes no shorter abbreviation either.
const SHORTEST_HASH: usize = 4;

/// A bare mirror of one repository, in a directory that nothing else uses.
///
/// The directory is made when first needed and private to the user (mode 0700). Whatever happens to the process, what
/// is there is usable or made anew. It has **one user at a time**: callers see to it that no two calls for the same
/// directory run at once, in this or another process. Work trees made from it may be in use meanwhile.
#[derive(Debug, Clone)]
pub struct Mirror {
    directory: PathBuf,
    url: GitUrl,
    options: Arc<GitOptions>,
}

/// What to build, as a build request says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// `origin` or nothing for the repository itself, or the URL of a fork of it.
    pub remote: Option<String>,
    /// A branch, tag, full ref name or full commit id. Nothing means `master`, or where there is none, what the
    /// repository itself calls its default.
    pub branch: Option<String>,
    /// A commit, in full or abbreviated. It wins over the branch, which then only says where to look first.
    pub hash: Option<String>,
}

impl Mirror {
    /// Describes a mirror of `url` at `directory`; touches nothing yet.
    pub fn new(directory: PathBuf, url: GitUrl, options: GitOptions) -> Self {
        Self::with_shared_options(directory, url, Arc::new(options))
    }

    pub(super) fn with_shared_options(
        directory: PathBuf,
        url: GitUrl,
        options: Arc<GitOptions>,
    ) -> Self {
        // A work tree names its mirror by an absolute path. This fails only for an empty path.
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        Self {
            directory,
            url,
            options,
        }
    }

    /// Where the mirror lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What it mirrors.
    pub fn url(&self) -> &GitUrl {
        &self.url
    }

    pub(super) fn options(&self) -> &Arc<GitOptions> {
        &self.options
    }

    /// Brings the mirror up to date as far as `revision` needs it, and settles the one commit it means. The commit
    /// stays in the mirror, also when its branch moves away from it (ref `refs/clusterrunner/<commit>`).
    ///
    /// A full `hash` that was fetched before needs no network.
    ///
    /// # Errors
    /// [`GitError`], fit to be shown to the user who asked for the build.
    pub fn fetch(
        &self,
        revision: &Revision,
        cancel: &CancellationToken,
    ) -> Result<CommitId, GitError> {
        let fork = self.fork(revision.remote.as_deref())?;
        let url = fork.as_ref().unwrap_or(&self.url);
        let branch = revision
            .branch
            .as_deref()
            .filter(|branch| !branch.is_empty());
        let hash = revision.hash.as_deref().filter(|hash| !hash.is_empty());
        let repository = self.open()?;
        if let Some(hash) = hash {
            return self.fetch_hash(&repository, url, hash, branch, cancel);
        }
        let (oid, name) = self.converse(&repository, url, cancel, |advertised| match branch {
            None => match advertised.default_ref() {
                Some(found) => Ok(Wanted::One(found.clone())),
                None => Err(self.branch_missing("master", url, advertised)),
            },
            Some(branch) => match (advertised.find(branch), Oid::from_str(branch)) {
                (Some(found), _) => Ok(Wanted::One(found.clone())),
                (None, Ok(oid)) if branch.len() == COMMIT_ID_LENGTH => Ok(Wanted::Id(oid)),
                (None, _) => Err(self.branch_missing(branch, url, advertised)),
            },
        })?;
        self.pin(&repository, url, oid, &name)
    }

    /// Makes sure that `commit` is in the mirror. Needs no network if it is; otherwise looks in `branch`, then in
    /// everything, then asks for the commit itself.
    ///
    /// # Errors
    /// [`GitError::CommitMissing`] if none of that brings it, or why the repository could not be reached.
    pub fn fetch_commit(
        &self,
        commit: &CommitId,
        branch: Option<&str>,
        cancel: &CancellationToken,
    ) -> Result<(), GitError> {
        let branch = branch.filter(|branch| !branch.is_empty());
        let repository = self.open()?;
        self.fetch_hash(&repository, &self.url, commit.as_str(), branch, cancel)?;
        Ok(())
    }

    /// Whether a commit that is here is on a branch or a tag that the repository itself has now. It is asked each time: the
    /// mirror also has commits of forks and branches that were removed there, and forges give commits of forks as the
    /// repository's own.
    ///
    /// # Errors
    /// [`GitError`], where the repository can not be reached.
    pub fn is_on_a_branch(
        &self,
        commit: &CommitId,
        cancel: &CancellationToken,
    ) -> Result<bool, GitError> {
        let repository = self.open()?;
        let looked = |error: git2::Error| self.error("look into", error.message());
        let oid = Oid::from_str(commit.as_str()).map_err(looked)?;
        let asked = self.converse(&repository, &self.url, cancel, |advertised| {
            let is_its_tip = |found: &&RemoteRef| found.oid == oid && found.local_name().is_some();
            // Then nothing else is to be brought.
            Ok(match advertised.refs.iter().find(is_its_tip) {
                Some(found) => Wanted::One(found.clone()),
                None => Wanted::Everything,
            })
        });
        match asked {
            Ok(_) => tracking_refs::lead_to(&repository, oid).map_err(looked),
            // It has no branch any more.
            Err(GitError::EmptyRepository { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn fork(&self, remote: Option<&str>) -> Result<Option<GitUrl>, GitError> {
        match remote {
            None | Some("" | "origin") => Ok(None),
            Some(name) if !name.contains(['/', ':']) => Err(GitError::UnknownRemote {
                remote: name.to_owned(),
            }),
            Some(url) => Ok(Some(GitUrl::parse(url, self.options.allow_local_sources)?)),
        }
    }

    fn fetch_hash(
        &self,
        repository: &Repository,
        url: &GitUrl,
        hash: &str,
        branch: Option<&str>,
        cancel: &CancellationToken,
    ) -> Result<CommitId, GitError> {
        let is_hash = (SHORTEST_HASH..=COMMIT_ID_LENGTH).contains(&hash.len())
            && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash {
            return Err(GitError::InvalidHash {
                hash: hash.to_owned(),
            });
        }
        let full = if hash.len() == COMMIT_ID_LENGTH {
            Oid::from_str(hash).ok()
        } else {
            None
        };
        if let Some(oid) = full
            && self.has(repository, oid)
        {
            return self.pin(repository, url, oid, hash);
        }
        if branch.is_some() && full.is_some() {
            // Where the commit probably is. If there is no such branch (any more), the search goes on.
            let found = self.converse(repository, url, cancel, |advertised| {
                match branch.and_then(|b| advertised.find(b)) {
                    Some(found) => Ok(Wanted::One(found.clone())),
                    None => Ok(Wanted::Everything),
                }
            });
            match found {
                Ok(_) | Err(GitError::EmptyRepository { .. }) => {}
                Err(error) => return Err(error),
            }
            if let Some(oid) = full.filter(|oid| repository.find_commit(*oid).is_ok()) {
                return self.pin(repository, url, oid, hash);
            }
        }
        self.converse(repository, url, cancel, |_| Ok(Wanted::Everything))?;
        let Some(oid) = full else {
            let oid = self.expand(repository, url, hash)?;
            return self.pin(repository, url, oid, hash);
        };
        if repository.find_commit(oid).is_err() {
            let missing = |reason: String| GitError::CommitMissing {
                hash: hash.to_owned(),
                url: url.to_string(),
                reason,
            };
            match self.converse(repository, url, cancel, |_| Ok(Wanted::Id(oid))) {
                Ok(_) if repository.odb().is_ok_and(|objects| objects.exists(oid)) => {}
                Ok(_) => return Err(missing("the repository does not have it".to_owned())),
                Err(GitError::Fetch { reason, .. }) => return Err(missing(reason)),
                Err(other) => return Err(other),
            }
        }
        self.pin(repository, url, oid, hash)
    }

    /// Whether the commit and all it needs are in the mirror. What came over the network came in one piece; but a
    /// process killed while linking the files of a local repository may have linked a commit and not its files, so
    /// there only a pin counts.
    fn has(&self, repository: &Repository, oid: Oid) -> bool {
        let pinned = repository.refname_to_id(&format!("{PINS}/{oid}")).is_ok();
        let always_whole = self.url.local_path().is_none() && !self.options.allow_local_sources;
        (pinned || always_whole) && repository.find_commit(oid).is_ok()
    }

    fn expand(&self, repository: &Repository, url: &GitUrl, hash: &str) -> Result<Oid, GitError> {
        match repository.revparse_single(&format!("{}^{{commit}}", hash.to_ascii_lowercase())) {
            Ok(object) => Ok(object.id()),
            Err(error) if error.code() == ErrorCode::Ambiguous => Err(GitError::AmbiguousHash {
                hash: hash.to_owned(),
                url: url.to_string(),
            }),
            Err(_) => Err(GitError::CommitMissing {
                hash: hash.to_owned(),
                url: url.to_string(),
                reason: "an abbreviated id can not be fetched".to_owned(),
            }),
        }
    }

    /// Follows annotated tags to their commit and keeps that alive.
    pub(super) fn pin(
        &self,
        repository: &Repository,
        url: &GitUrl,
        oid: Oid,
        name: &str,
    ) -> Result<CommitId, GitError> {
        let commit = repository
            .find_object(oid, None)
            .and_then(|object| object.peel_to_commit())
            // A commit is of no use if its files are not there.
            .and_then(|commit| commit.tree().map(|_| commit.id()))
            .map_err(|error| GitError::NotACommit {
                name: name.to_owned(),
                url: url.to_string(),
                reason: error.message().to_owned(),
            })?;
        let pin = format!("{PINS}/{commit}");
        if repository.refname_to_id(&pin).ok() != Some(commit) {
            mirror_files::sync_objects(&self.directory)
                .map_err(|error| self.error("write to", error))?;
            repository
                .reference(&pin, commit, true, "")
                .map_err(|error| self.error("write to", error.message()))?;
            if let Err(error) = mirror_files::thin_out_pins(&self.directory) {
                tracing::warn!(directory = %self.directory.display(), %error, "could not remove old pins of a mirror");
            }
        }
        Ok(CommitId::from_oid(commit))
    }

    /// Opens the mirror, making it if it is not there or broken.
    pub(super) fn open(&self) -> Result<Repository, GitError> {
        mirror_files::clear_leftovers(&self.directory);
        super::taking::clear_incoming(&self.directory);
        self.finish_taking()?;
        let shown_url = self.url.to_string();
        if self.directory.exists() {
            let opened = mirror_files::open_here(&self.directory).and_then(|repository| {
                mirror_files::configure(&repository, &shown_url).map(|()| repository)
            });
            match opened {
                Ok(repository) => return Ok(repository),
                Err(error) if !mirror_files::looks_like_a_mirror(&self.directory) => {
                    return Err(self.error("open", error.message()));
                }
                Err(error) => {
                    let directory = self.directory.display();
                    tracing::warn!(%directory, error = error.message(), "a mirror is damaged and is made again");
                    crate::disk::beneath::remove_all(&self.directory)
                        .map_err(|error| self.error("remove the damaged", error))?;
                }
            }
        }
        mirror_files::make(&self.directory, &shown_url)
            .map_err(|trouble| self.error("make", trouble))?;
        mirror_files::open_here(&self.directory)
            .map_err(|error| self.error("open", error.message()))
    }

    pub(super) fn error(&self, step: &'static str, reason: impl ToString) -> GitError {
        GitError::Mirror {
            step,
            directory: self.directory.clone(),
            url: self.url.to_string(),
            reason: self.url.redact(&reason.to_string()),
        }
    }

    fn branch_missing(&self, branch: &str, url: &GitUrl, advertised: &Advertised) -> GitError {
        let (existing, total) = advertised.branches();
        GitError::BranchMissing {
            branch: branch.to_owned(),
            url: url.to_string(),
            existing,
            total,
        }
    }
}
