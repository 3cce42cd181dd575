//! Commits that clients have sent: packs beside what a mirror of their repository has.
//!
//! They have a mirror of their own. What the repository's mirror has is linked into it, so it takes no space twice, and what
//! was sent is never found where commits of the repository are looked for.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use git2::{Indexer, Oid, Repository};
use tokio_util::sync::CancellationToken;

use super::local_source::LocalSource;
use super::mirror_files::{self, PINS};
use super::remote_refs::Advertised;
use super::taking::{INCOMING, TAKEN};
use super::tree_check::{TreeCheck, TreeError};
use super::trouble::Trouble;
use super::{CommitId, GitError, Mirror, packs, tracking_refs};

impl Mirror {
    /// Whether a commit is here with all that it needs.
    ///
    /// # Errors
    /// [`GitError::Mirror`] if the mirror can not be opened or made.
    pub fn has_whole(&self, commit: &CommitId) -> Result<bool, GitError> {
        let repository = self.open()?;
        Ok(is_whole(&repository, commit))
    }

    /// Makes a commit that was sent a commit of this mirror: the objects of `on`, the mirror of the repository that the
    /// commits below it are from, and those of `packs`, each of which is whole by itself.
    ///
    /// # Errors
    /// [`GitError::Tree`] if files of the commit are missing or not fit to be written out, [`GitError::Mirror`] if
    /// something can not be read or written. The mirror has no such commit then.
    pub fn take_sent(
        &self,
        commit: &CommitId,
        packs: &[PathBuf],
        on: Option<&Self>,
        cancel: &CancellationToken,
    ) -> Result<(), GitError> {
        let repository = self.open()?;
        if is_whole(&repository, commit) {
            return Ok(());
        }
        drop(repository);
        let failed = |trouble: Trouble| match cancel.is_cancelled() {
            true => GitError::Canceled,
            false => self.error("write what was sent to", trouble),
        };
        let refs = match on {
            Some(below) => self.link_all_of(below, cancel).map_err(failed)?,
            None => Vec::new(),
        };
        self.index(packs, cancel).map_err(failed)?;
        self.finish_taking()?;
        // Opened anew, it sees what was linked and moved.
        let repository = self.open()?;
        let oid = self.checked(&repository, commit, cancel)?;
        let refs = refs.into_iter();
        let refs = refs.filter_map(|(name, oid)| Some((name, Oid::from_str(&oid).ok()?)));
        tracking_refs::update(&repository, &Advertised::collect(refs), false)
            .map_err(|error| self.error("update the refs of", error.message()))?;
        self.pin(&repository, self.url(), oid, commit.as_str())?;
        if let Err(error) = super::mirror_packs::merge_small(&repository, self.directory()) {
            let directory = self.directory().display();
            tracing::warn!(%directory, %error, "could not merge the packs of a mirror");
        }
        Ok(())
    }

    /// Links the objects of another mirror into this one; its branches and tags.
    fn link_all_of(
        &self,
        below: &Self,
        cancel: &CancellationToken,
    ) -> Result<Vec<(String, String)>, Trouble> {
        let refs = packs::refs(&mirror_files::open_here(below.directory())?)?;
        let source = LocalSource::open(below.directory())?;
        source.link_objects(self.directory(), cancel)?;
        Ok(refs)
    }

    /// Writes packs beside the objects, all or none of them.
    fn index(&self, packs: &[PathBuf], cancel: &CancellationToken) -> Result<(), Trouble> {
        let objects = self.directory().join("objects");
        let incoming = tempfile::Builder::new()
            .prefix(INCOMING)
            .tempdir_in(&objects)?;
        for pack in packs {
            index_pack(pack, incoming.path(), cancel)?;
        }
        mirror_files::sync_below(incoming.path())?;
        fs::rename(incoming.path(), objects.join(TAKEN))?;
        // It has another name now.
        let _renamed = incoming.keep();
        Ok(())
    }

    /// Whether all files of a commit are here and may be written out, and the commits before it are here.
    fn checked(
        &self,
        repository: &Repository,
        commit: &CommitId,
        cancel: &CancellationToken,
    ) -> Result<Oid, GitError> {
        let missing = |error: git2::Error| GitError::CommitMissing {
            hash: commit.to_string(),
            url: self.url().to_string(),
            reason: error.message().to_owned(),
        };
        let oid = commit.to_oid().map_err(missing)?;
        let found = repository.find_commit(oid).map_err(missing)?;
        for parent in found.parent_ids() {
            repository.find_commit(parent).map_err(missing)?;
        }
        let objects = repository.odb().map_err(missing)?;
        let checked = TreeCheck::thorough(&objects, self.options().limits, cancel);
        match { checked }.check(found.tree_id()) {
            Ok(()) => Ok(oid),
            Err(TreeError::Canceled) => Err(GitError::Canceled),
            Err(source) => Err(GitError::Tree {
                commit: commit.clone(),
                url: self.url().to_string(),
                source,
            }),
        }
    }
}

/// Only a pin says that all that belongs to a commit is there too.
fn is_whole(repository: &Repository, commit: &CommitId) -> bool {
    let pinned = repository.refname_to_id(&format!("{PINS}/{commit}"));
    pinned.is_ok_and(|oid| repository.find_commit(oid).is_ok())
}

/// Writes a pack and its index into a directory. One that needs objects beside its own is refused.
pub(super) fn index_pack(
    pack: &Path,
    directory: &Path,
    cancel: &CancellationToken,
) -> Result<(), Trouble> {
    let mut indexer = Indexer::new(None, directory, 0o444, false)?;
    indexer.progress(|_| !cancel.is_cancelled());
    let mut pack_file = File::open(pack).map_err(Trouble::at(pack))?;
    let copied = io::copy(&mut pack_file, &mut indexer);
    copied.map_err(Trouble::at(pack))?;
    indexer.commit()?;
    Ok(())
}
