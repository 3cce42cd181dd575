//! What receivers are told of a build beside its page. Pure.

use crate::http::clusterrunner::shapes;
use crate::journal::EndedBuild;
use clusterrunner_common::api::BuildView;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::http::clusterrunner::version::ApiVersion;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;

/// A build at the moment at which it is told of.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// As version 2 of the API shows it.
    pub(super) view: BuildView,
    /// When it was accepted.
    pub(super) queued: Timestamp,
    pub(super) place: ProjectOrigin,
    /// The full id of its commit, if it is known and there is one.
    pub(super) commit: Option<String>,
    pub(super) branch: Option<String>,
    /// The name of its job, as far as it is known.
    pub(super) job: Option<String>,
}

/// Where a project comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProjectOrigin {
    /// A repository on a server.
    Server {
        /// In lower case.
        host: String,
        /// Without slashes around it, and without `.git` at its end.
        path: String,
    },
    /// Anything else, as it is called.
    Elsewhere(String),
}

impl ProjectOrigin {
    pub(super) fn of(request: &BuildRequest) -> Self {
        match &request.project {
            ProjectSource::Git { url, .. } => {
                // Whether it may be used was asked before.
                let url = GitUrl::parse(url, true).ok();
                match url.as_ref().and_then(GitUrl::host_and_path) {
                    Some((host, path)) => Self::Server { host, path },
                    None => Self::Elsewhere(url.map_or_else(String::new, |url| url.to_string())),
                }
            }
            ProjectSource::Directory { project_directory } => {
                Self::Elsewhere(project_directory.clone())
            }
            ProjectSource::Own { project, .. } => Self::Elsewhere(format!("project/{project}")),
        }
    }

    /// What patterns of projects are compared with.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Server { host, path } => format!("{host}/{path}"),
            Self::Elsewhere(name) => name.clone(),
        }
    }
}

impl Subject {
    pub(super) fn of_live(cluster: &Cluster, build: &Build) -> Self {
        Self::new(build, shapes::build_of(cluster, build))
    }

    pub(super) fn of_ended(ended: &EndedBuild) -> Self {
        Self::new(&ended.build, shapes::ended_build(ended))
    }

    fn new(build: &Build, view: BuildView) -> Self {
        let (hash, branch) = match &build.request.project {
            ProjectSource::Git { hash, branch, .. } => (hash.clone(), branch.clone()),
            ProjectSource::Own { commit, .. } => (commit.clone(), None),
            ProjectSource::Directory { .. } => (None, None),
        };
        let plan = build.plan.as_ref();
        // A build whose job can not be read has no plan; its commit may be known all the same.
        let commit = plan.and_then(|plan| plan.commit.clone()).or(hash);
        let job = plan.map(|plan| plan.job_name.clone());
        Self {
            view: shapes::in_version(view, ApiVersion::V2),
            queued: build.timestamps.queued.unwrap_or(Timestamp(0)),
            place: ProjectOrigin::of(&build.request),
            commit: commit.filter(|commit| is_full_commit(commit)),
            branch,
            // In a matrix each build is told apart, and has a status of its own.
            job: job
                .or_else(|| build.request.job_name.clone())
                .map(|job| build.request.job_of_atoms(&job).into_owned()),
        }
    }
}

/// Whether a text is the whole id of a commit.
pub(super) fn is_full_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
pub(super) mod fixture;
