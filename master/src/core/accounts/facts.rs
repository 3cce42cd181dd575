//! What happens to users and to projects.

use super::users::NewUser;
use crate::core::accounts::projects::NewProject;
use crate::core::accounts::projects::Owner;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What happens to a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountFact {
    /// The user was created, under a new id.
    Created(Box<NewUser>),
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
}

impl fmt::Display for AccountFact {
    /// What comes after the user's id. Nothing secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created(user) => write!(f, " created: {}", user.name),
        }
    }
}

impl fmt::Display for ProjectFact {
    /// What comes after the project's id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created { project, .. } => write!(f, " created: {}", project.name),
        }
    }
}
