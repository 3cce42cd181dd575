//! What an app runs: its builds, in the words of this API.

use super::Api;
use super::body::Fields;
use super::error::DeisError;
use super::granted::{Granted, Reading, Using, released};
use super::pages::{List, Page};
use super::settling::settled;
use super::shapes::apps::{BuildView, X_DEIS_RELEASE};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use clusterrunner_core::Cluster;
use clusterrunner_core::apps::command::{AppCommand, NewAppBuild};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most characters of the name of an image.
const LONGEST_IMAGE: usize = 256;

/// The most characters of other texts that are looked at; the core knows what they may have.
const LONGEST: usize = 1 << 20;

/// All builds, the newest first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
    page: Page,
) -> Result<Json<List<BuildView>>, DeisError> {
    let look = move |cluster: &Cluster| {
        let app = cluster.app(granted.project).ok_or(DeisError::NotFound)?;
        let builds: Vec<_> = app.builds.iter().rev().collect();
        page.map_all(&builds, |build| BuildView::of(cluster, app, build))
    };
    Ok(Json(api.cluster.read(look).await??))
}

/// One build.
pub(super) async fn build(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
    Path((_, uuid)): Path<(String, String)>,
) -> Result<Json<BuildView>, DeisError> {
    let look = move |cluster: &Cluster| {
        let app = cluster.app(granted.project)?;
        let builds = app.builds.iter();
        let mut views = builds.map(|build| BuildView::of(cluster, app, build));
        views.find(|view| view.is(&uuid))
    };
    let view = api.cluster.read(look).await?;
    view.map(Json).ok_or(DeisError::NotFound)
}

/// Has an app run something else, and deploys that.
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    granted: Granted<Using>,
    fields: Fields,
) -> Result<(StatusCode, [(&'static str, String); 1], Json<BuildView>), DeisError> {
    let project = granted.project;
    let build = Box::new(new_build(&fields)?);
    let build = AppCommand::Build { project, build };
    let version = released(&granted.order(&api, build).await?)?;
    let look = move |cluster: &Cluster| {
        let app = cluster.app(project)?;
        let build = app.build_of(app.release(version)?)?;
        Some(BuildView::of(cluster, app, build))
    };
    let view = api.cluster.read(look).await?;
    let view = view.ok_or(DeisError::NotFound)?;
    settled(&api, project).await?;
    let head = [(X_DEIS_RELEASE, version.to_string())];
    Ok((StatusCode::CREATED, head, Json(view)))
}

/// What a body says of a build.
pub(super) fn new_build(fields: &Fields) -> Result<NewAppBuild, DeisError> {
    let text = |name: &str| {
        let text = fields.text(name, LONGEST);
        text.map(Option::unwrap_or_default)
    };
    Ok(NewAppBuild {
        image: fields.required("image", LONGEST_IMAGE)?,
        sha: text("sha")?,
        procfile: procfile(fields)?,
        dockerfile: text("dockerfile")?,
    })
}

fn procfile(fields: &Fields) -> Result<BTreeMap<String, String>, DeisError> {
    let map = fields.map("procfile")?.unwrap_or_default();
    let commands = map.into_iter().map(|(process, command)| match command {
        Value::String(command) => Ok((process, command)),
        _ => {
            let sentence = "Each process type must have a string: its command.";
            Err(DeisError::field("procfile", sentence))
        }
    });
    commands.collect()
}
