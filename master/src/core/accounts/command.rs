//! What can be asked for about accounts, and why it may mean nothing.

use super::projects::NewProject;
use super::users::NewUser;
use clusterrunner_common::ids::{ProjectId, UserId};

/// An order about users.
#[derive(Clone, Debug, PartialEq)]
pub enum AccountCommand {
    /// Create a user.
    Create(Box<NewUser>),
}

/// An order about projects. What an actor makes is the actor's own.
#[derive(Clone, Debug, PartialEq)]
pub enum ProjectCommand {
    /// Make a project.
    Create(Box<NewProject>),
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
    /// No such project.
    #[error("project {0} is unknown")]
    UnknownProject(ProjectId),
    /// Another project of the owner has the name.
    #[error("the owner has a project named {0}")]
    ProjectNameTaken(String),
}
