//! Projects, which own builds.

use super::BuildView;
use crate::ids::ProjectId;
use serde::{Deserialize, Serialize};

/// A project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectView {
    /// Its number.
    pub id: ProjectId,
    /// The name, unique among those of its owner.
    pub name: String,
    /// The name of the user that owns it, or a built-in one.
    pub owner: String,
    /// For people.
    pub description: Option<String>,
    /// Whether only those who work on it may read it.
    pub is_private: bool,
    /// The URL of its repository, without credentials; none where it has another source.
    pub url: Option<String>,
    /// How many of its builds are kept.
    pub num_builds: u64,
    /// The newest of them.
    pub last_build: Option<BuildView>,
}

/// `{"projects": [...]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectsBody {
    /// Those with the newest builds first.
    pub projects: Vec<ProjectView>,
    /// How many there are that the caller may see.
    pub total: usize,
}

/// `{"project": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectBody {
    /// The project.
    pub project: ProjectView,
}
