//! What a fact about a user or a project changes.

use super::bookmarks::Bookmark;
use super::facts::{AccountFact, ProjectFact};
use super::users::UserChange;
use crate::Cluster;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{ProjectId, UserId};

impl Cluster {
    pub(crate) fn apply_to_account(&mut self, user: UserId, fact: &AccountFact, at: Timestamp) {
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
            AccountFact::Changed(change) => {
                let UserChange {
                    email,
                    first_name,
                    last_name,
                } = (**change).clone();
                let user = self.accounts.user_mut(user);
                user.email = email.unwrap_or(std::mem::take(&mut user.email));
                user.first_name = first_name.unwrap_or(std::mem::take(&mut user.first_name));
                user.last_name = last_name.unwrap_or(std::mem::take(&mut user.last_name));
            }
            AccountFact::PasswordChanged(password) => {
                self.accounts.user_mut(user).password = password.clone();
            }
            AccountFact::SuperuserGranted => self.accounts.user_mut(user).is_superuser = true,
            AccountFact::SuperuserRevoked => self.accounts.user_mut(user).is_superuser = false,
            AccountFact::Activated => self.accounts.user_mut(user).is_deactivated = false,
            AccountFact::Deactivated => self.accounts.user_mut(user).is_deactivated = true,
            AccountFact::LoggedIn => self.accounts.user_mut(user).last_login = Some(at),
            AccountFact::ApiTokenRenewed(token) => {
                self.accounts.renew_api_token(user, token.clone());
            }
            AccountFact::TokenCreated(id, new) => {
                self.accounts.add_token(user, *id, (**new).clone(), at);
            }
            AccountFact::TokenRevoked(id) => self.accounts.remove_token(user, *id),
            AccountFact::KeyAdded(new) => self.accounts.add_key(user, (**new).clone(), at),
            AccountFact::KeyRemoved(id) => self.accounts.remove_key(user, id),
            AccountFact::Deleted => {
                self.accounts.remove(user);
                self.leave_user_out(user);
            }
        }
    }

    pub(crate) fn apply_to_project(&mut self, id: ProjectId, fact: &ProjectFact, at: Timestamp) {
        match fact {
            ProjectFact::Created { owner, project } => {
                self.make_project(id, *owner, (**project).clone(), at);
            }
            ProjectFact::Changed(change) => self.change_project(id, (**change).clone(), at),
            ProjectFact::CollaboratorAdded { user } => self.share_project(id, *user, true),
            ProjectFact::CollaboratorRemoved { user } => self.share_project(id, *user, false),
            ProjectFact::Deleted => self.delete_project(id),
            ProjectFact::CodeCommitted { commit } => self.note_code(id, commit),
            // Only the audit log has it.
            ProjectFact::RefsPushed(_) => {}
            ProjectFact::SecretSet { name, secret } => {
                self.set_secret(id, name.clone(), (**secret).clone(), at);
            }
            ProjectFact::SecretRemoved { name } => self.remove_secret(id, name),
        }
    }
}
