//! What can be asked for about accounts, and why it may mean nothing.

use super::bookmarks::Markable;
use super::projects::{NewProject, ProjectChange};
use super::ssh_keys::NewSshKey;
use super::users::{ApiToken, NewToken, NewUser, PasswordHash, UserChange};
use crate::core::builds::details::{Merge, Unfit};
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
}

/// Why an order about accounts means nothing now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountRefusal {
    /// No such user.
    #[error("user {0} is unknown")]
    UnknownUser(UserId),
    /// Another user has the name.
    #[error("a user named {0} exists")]
    UserNameTaken(String),
    /// No user may have the name.
    #[error("the name {0} is not for users: the farm uses it itself")]
    ReservedUserName(String),
    /// Something that is said of a user or a token can not be.
    #[error("field '{field}' must be {expected}")]
    InvalidField {
        /// The field.
        field: &'static str,
        /// What is right.
        expected: &'static str,
    },
    /// Superusers can not leave the farm without one; the holder of the secret can.
    #[error(
        "the last active superuser is {0}; only the holder of the farm's secret can change that"
    )]
    LastSuperuser(String),
    /// The farm has as many users as it may have.
    #[error("the farm has {0} users, which is the most")]
    TooManyUsers(usize),
    /// The user is deactivated.
    #[error("user {0} is deactivated")]
    Deactivated(UserId),
    /// The password or the API token was changed while the password was checked.
    #[error("the password or the token of user {0} was changed meanwhile")]
    PasswordChanged(UserId),
    /// The user has no such token.
    #[error("token {0} is unknown")]
    UnknownToken(TokenId),
    /// The user has a token of that name.
    #[error("the user has a token named {0}; revoke it first, or choose another name")]
    TokenNameTaken(String),
    /// The user has as many tokens as a user may have.
    #[error("the user has {0} tokens, which is the most; revoke one first")]
    TooManyTokens(usize),
    /// The token ends before it begins.
    #[error("the token would have expired already")]
    ExpiredToken,
    /// The user has no SSH key with this id.
    #[error("SSH key {0} is unknown")]
    UnknownKey(String),
    /// The user has an SSH key with this id.
    #[error("the user has an SSH key named {0}; remove it first, or choose another name")]
    KeyIdTaken(String),
    /// The farm knows this SSH key: it says who somebody is, so nobody else can have it.
    #[error("a user has this SSH key already")]
    KeyTaken,
    /// The user has as many SSH keys as a user may have.
    #[error("the user has {0} SSH keys, which is the most; remove one first")]
    TooManyKeys(usize),
    /// No such project.
    #[error("project {0} is unknown")]
    UnknownProject(ProjectId),
    /// Another project of the owner has the name.
    #[error("the owner has a project named {0}")]
    ProjectNameTaken(String),
    /// The owner has as many projects as an owner may have.
    #[error("the owner has {0} projects, which is the most; delete one first")]
    TooManyProjects(usize),
    /// As many users work on the project as may.
    #[error("the project has {0} collaborators, which is the most")]
    TooManyCollaborators(usize),
    /// There is no such build, or no such project.
    #[error("there is nothing to mark")]
    NothingToMark,
    /// The user never marked it.
    #[error("it was never marked")]
    NeverBookmarked,
    /// The user has marked as much as a user may.
    #[error("the user has {0} bookmarks, which is the most")]
    TooManyBookmarks(usize),
    /// What is said of a project can not be said.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The project began with builds of a repository or directory that is elsewhere.
    #[error("the code of project {0} is elsewhere")]
    CodeElsewhere(ProjectId),
}
