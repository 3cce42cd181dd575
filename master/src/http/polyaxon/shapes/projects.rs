//! Projects as this API shows them. Pure.

use crate::http::polyaxon::{times, uuids};
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::ids::{ProjectId, UserId};
use clusterrunner_core::Cluster;
use clusterrunner_core::access::UserCaller;
use clusterrunner_core::accounts::bookmarks::Markable;
use clusterrunner_core::accounts::projects::Project;
use serde::Serialize;

/// A project.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::http::polyaxon) struct ProjectView {
    id: ProjectId,
    uuid: String,
    user: String,
    name: String,
    unique_name: String,
    description: Option<String>,
    tags: Option<Vec<String>>,
    created_at: String,
    updated_at: String,
    is_public: bool,
    bookmarked: bool,
    has_code: bool,
    has_tensorboard: bool,
    has_notebook: bool,
    num_experiment_groups: u64,
    num_independent_experiments: u64,
    num_experiments: u64,
    num_jobs: u64,
    num_builds: u64,
    /// Not of the original, so only there where the project has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    git_url: Option<String>,
}

impl ProjectView {
    /// A project as a caller sees it.
    pub(in crate::http::polyaxon) fn of(
        cluster: &Cluster,
        project: &Project,
        caller: UserCaller,
    ) -> Self {
        let user = cluster.owner_name(project.owner).unwrap_or_default();
        let name = project.name();
        Self {
            id: project.id,
            uuid: uuids::of_project(project.id, project.created),
            user: user.to_owned(),
            name: name.to_owned(),
            unique_name: format!("{user}.{name}"),
            description: project.description.clone(),
            tags: project.tags.clone(),
            created_at: times::shown(project.created),
            updated_at: times::shown(project.updated()),
            is_public: project.is_public(),
            bookmarked: cluster.is_bookmarked(caller.id, Markable::Project(project.id)),
            has_code: project.git_url().is_some() || project.code.is_some(),
            has_tensorboard: false,
            has_notebook: false,
            num_experiment_groups: 0,
            num_independent_experiments: 0,
            num_experiments: 0,
            // Applications and containers that were started from its builds: the farm starts none yet.
            num_jobs: 0,
            num_builds: cluster.num_builds_of(project.id),
            git_url: project.git_url().map(without_credentials),
        }
    }
}

/// A URL as everyone may see it.
fn without_credentials(url: &str) -> String {
    // Whether a path may be used was settled when the URL was given.
    let parsed = GitUrl::parse(url, true);
    parsed.map_or_else(|_| String::new(), |url| url.without_credentials())
}

/// A user that works on a project.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::http::polyaxon) struct CollaboratorView {
    username: String,
}

impl CollaboratorView {
    /// A user; none where there is no such user any more.
    pub(in crate::http::polyaxon) fn of(cluster: &Cluster, id: UserId) -> Option<Self> {
        let username = cluster.accounts().user(id)?.name.clone();
        Some(Self { username })
    }
}
