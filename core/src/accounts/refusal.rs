//! Why an order about accounts means nothing.

use crate::builds::details::Unfit;
use clusterrunner_common::ids::{ProjectId, TokenId, UserId};

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
    /// The project has no secret of this name.
    #[error("the project has no secret named {0}")]
    UnknownSecret(String),
    /// The project has as many secrets as a project may have.
    #[error("the project has {0} secrets, which is the most; remove one first")]
    TooManySecrets(usize),
    /// The project began with builds of a repository or directory that is elsewhere.
    #[error("the code of project {0} is elsewhere")]
    CodeElsewhere(ProjectId),
}
