//! Bookmarks: setting them, taking them back, and lists of them.

use super::Api;
use super::builds;
use super::error::PolyaxonError;
use super::granted::{Asking, Granted, GrantedBuild, Reading};
use super::pages::{List, Page};
use super::projects::may_read;
use super::said;
use super::shapes::builds::BuildView;
use super::shapes::projects::ProjectView;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::ids::{BuildId, UserId};
use clusterrunner_core::Cluster;
use clusterrunner_core::access::UserCaller;
use clusterrunner_core::accounts::bookmarks::Markable;
use clusterrunner_core::accounts::command::ProjectCommand;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use serde::Serialize;
use std::sync::Arc;

/// What a user has marked, in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Marked<T> {
    content_object: T,
}

/// Marks a project.
pub(super) async fn mark_project(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
) -> Result<StatusCode, PolyaxonError> {
    mark(&api, granted.caller, Markable::Project(granted.project.id)).await
}

/// Takes the mark of a project back.
pub(super) async fn unmark_project(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
) -> Result<StatusCode, PolyaxonError> {
    unmark(&api, granted.caller, Markable::Project(granted.project.id)).await
}

/// Marks a build.
pub(super) async fn mark_build(
    State(api): State<Arc<Api>>,
    granted: GrantedBuild<Reading>,
) -> Result<StatusCode, PolyaxonError> {
    mark(&api, granted.of.caller, Markable::Build(granted.build)).await
}

/// Takes the mark of a build back.
pub(super) async fn unmark_build(
    State(api): State<Arc<Api>>,
    granted: GrantedBuild<Reading>,
) -> Result<StatusCode, PolyaxonError> {
    unmark(&api, granted.of.caller, Markable::Build(granted.build)).await
}

async fn mark(api: &Api, caller: UserCaller, what: Markable) -> Result<StatusCode, PolyaxonError> {
    said::must_change(caller)?;
    let user = caller.id;
    order(api, user, ProjectCommand::Bookmark { user, what }).await?;
    Ok(StatusCode::CREATED)
}

async fn unmark(
    api: &Api,
    caller: UserCaller,
    what: Markable,
) -> Result<StatusCode, PolyaxonError> {
    said::must_change(caller)?;
    let user = caller.id;
    order(api, user, ProjectCommand::TakeBookmarkBack { user, what }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn order(api: &Api, user: UserId, command: ProjectCommand) -> Result<(), PolyaxonError> {
    let by = Actor::User(user);
    api.cluster
        .command(Command::Project { by, command })
        .await?;
    Ok(())
}

/// What a user has marked of a kind, the latest mark first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Asking(caller): Asking,
    Path((user, kind)): Path<(String, String)>,
    page: Page,
) -> Result<Response, PolyaxonError> {
    let look = move |cluster: &Cluster| cluster.accounts().named(&user).map(|user| user.id);
    let named = api.cluster.read(look).await?;
    // What others have marked is nobody's business.
    let user = named.filter(|user| *user == caller.id || caller.is_superuser);
    match kind.as_str() {
        "builds" => {
            let list = marked_builds(&api, caller, user, &page).await?;
            Ok(Json(list).into_response())
        }
        "projects" => {
            let list = marked_projects(&api, caller, user, page).await?;
            Ok(Json(list).into_response())
        }
        // The farm has none of these.
        "experiments" | "groups" | "jobs" => {
            let none: Vec<Marked<BuildView>> = Vec::new();
            Ok(Json(page.of_all(none)).into_response())
        }
        _ => Err(PolyaxonError::NotFound),
    }
}

async fn marked_projects(
    api: &Api,
    caller: UserCaller,
    user: Option<UserId>,
    page: Page,
) -> Result<List<Marked<ProjectView>>, PolyaxonError> {
    let look = move |cluster: &Cluster| {
        let marked = user.map(|user| cluster.bookmarked_projects(user));
        let projects = marked.into_iter().flatten();
        let projects = projects.filter_map(|id| cluster.project(id));
        let visible: Vec<_> = projects.filter(|p| may_read(caller, p)).collect();
        let range = page.range(visible.len());
        let wanted = visible.get(range).unwrap_or_default().iter();
        let views = wanted.map(|project| Marked {
            content_object: ProjectView::of(cluster, project, caller),
        });
        page.list(visible.len(), views.collect())
    };
    Ok(api.cluster.read(look).await?)
}

async fn marked_builds(
    api: &Api,
    caller: UserCaller,
    user: Option<UserId>,
    page: &Page,
) -> Result<List<Marked<BuildView>>, PolyaxonError> {
    let look = move |cluster: &Cluster| {
        let marked = user.map(|user| cluster.bookmarked_builds(user));
        let builds = marked.into_iter().flatten();
        let is_visible = |id: &BuildId| {
            let project = cluster.project_of(*id);
            project.is_some_and(|project| may_read(caller, project))
        };
        builds.filter(is_visible).collect::<Vec<_>>()
    };
    let visible = api.cluster.read(look).await?;
    let wanted = visible.get(page.range(visible.len())).unwrap_or_default();
    let views = builds::views(api, caller, wanted).await?;
    let marked = views.into_iter();
    let marked = marked.map(|content_object| Marked { content_object });
    Ok(page.list(visible.len(), marked.collect()))
}
