//! Apps: making, showing and deleting them.

use super::Api;
use super::body::Fields;
use super::callers::Asking;
use super::error::DeisError;
use super::granted::{Granted, Owning, Reading, order};
use super::hosts::Hosts;
use super::names;
use super::pages::{List, Page};
use super::shapes::apps::AppView;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use clusterrunner_common::clock::random_bytes;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Subject};
use clusterrunner_core::apps::app::App;
use clusterrunner_core::apps::command::{AppCommand, AppRefusal};
use clusterrunner_core::event::Fact;
use clusterrunner_core::refusal::Refusal;
use std::sync::Arc;
use std::time::Duration;

/// The most characters of an id that are looked at; the core knows how many it may have.
const LONGEST: usize = 4096;

/// How often an id is made up until one is free.
const MADE_UP: usize = 32;

/// How long a new app waits for the SSH port.
const SETTLES: Duration = Duration::from_secs(5);

/// The apps that the caller may see, the oldest first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    asking: Asking,
    hosts: Hosts,
    page: Page,
) -> Result<Json<List<AppView>>, DeisError> {
    let look = move |cluster: &Cluster| {
        let may_see = |app: &&App| {
            let project = cluster.project(app.project);
            project.is_some_and(|project| asking.may(Subject::App(project)) >= Access::Read)
        };
        let mut apps: Vec<&App> = cluster.apps().filter(may_see).collect();
        apps.sort_by_key(|app| (app.created, app.project));
        page.map_all(&apps, |app| AppView::of(cluster, app, &hosts))
    };
    Ok(Json(api.cluster.read(look).await??))
}

/// Makes an app, under a made-up id where none is given.
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    asking: Asking,
    hosts: Hosts,
    fields: Fields,
) -> Result<(StatusCode, [(header::HeaderName, String); 1], Json<AppView>), DeisError> {
    if asking.may(Subject::Builds) < Access::Use {
        return Err(DeisError::Forbidden);
    }
    let given = fields.text("id", LONGEST)?;
    let project = match given.filter(|id| !id.is_empty()) {
        Some(id) => create_as(&api, asking, id).await?,
        None => create_as_any(&api, asking).await?,
    };
    // Its command line fetches from the new repository at once.
    let mut ssh_is_settled = api.ssh_is_settled.clone();
    let settled = ssh_is_settled.wait_for(|is_settled| *is_settled);
    tokio::time::timeout(SETTLES, settled).await.ok();
    let look = move |cluster: &Cluster| {
        let app = cluster.app(project)?;
        let location = hosts.address(&format!("/v1/apps/{}", app.id));
        Some((location, AppView::of(cluster, app, &hosts)))
    };
    let made = api.cluster.read(look).await?;
    let (location, view) = made.ok_or(DeisError::NotFound)?;
    let head = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, head, Json(view)))
}

async fn create_as(api: &Api, asking: Asking, id: String) -> Result<ProjectId, DeisError> {
    let facts = order(api, asking, AppCommand::Create { id }).await?;
    let made = facts.iter().find_map(|fact| match fact {
        Fact::App(project, _) => Some(*project),
        _ => None,
    });
    made.ok_or(DeisError::NotFound)
}

async fn create_as_any(api: &Api, asking: Asking) -> Result<ProjectId, DeisError> {
    let mut refused = None;
    for tries in 0..MADE_UP {
        let id = names::made_up(random_bytes(), tries);
        match create_as(api, asking, id).await {
            Err(DeisError::App(
                refusal @ (AppRefusal::IdTaken(_) | AppRefusal::ProjectDeployed(_)),
            )) => refused = Some(refusal),
            other => return other,
        }
    }
    let refusal = refused.unwrap_or(AppRefusal::IdTaken(String::new()));
    Err(Refusal::App(refusal).into())
}

/// One app.
pub(super) async fn app(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
    hosts: Hosts,
) -> Result<Json<AppView>, DeisError> {
    let look = move |cluster: &Cluster| {
        let app = cluster.app(granted.project)?;
        Some(AppView::of(cluster, app, &hosts))
    };
    let view = api.cluster.read(look).await?;
    view.map(Json).ok_or(DeisError::NotFound)
}

/// Deletes an app with all that it has.
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    granted: Granted<Owning>,
) -> Result<StatusCode, DeisError> {
    let project = granted.project;
    granted.order(&api, AppCommand::Destroy { project }).await?;
    Ok(StatusCode::NO_CONTENT)
}
