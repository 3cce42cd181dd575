//! One conversation with a repository: learning its refs, choosing, and bringing the objects.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use git2::{AutotagOption, Direction, FetchOptions, Oid, RemoteCallbacks, Repository};
use tokio_util::sync::CancellationToken;

use super::local_source::LocalSource;
use super::mirror_files::PINS;
use super::remote_refs::{Advertised, RemoteRef};
use super::transport::{self, FetchScope};
use super::{GitError, GitUrl, Mirror, mirror_packs};

/// What one conversation with the other side shall bring.
pub(super) enum Wanted {
    /// All branches and tags.
    Everything,
    /// One ref.
    One(RemoteRef),
    /// One commit, which may be in no branch.
    Id(Oid),
}

impl Mirror {
    /// One conversation: learns the refs, lets `choose` decide what is wanted, brings it, and updates the mirror's refs.
    /// Returns what was wanted: an object and how it was called.
    pub(super) fn converse(
        &self,
        repository: &Repository,
        url: &GitUrl,
        cancel: &CancellationToken,
        choose: impl FnOnce(&Advertised) -> Result<Wanted, GitError>,
    ) -> Result<(Oid, String), GitError> {
        let choose = |advertised: &Advertised| {
            let most = self.options().limits.refs;
            if advertised.refs.len() as u64 > most {
                return Err(GitError::Fetch {
                    url: url.to_string(),
                    reason: format!("it has more than {most} refs (setting git_max_refs)"),
                });
            }
            if advertised.refs.is_empty() {
                return Err(GitError::EmptyRepository {
                    url: url.to_string(),
                });
            }
            choose(advertised)
        };
        let outcome = match url.local_path() {
            Some(path) => self.converse_locally(path, url, cancel, choose),
            None => self.converse_over_network(repository, url, cancel, choose),
        };
        if cancel.is_cancelled() {
            return Err(GitError::Canceled);
        }
        let (advertised, wanted) = outcome?;
        if url == self.url() {
            super::tracking_refs::update(
                repository,
                &advertised,
                matches!(wanted, Wanted::Everything),
            )
            .map_err(|error| self.error("update the refs of", error.message()))?;
        }
        Ok(match wanted {
            Wanted::One(found) => (found.oid, found.name),
            Wanted::Id(oid) => (oid, oid.to_string()),
            Wanted::Everything => (Oid::ZERO_SHA1, String::new()),
        })
    }

    fn converse_locally(
        &self,
        path: &Path,
        url: &GitUrl,
        cancel: &CancellationToken,
        choose: impl FnOnce(&Advertised) -> Result<Wanted, GitError>,
    ) -> Result<(Advertised, Wanted), GitError> {
        let failed = |reason: String| GitError::Fetch {
            url: url.to_string(),
            reason,
        };
        let source = LocalSource::open(path).map_err(|trouble| failed(trouble.to_string()))?;
        let advertised = source
            .refs()
            .map_err(|error| failed(error.message().to_owned()))?;
        let wanted = choose(&advertised)?;
        source
            .link_objects(self.directory(), cancel)
            .map_err(|error| {
                failed(format!(
                    "its objects could not be linked or copied: {error}"
                ))
            })?;
        Ok((advertised, wanted))
    }

    fn converse_over_network(
        &self,
        repository: &Repository,
        url: &GitUrl,
        cancel: &CancellationToken,
        choose: impl FnOnce(&Advertised) -> Result<Wanted, GitError>,
    ) -> Result<(Advertised, Wanted), GitError> {
        let begin = |error: git2::Error| GitError::Fetch {
            url: url.to_string(),
            reason: error.message().to_owned(),
        };
        let scope = FetchScope::begin(self.options(), cancel).map_err(begin)?;
        let failed = |error: git2::Error| GitError::Fetch {
            url: url.to_string(),
            reason: url.redact(
                &scope
                    .failure()
                    .unwrap_or_else(|| error.message().to_owned()),
            ),
        };
        let mut remote = repository
            .remote_anonymous(&url.address())
            .map_err(failed)?;
        let limits = self.options().limits;
        let callbacks = callbacks(cancel, limits.pack_bytes);
        let mut connection = remote
            .connect_auth(Direction::Fetch, Some(callbacks), None)
            .map_err(failed)?;
        let advertised = advertised(connection.remote()).map_err(failed)?;
        let wanted = choose(&advertised)?;
        let specs = self.refspecs(repository, url, &advertised, &wanted);
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(self::callbacks(cancel, limits.pack_bytes))
            .download_tags(AutotagOption::None)
            .update_fetchhead(false);
        connection
            .remote()
            .download(&specs, Some(&mut options))
            .map_err(failed)?;
        if let Err(error) = mirror_packs::merge_small(repository, self.directory()) {
            let directory = self.directory().display();
            tracing::warn!(%directory, %error, "could not merge the packs of a mirror");
        }
        Ok((advertised, wanted))
    }

    fn refspecs(
        &self,
        repository: &Repository,
        url: &GitUrl,
        advertised: &Advertised,
        wanted: &Wanted,
    ) -> Vec<String> {
        let everything = [
            "+refs/heads/*:refs/remotes/origin/*",
            "+refs/tags/*:refs/tags/*",
        ];
        let everything = everything.map(str::to_owned);
        match wanted {
            Wanted::Everything => everything.to_vec(),
            Wanted::One(found) => {
                let one = format!("+{0}:{0}", found.name);
                // A fresh mirror gets all branches, as a clone does: builds compare with `origin/master`.
                if url == self.url() && is_fresh(repository) {
                    return everything.into_iter().chain([one]).collect();
                }
                let objects = repository.odb().ok();
                let known = |oid| objects.as_ref().is_some_and(|objects| objects.exists(oid));
                let tags = advertised.tags_on_known_commits(known);
                let tags = tags.iter().map(|tag| format!("+{0}:{0}", tag.name));
                std::iter::once(one).chain(tags).collect()
            }
            Wanted::Id(oid) => vec![format!("+{oid}:{PINS}/{oid}")],
        }
    }
}

/// Whether nothing was ever fetched into it.
fn is_fresh(repository: &Repository) -> bool {
    repository
        .references_glob("refs/remotes/origin/*")
        .is_ok_and(|mut references| references.next().is_none())
}

/// libgit2 calls these while it works; `false` stops it.
fn callbacks(cancel: &CancellationToken, most: u64) -> RemoteCallbacks<'_> {
    let mut callbacks = RemoteCallbacks::new();
    callbacks.transfer_progress(move |progress| {
        let is_too_much = progress.received_bytes() as u64 > most;
        if is_too_much {
            transport::note(&format!(
                "it sends more than {most} bytes (setting git_max_pack_bytes)"
            ));
        }
        !is_too_much && !cancel.is_cancelled()
    });
    callbacks.sideband_progress(|_| !cancel.is_cancelled());
    callbacks
}

fn advertised(remote: &git2::Remote<'_>) -> Result<Advertised, git2::Error> {
    let entries = remote.list()?.iter().filter_map(|head| {
        // git2 panics on a name that is not UTF-8; such a ref can not be asked for in a build request anyway.
        let name = panic::catch_unwind(AssertUnwindSafe(|| head.name().to_owned())).ok()?;
        Some((name, head.oid()))
    });
    Ok(Advertised::collect(entries))
}
