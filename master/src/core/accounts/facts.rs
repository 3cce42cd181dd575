//! What happens to users and to projects.

use super::users::NewUser;
use crate::core::accounts::bookmarks::Markable;
use crate::core::accounts::projects::{NewProject, Owner, ProjectChange};
use clusterrunner_common::ids::UserId;
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
}

impl fmt::Display for AccountFact {
    /// What comes after the user's id. Nothing secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created(user) => write!(f, " created: {}", user.name),
            Self::Bookmarked(what) => write!(f, " marks {what}"),
            Self::BookmarkTakenBack(what) => write!(f, " does not mark {what} any more"),
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
        }
    }
}
