//! What can be asked for about accounts, and why it may mean nothing.

use super::bookmarks::Markable;
use super::projects::{NewProject, ProjectChange};
use super::users::NewUser;
use crate::core::builds::details::{Merge, Unfit};
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
