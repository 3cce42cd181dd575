//! What happens to users and to projects.

use super::ssh_keys::NewSshKey;
use super::users::{ApiToken, NewToken, NewUser, PasswordHash, UserChange};
use crate::accounts::bookmarks::Markable;
use crate::accounts::owner::Owner;
use crate::accounts::projects::{NewProject, ProjectChange};
use crate::accounts::pushed_refs::PushedRefs;
use crate::accounts::secrets::NewSecret;
use clusterrunner_common::ids::{TokenId, UserId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What happens to a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountFact {
    /// The user was created, under a new id.
    Created(Box<NewUser>),
    /// The user marked something.
    Bookmarked(Markable),
    /// The user took a mark back.
    BookmarkTakenBack(Markable),
    /// Something else is said of the user.
    Changed(Box<UserChange>),
    /// The user has another password.
    PasswordChanged(PasswordHash),
    /// The user may do everything from now on.
    SuperuserGranted,
    /// The user may do only what other users may.
    SuperuserRevoked,
    /// The user can log in again, and its tokens work.
    Activated,
    /// The user can not log in any more, and its tokens open nothing.
    Deactivated,
    /// The user has logged in.
    LoggedIn,
    /// Log-ins answer another token from now on; the one before opens nothing.
    ApiTokenRenewed(ApiToken),
    /// The user has another named token, under a new id.
    TokenCreated(TokenId, Box<NewToken>),
    /// A named token opens nothing any more.
    TokenRevoked(TokenId),
    /// The user has another SSH key.
    KeyAdded(Box<NewSshKey>),
    /// The SSH key with this id is not the user's any more.
    KeyRemoved(String),
    /// The user is gone with its tokens and SSH keys. What the user owned went before.
    Deleted,
}

/// What happens to a project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectFact {
    /// A user made it, under a new id. It stays without builds.
    Created {
        /// The owner of the project and of its builds.
        owner: Owner,
        /// What the owner says of it.
        project: Box<NewProject>,
    },
    /// Something else is said of it. What is not given stays. It stays without builds from now on.
    Changed(Box<ProjectChange>),
    /// A user may do all with it but delete it.
    CollaboratorAdded {
        /// The user.
        user: UserId,
    },
    /// A user may do no more with it than others.
    CollaboratorRemoved {
        /// The user.
        user: UserId,
    },
    /// A user deleted it. Its builds were deleted before.
    Deleted,
    /// Code was uploaded: from now on this commit of its own repository is the newest.
    CodeCommitted {
        /// The commit, as a full id.
        commit: String,
    },
    /// Branches and tags of its own repository were pushed or removed.
    RefsPushed(PushedRefs),
    /// A secret of its builds has another value, or is new. It stays without builds from now on.
    SecretSet {
        /// The name.
        name: String,
        /// What is said of it. Not the value.
        secret: Box<NewSecret>,
    },
    /// It has a secret no more.
    SecretRemoved {
        /// The name.
        name: String,
    },
}

impl fmt::Display for AccountFact {
    /// What comes after the user's id. Nothing secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created(user) => write!(f, " created: {}", user.name),
            Self::Bookmarked(what) => write!(f, " marks {what}"),
            Self::BookmarkTakenBack(what) => write!(f, " does not mark {what} any more"),
            Self::Changed(_) => f.write_str(" changed"),
            Self::PasswordChanged(_) => f.write_str(" has another password"),
            Self::SuperuserGranted => f.write_str(" is a superuser"),
            Self::SuperuserRevoked => f.write_str(" is no superuser any more"),
            Self::Activated => f.write_str(" activated"),
            Self::Deactivated => f.write_str(" deactivated"),
            Self::LoggedIn => f.write_str(" logged in"),
            Self::ApiTokenRenewed(_) => f.write_str(" has another API token"),
            Self::TokenCreated(token, new) => {
                write!(f, ": token {token} created, role {:?}", new.role)
            }
            Self::TokenRevoked(token) => write!(f, ": token {token} revoked"),
            Self::KeyAdded(new) => write!(f, " has SSH key {}", new.id),
            Self::KeyRemoved(id) => write!(f, " has SSH key {id} no more"),
            Self::Deleted => f.write_str(" deleted"),
        }
    }
}

impl fmt::Display for ProjectFact {
    /// What comes after the project's id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { project, .. } => write!(f, " created: {}", project.name),
            Self::Changed(_) => f.write_str(" changed"),
            Self::CollaboratorAdded { user } => write!(f, " shared with user {user}"),
            Self::CollaboratorRemoved { user } => {
                write!(f, " not shared with user {user} any more")
            }
            Self::Deleted => f.write_str(" deleted"),
            Self::CodeCommitted { commit } => write!(f, " has code of commit {commit}"),
            Self::RefsPushed(refs) => write!(f, ": {refs}"),
            Self::SecretSet { name, secret } => {
                let forks = if secret.allow_forks {
                    ", also for forks"
                } else {
                    ""
                };
                write!(f, ": secret {name} set{forks}")
            }
            Self::SecretRemoved { name } => write!(f, ": secret {name} removed"),
        }
    }
}
