//! The statuses of a build: all, one, and one more.

use super::Api;
use super::body::{Body, Fields};
use super::error::PolyaxonError;
use super::failures::Failed;
use super::granted::{GrantedBuild, Reading, Using};
use super::pages::{List, Page};
use super::shapes::statuses::{self, StatusView, WORDS};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use clusterrunner_core::actor::Actor;
use clusterrunner_core::builds::status::PostedStatus;
use clusterrunner_core::command::Command;
use std::sync::Arc;

/// How many characters the message of a posted status has at most.
const MAX_MESSAGE: usize = 1000;

/// How many characters its traceback has at most.
const MAX_TRACEBACK: usize = 10_000;

/// All statuses, the oldest first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    build: GrantedBuild<Reading>,
    page: Page,
) -> Result<Json<List<StatusView>>, PolyaxonError> {
    let statuses = of_build(&api, build.build).await?;
    Ok(Json(page.of_all(statuses)))
}

/// One status, by its uuid.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    build: GrantedBuild<Reading>,
    Path(path): Path<(String, String, String, String)>,
) -> Result<Json<StatusView>, PolyaxonError> {
    let uuid = path.3.replace('-', "").to_ascii_lowercase();
    let mut statuses = of_build(&api, build.build).await?.into_iter();
    let found = statuses.find(|status| status.uuid == uuid);
    Ok(Json(found.ok_or(PolyaxonError::NotFound)?))
}

/// One more status, by a caller that runs the work itself. A build that the farm runs is for its owner to change.
pub(super) async fn post(
    State(api): State<Arc<Api>>,
    build: GrantedBuild<Using>,
    Body(fields): Body,
) -> Result<(StatusCode, Json<StatusView>), PolyaxonError> {
    let posted = Box::new(posted(&fields)?);
    let status = posted.status;
    let id = build.build;
    let project = &build.of.project;
    let may = access(
        Caller::User(build.of.caller),
        Subject::Project(project),
        true,
    );
    let is_run = api.cluster.read(move |cluster| {
        let build = cluster.build(id);
        build.is_some_and(|build| !build.is_over())
    });
    if may < Access::Own && is_run.await? {
        return Err(PolyaxonError::Forbidden);
    }
    let by = Actor::User(build.of.caller.id);
    let command = Command::PostStatus {
        by,
        build: id,
        posted,
    };
    api.cluster.command(command).await?;
    // Others may have come since.
    let mut statuses = of_build(&api, id).await?.into_iter().rev();
    let shown = statuses.find(|shown| shown.status == statuses::word(status));
    let shown = shown.ok_or(PolyaxonError::NotFound)?;
    Ok((StatusCode::CREATED, Json(shown)))
}

/// What a body says.
fn posted(fields: &Fields) -> Result<PostedStatus, PolyaxonError> {
    let status = fields.text("status", 32)?;
    let status = status.ok_or_else(|| PolyaxonError::field("status", "This field is required."))?;
    let known = statuses::named(&status).ok_or_else(|| {
        let sentence = format!("\"{status}\" is not a valid choice: choose one of {WORDS}.");
        PolyaxonError::field("status", sentence)
    })?;
    Ok(PostedStatus {
        status: known,
        message: fields.text("message", MAX_MESSAGE)?,
        traceback: fields.text("traceback", MAX_TRACEBACK)?,
    })
}

/// The statuses of a build, wherever it is.
async fn of_build(api: &Api, id: BuildId) -> Result<Vec<StatusView>, PolyaxonError> {
    let seen = api.builds.seen(
        id,
        |_, build| {
            let subjobs = build.subjobs.iter().map(Arc::as_ref);
            (statuses::of_build(build, subjobs), Failed::of(build))
        },
        |archived| {
            let build = &archived.build;
            let failed = archived.failed.iter().map(|(_, subjob)| subjob);
            (statuses::of_build(build, failed), Failed::of(build))
        },
    );
    let (mut statuses, failed) = seen.await?;
    if let Some(failed) = failed
        && let Some(cause) = failed.cause(api).await
        && let Some(last) = statuses.last_mut()
    {
        last.message = Some(cause);
    }
    Ok(statuses)
}
