//! Builds that users delete.
//!
//! `Deleted` hides a build from everybody at once. What follows is the work of [`Cluster::follow_up`], so a master that
//! dies at any point goes on where it was: a build that is not over is canceled, the slaves clear it away, it is archived
//! as any other, and an archived one is forgotten, which removes its files. Nothing new is stored for that but the ids.

use crate::event::{Bound, BuildFact, Fact};
use crate::refusal::Refusal;
use crate::{Cluster, FORGOTTEN_AT_A_TIME};
use clusterrunner_common::ids::BuildId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Builds that are deleted and not forgotten yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Deletions {
    all: BTreeSet<BuildId>,
    /// Those that are not over. Derived.
    #[serde(skip)]
    open: BTreeSet<BuildId>,
    /// Those that are archived. Derived.
    #[serde(skip)]
    archived: BTreeSet<BuildId>,
}

impl Deletions {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn remove(&mut self, id: BuildId) -> bool {
        self.archived.remove(&id);
        self.open.remove(&id);
        self.all.remove(&id)
    }
}

impl Cluster {
    /// Whether a user deleted a build: nobody is shown it any more, though slaves may still have to clear it away.
    #[must_use]
    pub fn is_deleted(&self, id: BuildId) -> bool {
        self.deletions.all.contains(&id)
    }

    /// A user deletes a build.
    pub(crate) fn deleted(&self, id: BuildId) -> Result<Vec<Fact>, Refusal> {
        let is_shown = self.builds.contains_key(&id) || self.is_ended(id);
        if self.is_deleted(id) || self.is_forgotten(id) {
            return Err(Refusal::ForgottenBuild(id));
        }
        match is_shown {
            // All of a matrix goes together.
            true => {
                let all = self.kept_children(id).into_iter().chain([id]);
                Ok(all.map(|id| Fact::Build(id, BuildFact::Deleted)).collect())
            }
            false => Err(Refusal::UnknownBuild(id)),
        }
    }

    pub(crate) fn next_of_deletions(&self) -> Option<Fact> {
        // The newest first: a parent of a matrix is older than its children, and not over before them.
        if let Some(open) = self.deletions.open.last() {
            return Some(Fact::Build(*open, BuildFact::Canceled));
        }
        // The disk is to keep up.
        let archived = self.deletions.archived.first()?;
        let bound = Bound::Deleted;
        let has_room = self.forgotten.len() < FORGOTTEN_AT_A_TIME;
        has_room.then_some(Fact::Build(*archived, BuildFact::Forgotten { bound }))
    }

    pub(crate) fn delete(&mut self, id: BuildId) {
        self.deletions.all.insert(id);
        let live = self.builds.get(&id);
        let project = live.map(|build| build.project);
        let project = project.or(self.ended.get(&id).map(|ended| ended.project));
        if let Some(project) = project {
            self.leave_project(project);
        }
        self.forget_details(id);
        self.bookmarks.leave_build_out(id);
        self.settle_deletion(id);
    }

    /// A deleted build is over, was archived, or is just deleted.
    pub(crate) fn settle_deletion(&mut self, id: BuildId) {
        if !self.is_deleted(id) {
            return;
        }
        match self.build(id) {
            Some(build) if !build.is_over() => {
                self.deletions.open.insert(id);
            }
            Some(_) => {
                self.deletions.open.remove(&id);
            }
            None => {
                self.deletions.archived.insert(id);
            }
        }
    }

    /// Whether it was deleted.
    pub(crate) fn end_deletion(&mut self, id: BuildId) -> bool {
        self.deletions.remove(id)
    }

    /// Makes anew what is derived. What a damaged journal does not have any more need not be deleted.
    pub(crate) fn restore_deletions(&mut self) {
        let all = std::mem::take(&mut self.deletions).all;
        let is_there = |id: &BuildId| self.builds.contains_key(id) || self.is_ended(*id);
        let all: BTreeSet<BuildId> = all.into_iter().filter(is_there).collect();
        self.deletions.all.clone_from(&all);
        for id in all {
            self.settle_deletion(id);
        }
    }

    /// Deletions as they follow from what is stored.
    pub(crate) fn derived_deletions(&self) -> Deletions {
        let those = |wanted: &dyn Fn(BuildId) -> bool| {
            let all = self.deletions.all.iter().copied();
            all.filter(|id| wanted(*id)).collect()
        };
        let is_open = |id| self.build(id).is_some_and(|build| !build.is_over());
        let is_kept = |id| self.builds.contains_key(&id) || self.is_ended(id);
        Deletions {
            all: those(&is_kept),
            open: those(&is_open),
            archived: those(&|id| self.is_ended(id)),
        }
    }
}
