//! What can be asked for about accounts.

use super::bookmarks::Markable;
use super::projects::{NewProject, ProjectChange};
use super::pushed_refs::PushedRefs;
use super::secrets::NewSecret;
use super::ssh_keys::NewSshKey;
use super::users::{ApiToken, NewToken, NewUser, PasswordHash, UserChange};
use crate::builds::details::Merge;
use clusterrunner_common::ids::{ProjectId, TokenId, UserId};

/// An order about users.
#[derive(Clone, Debug, PartialEq)]
pub enum AccountCommand {
    /// Create a user.
    Create(Box<NewUser>),
    /// Create a user; the first one of the farm becomes a superuser.
    CreateFirstAsSuperuser(Box<NewUser>),
    /// Change a user. All of it happens, or nothing.
    Change {
        /// The user.
        user: UserId,
        /// What is to be another than before.
        order: Box<UserOrder>,
    },
    /// A user logs in: the password was found right.
    LogIn {
        /// The user.
        user: UserId,
        /// What the password was checked against: if it is another now, the log-in came too late.
        password: PasswordHash,
        /// The token that this log-in answers. It is another than before where the farm's secret is another.
        api_token: ApiToken,
    },
    /// Have log-ins answer another token.
    RenewApiToken {
        /// The user.
        user: UserId,
        /// The new token.
        token: ApiToken,
    },
    /// Give a user a named token.
    CreateToken {
        /// The user.
        user: UserId,
        /// What is said of the token.
        token: Box<NewToken>,
    },
    /// End a named token.
    RevokeToken {
        /// The user that has it.
        user: UserId,
        /// The token.
        token: TokenId,
    },
    /// Give a user an SSH key.
    AddKey {
        /// The user.
        user: UserId,
        /// What is said of the key.
        key: Box<NewSshKey>,
    },
    /// Take an SSH key from a user.
    RemoveKey {
        /// The user.
        user: UserId,
        /// The id of the key.
        id: String,
    },
    /// Delete a user with all that is the user's.
    Delete {
        /// The user.
        user: UserId,
    },
}

/// What is to be another of a user than before; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserOrder {
    /// What is said of the user.
    pub said: UserChange,
    /// Whether the user may do everything.
    pub is_superuser: Option<bool>,
    /// Whether the user can log in, and its tokens work.
    pub is_active: Option<bool>,
    /// What a password is checked against.
    pub password: Option<PasswordHash>,
}

/// An order about projects. What an actor makes is the actor's own.
#[derive(Clone, Debug, PartialEq)]
pub enum ProjectCommand {
    /// Make a project.
    Create(Box<NewProject>),
    /// Say something else of a project.
    Change {
        /// The project.
        project: ProjectId,
        /// What is said of it from now on.
        change: Box<ProjectChange>,
        /// What becomes of the tags that it has.
        merge: Merge,
    },
    /// Delete a project with its builds.
    Delete(ProjectId),
    /// Let a user do all with a project but delete it.
    AddCollaborator {
        /// The project.
        project: ProjectId,
        /// The user.
        user: UserId,
    },
    /// Let a user do no more with a project than others.
    RemoveCollaborator {
        /// The project.
        project: ProjectId,
        /// The user.
        user: UserId,
    },
    /// Mark something.
    Bookmark {
        /// The user that marks it.
        user: UserId,
        /// What is marked.
        what: Markable,
    },
    /// Take a mark back.
    TakeBookmarkBack {
        /// The user that has marked it.
        user: UserId,
        /// What is not to be marked any more.
        what: Markable,
    },
    /// A commit lies in the project's own repository: it is the newest from now on.
    CommitCode {
        /// The project.
        project: ProjectId,
        /// The commit, as a full id.
        commit: String,
    },
    /// Branches and tags of the project's own repository are pushed or removed.
    PushRefs {
        /// The project.
        project: ProjectId,
        /// The branches and tags that the push sets and removes.
        refs: PushedRefs,
    },
    /// The sealed value of a secret lies with the master: builds get it from now on.
    SetSecret {
        /// The project.
        project: ProjectId,
        /// The name.
        name: String,
        /// What is said of it.
        secret: Box<NewSecret>,
    },
    /// Builds of a project get a secret no more.
    RemoveSecret {
        /// The project.
        project: ProjectId,
        /// The name.
        name: String,
    },
}
