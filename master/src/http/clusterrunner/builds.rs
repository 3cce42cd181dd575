//! Submitting a build, and canceling one.

use super::again::{Again, only_submits, takes_from_others};
use super::error::ApiError;
use super::private::may_change;
use super::working_trees;
use super::{Api, Path};
use crate::coordinator::Gone;
use crate::http::caller::actor;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::{Extension, Json};
use clusterrunner_common::api::build_request::{InvalidRequest, LINK_PARAMETER};
use clusterrunner_common::api::{BuildAccepted, Success};
use clusterrunner_common::auth::gate::Signed;
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::config::JobConfigError;
use clusterrunner_common::job::file::{JobFileError, read_job};
use clusterrunner_common::remote_files::{RemoteFileRules, check_remote_files};
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use clusterrunner_core::access::Caller;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{BuildFact, Fact};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Accepts a build: answered once it is on disk.
pub(super) async fn submit(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Signed(body): Signed<Value>,
) -> Result<(StatusCode, Json<BuildAccepted>), ApiError> {
    let (command, _using) = match Again::from_json(&body)? {
        Some(again) => again.command(&api, caller).await?,
        None => {
            let mut request = checked(&body, &api.remote_files)?;
            check_job(&request).await?;
            if let Some(before) = request.retry_of {
                may_change(&api, caller, before).await?;
                request.is_brought_by_others =
                    takes_from_others(&api, caller, &request, before).await;
            }
            request.is_brought_by_others |= only_submits(caller) && request.brings_something();
            let using = working_trees::used(&api, caller, &request).await?;
            let (by, request) = (actor(caller), Box::new(request));
            (Command::QueueBuild { by, request }, using)
        }
    };
    let warnings = ignored(&body);
    api.space.check(0)?;
    let events = api.cluster.command(command).await?;
    let queued = events.iter().find_map(|event| match &event.fact {
        Fact::Build(build, BuildFact::Queued { .. }) => Some(*build),
        _ => None,
    });
    let accepted = BuildAccepted {
        build_id: queued.ok_or(Gone)?,
        status: "SUCCESS".to_owned(),
        documented_status: "SUCCESS".to_owned(),
        warnings,
    };
    for warning in &accepted.warnings {
        tracing::warn!(build.id = accepted.build_id.0, "{warning}");
    }
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

/// What a body asks for, with all checked that can be without going there.
pub(crate) fn checked(body: &Value, rules: &RemoteFileRules) -> Result<BuildRequest, ApiError> {
    let request = BuildRequest::from_json(body)?;
    let request = BuildRequest {
        project: resolved(request.project)?,
        ..request
    };
    check_sources(&request, rules)?;
    Ok(request)
}

/// A job that a directory of this machine does not have is refused at once. Whatever else is wrong there may be right when
/// the build is prepared.
async fn check_job(request: &BuildRequest) -> Result<(), ApiError> {
    let (ProjectSource::Directory { project_directory }, None) =
        (&request.project, &request.config)
    else {
        return Ok(());
    };
    let project = PathBuf::from(project_directory);
    let job_name = request.job_name.clone();
    let reading = spawn_blocking(move || read_job(None, job_name.as_deref(), &project));
    match reading.await {
        Ok(Err(JobFileError::Job(
            error @ (JobConfigError::UnknownJob { .. } | JobConfigError::JobNotSpecified { .. }),
        ))) => Err(ApiError::InvalidJob(error)),
        _ => Ok(()),
    }
}

/// The project where this process finds it: a relative path of a directory is meant from here on, as in the
/// original.
fn resolved(project: ProjectSource) -> Result<ProjectSource, ApiError> {
    let here = std::env::current_dir().map_err(|source| ApiError::Disk {
        what: "Finding the master's directory",
        source,
    });
    Ok(project.resolved(&here?))
}

/// What of an accepted request has no effect.
fn ignored(body: &Value) -> Vec<String> {
    let has_link = body.get(LINK_PARAMETER).is_some_and(|link| !link.is_null());
    let warning = "Field 'build_project_directory' has no effect: no links are made here.";
    has_link.then(|| warning.to_owned()).into_iter().collect()
}

/// What can be known to be wrong about sources without going there.
fn check_sources(request: &BuildRequest, rules: &RemoteFileRules) -> Result<(), ApiError> {
    check_remote_files(&request.remote_files, rules).map_err(ApiError::InvalidRemoteFile)?;
    let ProjectSource::Git { url, remote, .. } = &request.project else {
        return Ok(());
    };
    let check = |field, url: &str| match GitUrl::parse(url, rules.allow_local_sources) {
        Ok(_) => Ok(()),
        Err(source) => Err(ApiError::InvalidUrl { field, source }),
    };
    check("url", url)?;
    match remote.as_deref() {
        None | Some("" | "origin") => Ok(()),
        Some(fork) if fork.contains(['/', ':']) => check("remote", fork),
        Some(_) => Err(ApiError::InvalidBuild(InvalidRequest::Field {
            field: "remote".to_owned(),
            expected: "\"origin\" or the URL of a fork of the repository".to_owned(),
        })),
    }
}

/// A build that there is and that the caller may change.
#[derive(Debug)]
pub(super) struct Changed {
    build: BuildId,
    by: Actor,
}

impl FromRequestParts<Arc<Api>> for Changed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let build = Path::<BuildId>::from_request_parts(parts, api).await;
        let Path(build) = build.map_err(|_| ApiError::NoRoute)?;
        let caller = parts.extensions.get::<Caller>().copied();
        let caller = caller.unwrap_or(Caller::Nobody);
        may_change(api, caller, build).await?;
        let by = actor(caller);
        Ok(Self { build, by })
    }
}

/// Cancels a build, or leaves a message in it. Refusals have the original's words.
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Changed { build, by }: Changed,
    Signed(body): Signed<Value>,
) -> Result<Json<Success>, ApiError> {
    let Value::Object(changes) = &body else {
        let error = "The request body must be an object: {\"status\": \"canceled\"}.";
        return Err(ApiError::InvalidChange(error.to_owned()));
    };
    if let Some(note) = changes.get("note") {
        let note = checked_note(changes, note)?;
        api.cluster
            .command(Command::NoteOnBuild { by, build, note })
            .await?;
        return Ok(Json(Success::default()));
    }
    if let Some(key) = changes.keys().find(|key| *key != "status") {
        let error = format!("Key ({key}) is not in list of allowed keys (status)");
        return Err(ApiError::InvalidChange(error));
    }
    match changes.get("status") {
        Some(Value::String(status)) if status == "canceled" => {}
        Some(other) => {
            let shown = other
                .as_str()
                .map_or_else(|| other.to_string(), str::to_owned);
            return Err(ApiError::InvalidChange(format!(
                "Value ({shown}) is not in list of allowed values (['canceled']) for status"
            )));
        }
        None => {
            let error = "Nothing to change: send {\"status\": \"canceled\"}.".to_owned();
            return Err(ApiError::InvalidChange(error));
        }
    }
    api.cluster
        .command(Command::CancelBuild { by, build })
        .await?;
    Ok(Json(Success::default()))
}

/// The message of a change that has nothing else.
fn checked_note(changes: &Map<String, Value>, note: &Value) -> Result<String, ApiError> {
    let text = note.as_str().map(str::trim).unwrap_or_default();
    let error = match (text, changes.len()) {
        ("", _) => "Field 'note' must be a text that is not empty.",
        (_, 1) => return Ok(text.to_owned()),
        _ => "Field 'note' must stand alone: send other changes by themselves.",
    };
    Err(ApiError::InvalidChange(error.to_owned()))
}
