//! What a fact about a user or a project changes.

use super::bookmarks::Bookmark;
use super::facts::{AccountFact, ProjectFact};
use crate::core::Cluster;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{ProjectId, UserId};

impl Cluster {
    pub(in crate::core) fn apply_to_account(
        &mut self,
        user: UserId,
        fact: &AccountFact,
        at: Timestamp,
    ) {
        match fact {
            AccountFact::Created(new) => self.accounts.add(user, (**new).clone(), at),
            AccountFact::Bookmarked(what) => {
                let is_set = true;
                self.bookmarks.put(user, *what, Bookmark { is_set, at });
            }
            AccountFact::BookmarkTakenBack(what) => {
                let is_set = false;
                self.bookmarks.put(user, *what, Bookmark { is_set, at });
            }
        }
    }

    pub(in crate::core) fn apply_to_project(
        &mut self,
        id: ProjectId,
        fact: &ProjectFact,
        at: Timestamp,
    ) {
        match fact {
            ProjectFact::Created { owner, project } => {
                self.make_project(id, *owner, (**project).clone(), at);
            }
            ProjectFact::Changed(change) => self.change_project(id, (**change).clone(), at),
            ProjectFact::CollaboratorAdded { user } => self.share_project(id, *user, true),
            ProjectFact::CollaboratorRemoved { user } => self.share_project(id, *user, false),
            ProjectFact::Deleted => self.delete_project(id),
            ProjectFact::CodeCommitted { commit } => self.note_code(id, commit),
        }
    }
}
