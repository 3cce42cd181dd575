//! Projects: making, showing, changing and deleting them, and who works on them.

use super::Api;
use super::body::{Body, Fields};
use super::error::PolyaxonError;
use super::granted::{Asking, Granted, Owning, Reading, Using};
use super::pages::{List, Page};
use super::said::{self, tags};
use super::shapes::projects::{CollaboratorView, ProjectView};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::ids::{ProjectId, UserId};
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Caller, Subject, UserCaller, access};
use clusterrunner_core::accounts::command::ProjectCommand;
use clusterrunner_core::accounts::projects::{NewProject, Project, ProjectChange};
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::Fact;
use std::sync::Arc;

/// How many characters the URL of a repository has at most.
const MAX_URL: usize = 2_000;

/// A user makes a project.
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Asking(caller): Asking,
    Body(fields): Body,
) -> Result<(StatusCode, Json<ProjectView>), PolyaxonError> {
    said::must_change(caller)?;
    let name = said::text(&fields, "name")?;
    let project = NewProject {
        name: name.ok_or_else(|| PolyaxonError::field("name", "This field is required."))?,
        description: said::text(&fields, "description")?,
        tags: tags(&fields)?,
        is_public: said::yes_or_no(&fields, "is_public")?.unwrap_or(true),
        git_url: git_url(&fields, &api)?,
    };
    let command = ProjectCommand::Create(Box::new(project));
    let facts = order(&api, caller, command).await?;
    let made = facts.iter().find_map(|fact| match fact {
        Fact::Project(id, _) => Some(*id),
        _ => None,
    });
    let made = made.ok_or(PolyaxonError::NotFound)?;
    Ok((StatusCode::CREATED, Json(shown(&api, caller, made).await?)))
}

/// The projects of a user that the caller may read, the latest change first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Asking(caller): Asking,
    Path(user): Path<String>,
    page: Page,
) -> Result<Json<List<ProjectView>>, PolyaxonError> {
    let look = move |cluster: &Cluster| {
        let owner = cluster.owner_named(&user)?;
        let projects = cluster.projects_of(owner);
        let mut visible: Vec<&Project> = projects.filter(|p| may_read(caller, p)).collect();
        visible.sort_by_key(|project| std::cmp::Reverse((project.updated(), project.id)));
        let range = page.range(visible.len());
        let wanted = visible.get(range).unwrap_or_default().iter();
        let views = wanted.map(|project| ProjectView::of(cluster, project, caller));
        Some(page.list(visible.len(), views.collect()))
    };
    let found = api.cluster.read(look).await?;
    Ok(Json(found.ok_or(PolyaxonError::NotFound)?))
}

/// A project.
pub(super) async fn project(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
) -> Result<Json<ProjectView>, PolyaxonError> {
    let view = shown(&api, granted.caller, granted.project.id);
    Ok(Json(view.await?))
}

/// Says something else of a project. What is not given stays.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    granted: Granted<Using>,
    Body(fields): Body,
) -> Result<Json<ProjectView>, PolyaxonError> {
    let (caller, project) = (granted.caller, granted.project.id);
    let change = Box::new(ProjectChange {
        name: said::text(&fields, "name")?,
        description: said::text(&fields, "description")?,
        tags: tags(&fields)?,
        is_public: said::yes_or_no(&fields, "is_public")?,
        git_url: git_url(&fields, &api)?,
    });
    let merge = said::merge(&fields)?;
    let command = ProjectCommand::Change {
        project,
        change,
        merge,
    };
    order(&api, caller, command).await?;
    Ok(Json(shown(&api, caller, project).await?))
}

/// Deletes a project with its builds.
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    granted: Granted<Owning>,
) -> Result<StatusCode, PolyaxonError> {
    let command = ProjectCommand::Delete(granted.project.id);
    order(&api, granted.caller, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who works on a project beside its owner.
pub(super) async fn collaborators(
    State(api): State<Arc<Api>>,
    granted: Granted<Using>,
    page: Page,
) -> Result<Json<List<CollaboratorView>>, PolyaxonError> {
    let users = granted.project.collaborators;
    let look = move |cluster: &Cluster| {
        let users = users.into_iter();
        let users = users.filter_map(|id| CollaboratorView::of(cluster, id));
        users.collect::<Vec<_>>()
    };
    let users = api.cluster.read(look).await?;
    Ok(Json(page.of_all(users)))
}

/// Lets a user do all with a project but delete it.
pub(super) async fn share(
    State(api): State<Arc<Api>>,
    granted: Granted<Owning>,
    Path((.., user)): Path<(String, String, String)>,
) -> Result<StatusCode, PolyaxonError> {
    about_user(&api, &granted, user, |project, user| {
        ProjectCommand::AddCollaborator { project, user }
    })
    .await
}

/// Lets a user do no more with a project than others.
pub(super) async fn unshare(
    State(api): State<Arc<Api>>,
    granted: Granted<Owning>,
    Path((.., user)): Path<(String, String, String)>,
) -> Result<StatusCode, PolyaxonError> {
    about_user(&api, &granted, user, |project, user| {
        ProjectCommand::RemoveCollaborator { project, user }
    })
    .await
}

/// Gives an order about a project and the user with a name.
async fn about_user(
    api: &Api,
    granted: &Granted<Owning>,
    name: String,
    command: impl FnOnce(ProjectId, UserId) -> ProjectCommand,
) -> Result<StatusCode, PolyaxonError> {
    let user = named(api, name).await?;
    let command = command(granted.project.id, user);
    order(api, granted.caller, command).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn named(api: &Api, name: String) -> Result<UserId, PolyaxonError> {
    let look = move |cluster: &Cluster| cluster.accounts().named(&name).map(|user| user.id);
    api.cluster.read(look).await?.ok_or(PolyaxonError::NotFound)
}

/// Whether a caller may see a project in a list.
pub(super) fn may_read(caller: UserCaller, project: &Project) -> bool {
    access(Caller::User(caller), Subject::Project(project), true) >= Access::Read
}

async fn order(
    api: &Api,
    caller: UserCaller,
    command: ProjectCommand,
) -> Result<Vec<Fact>, PolyaxonError> {
    let by = Actor::User(caller.id);
    let command = Command::Project { by, command };
    let events = api.cluster.command(command).await?.into_iter();
    Ok(events.map(|event| event.fact).collect())
}

/// The object of a project as it stands now.
async fn shown(api: &Api, caller: UserCaller, id: ProjectId) -> Result<ProjectView, PolyaxonError> {
    let look = move |cluster: &Cluster| {
        let project = cluster.project(id)?;
        Some(ProjectView::of(cluster, project, caller))
    };
    let view = api.cluster.read(look).await?;
    view.ok_or(PolyaxonError::NotFound)
}

/// The URL of the project's repository. Builds check it once more.
fn git_url(fields: &Fields, api: &Api) -> Result<Option<String>, PolyaxonError> {
    let Some(url) = fields.text("git_url", MAX_URL)? else {
        return Ok(None);
    };
    let url = url.trim();
    if !url.is_empty()
        && let Err(error) = GitUrl::parse(url, api.allow_local_sources)
    {
        return Err(PolyaxonError::field("git_url", format!("{error}.")));
    }
    Ok(Some(url.to_owned()))
}
