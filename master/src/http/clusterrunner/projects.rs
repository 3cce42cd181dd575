//! Projects: those that the caller may read, and the builds of one.

use super::error::ApiError;
use super::lists::shown_now;
use super::{Api, Path, shapes};
use crate::read::builds::ReadError;
use axum::extract::State;
use axum::{Extension, Json};
use clusterrunner_common::api::projects::{ProjectBody, ProjectView, ProjectsBody};
use clusterrunner_common::api::{BuildView, BuildsBody};
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::http::clusterrunner::page::{NewestFirst, PageOfObjects};
use clusterrunner_common::http::clusterrunner::version::ApiVersion;
use clusterrunner_common::ids::{BuildId, ProjectId};
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use clusterrunner_core::accounts::projects::Project;
use clusterrunner_core::accounts::refusal::AccountRefusal;
use clusterrunner_core::refusal::Refusal;
use std::cmp::Reverse;
use std::sync::Arc;

/// Who has come here may read what is public.
fn may_read(caller: Caller, project: &Project) -> bool {
    access(caller, Subject::Project(project), true) >= Access::Read
}

/// The projects that the caller may see, those with the newest builds first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    PageOfObjects(page): PageOfObjects,
    version: ApiVersion,
) -> Result<Json<ProjectsBody>, ApiError> {
    let _turn = api.turns.take().await;
    let newest = api.builds.newest_of_projects().await?;
    let look = move |cluster: &Cluster| {
        let seen = cluster
            .projects()
            .filter(|project| may_read(caller, project));
        let mut ids: Vec<_> = seen
            .map(|project| (newest.get(&project.id).copied(), project.id))
            .collect();
        ids.sort_unstable_by_key(|of| Reverse(*of));
        let shown = ids[page.range(ids.len())].iter();
        let shown =
            shown.filter_map(|(last, id)| Some((*last, view(cluster, cluster.project(*id)?))));
        (shown.collect::<Vec<_>>(), ids.len())
    };
    let (shown, total) = api.cluster.read(look).await?;
    let mut projects = Vec::with_capacity(shown.len());
    for (last, mut project) in shown {
        if let Some(last) = last {
            let last = api.builds.whole_of(last).await?;
            project.last_build = build(&api, last, version).await?;
        }
        projects.push(project);
    }
    Ok(Json(ProjectsBody { projects, total }))
}

/// One project.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<ProjectId>,
    version: ApiVersion,
) -> Result<Json<ProjectBody>, ApiError> {
    let mut project = known(&api, caller, id).await?;
    if let Some(last) = api.builds.newest_of(id, None, 1).await?.first() {
        let last = api.builds.whole_of(*last).await?;
        project.last_build = build(&api, last, version).await?;
    }
    Ok(Json(ProjectBody { project }))
}

/// Builds of a project, the newest first.
pub(super) async fn builds(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<ProjectId>,
    newest: NewestFirst,
    version: ApiVersion,
) -> Result<Json<BuildsBody>, ApiError> {
    known(&api, caller, id).await?;
    let mut builds = Vec::new();
    let ids = api
        .builds
        .newest_of(id, newest.before, newest.limit)
        .await?;
    for id in ids {
        builds.extend(build(&api, id, version).await?);
    }
    Ok(Json(BuildsBody { builds }))
}

/// A project that the caller may see; without its last build.
async fn known(api: &Api, caller: Caller, id: ProjectId) -> Result<ProjectView, ApiError> {
    let look = move |cluster: &Cluster| {
        let project = cluster.project(id)?;
        may_read(caller, project).then(|| view(cluster, project))
    };
    let unknown = Refusal::Account(AccountRefusal::UnknownProject(id));
    Ok(api.cluster.read(look).await?.ok_or(unknown)?)
}

/// A build as lists show it; none if it was deleted meanwhile.
async fn build(api: &Api, id: BuildId, version: ApiVersion) -> Result<Option<BuildView>, ApiError> {
    let shown = shown_now(&api.running);
    match api.builds.seen(id, shown, shapes::ended_build).await {
        Ok(mut build) => {
            build.warnings.extend(api.results.damages(id));
            Ok(Some(shapes::in_version(build, version)))
        }
        Err(ReadError::Refused(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn view(cluster: &Cluster, project: &Project) -> ProjectView {
    // Whether a path may be used was settled when the URL was given.
    let url = project.git_url().map(|url| match GitUrl::parse(url, true) {
        Ok(url) => url.without_credentials(),
        Err(_) => String::new(),
    });
    ProjectView {
        id: project.id,
        name: project.name().to_owned(),
        owner: cluster
            .owner_name(project.owner)
            .unwrap_or_default()
            .to_owned(),
        description: project.description.clone(),
        is_private: !project.is_public(),
        url: url.filter(|url| !url.is_empty()),
        num_builds: cluster.num_builds_of(project.id),
        last_build: None,
    }
}
