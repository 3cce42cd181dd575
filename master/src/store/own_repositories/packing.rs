//! Who packs a repository writes to it, and makes way for everybody else who wants to.

use super::{OwnCodeError, OwnRepositories, Writer};
use clusterrunner_common::ids::ProjectId;
use clusterrunner_common::lock::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;

/// The repositories that are being packed, and what tells their packers to make way.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed(Arc<Mutex<HashMap<ProjectId, CancellationToken>>>);

impl Packed {
    /// Somebody wants to write to a project's repository.
    pub(super) fn is_wanted(&self, project: ProjectId) {
        if let Some(packer) = lock(&self.0).get(&project) {
            packer.cancel();
        }
    }
}

/// The only writer of a repository, until it is dropped; it packs.
#[derive(Debug)]
pub struct Packer {
    writer: Writer,
    packed: Packed,
}

impl Drop for Packer {
    fn drop(&mut self) {
        lock(&self.packed.0).remove(&self.writer.project);
    }
}

impl OwnRepositories {
    /// The right to pack a project's repository, and what fires when somebody else wants to write to it; none where
    /// somebody does already.
    #[must_use]
    pub fn packer(&self, project: ProjectId) -> Option<(Packer, CancellationToken)> {
        let is_wanted = CancellationToken::new();
        let mut packed = lock(&self.packed.0);
        let only = self.only(project).try_lock_owned().ok()?;
        packed.insert(project, is_wanted.clone());
        let packer = Packer {
            writer: Writer {
                _only: only,
                project,
            },
            packed: self.packed.clone(),
        };
        Some((packer, is_wanted))
    }

    /// How many packs a project's repository has, and their bytes.
    ///
    /// # Errors
    /// See [`OwnCodeError`].
    pub async fn packs(&self, project: ProjectId) -> Result<(u64, u64), OwnCodeError> {
        self.done_in(project, |repository| Ok(repository.packs()?))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_packs_makes_way_for_who_writes() {
        let folder = tempfile::tempdir().unwrap();
        let own = OwnRepositories::in_test(folder.path());
        let project = ProjectId(1);
        let (packer, is_wanted) = own.packer(project).unwrap();
        assert!(own.packer(project).is_none());
        drop(own.writer(ProjectId(2)).await);
        assert!(!is_wanted.is_cancelled());
        let writing = tokio::spawn({
            let own = own.clone();
            async move { own.writer(project).await }
        });
        is_wanted.cancelled().await;
        drop(packer);
        let writer = writing.await.unwrap();
        assert!(own.packer(project).is_none());
        drop(writer);
        assert!(own.packer(project).is_some());
    }
}
