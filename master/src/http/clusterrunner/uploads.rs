//! The results that slaves upload: stored first, counted then, acknowledged last. Small ones wait in
//! memory until they are stored, large ones are streamed to disk.

use super::error::ApiError;
use super::original::uploads as original_uploads;
use super::recording::{Batch, Rejection};
use super::{Api, Path};
use crate::coordinator::CommandFailure;
use crate::core::command::{HandOut, Refusal};
use crate::read::metrics::InternalError;
use crate::store::results::{Block, UnusableResult};
use axum::Json;
use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{FromRequest as _, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::api::{
    RejectedResult, ResultEntry, ResultReport, ResultsAnswer, ResultsReport, Success,
};
use clusterrunner_common::auth::gate::{Proof, SignedUpload};
use clusterrunner_common::auth::signature::SignatureError;
use clusterrunner_common::ids::{BuildId, SubjobId};
use clusterrunner_common::results::block::CheckedResult;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;

/// The largest JSON part of an upload with one result,
pub(super) const MAX_REPORT: usize = 64 << 10;

/// and with many.
const MAX_REPORTS: usize = 1 << 20;

/// How long an upload may bring nothing: a slave that died in the middle leaves no trace on its
/// connection.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// Results up to this size are kept in memory until they are stored,
const SMALL_RESULT: usize = 256 << 10;

/// and those up to this size if not too many are already.
const MEDIUM_RESULT: usize = 4 << 20;

/// After how many bytes the space that is left is looked at again.
const SPACE_CHECK: usize = 4 << 20;

/// What the original says to a GET: single results can not be read, only the build's archives.
pub(super) async fn nothing_to_read() -> Json<Value> {
    Json(json!({"status": "not implemented"}))
}

pub(super) async fn receive(
    State(api): State<Api>,
    Path((build, subjob)): Path<(BuildId, SubjobId)>,
    proof: Proof,
    upload: SignedUpload,
) -> Response {
    let received = if proof.is_weak() {
        original_uploads::receive_result(&api, build, subjob, upload.request).await
    } else {
        receive_result(&api, build, subjob, upload).await
    };
    match received {
        Ok(()) => (StatusCode::OK, Json(Success::default())).into_response(),
        Err(error) => {
            count_failure(&api, &error);
            error.into_response()
        }
    }
}

/// Many results in one request.
pub(super) async fn receive_many(
    State(api): State<Api>,
    Path(build): Path<BuildId>,
    upload: SignedUpload,
) -> Result<Json<ResultsAnswer>, ApiError> {
    let rejected = take(&api, build, upload, MAX_REPORTS, Ok).await;
    let rejected = rejected.inspect_err(|error| count_failure(&api, error))?;
    Ok(Json(ResultsAnswer {
        status: Success::default().status,
        position: Some(api.cluster.position()),
        rejected: rejected.into_iter().map(RejectedResult::from).collect(),
    }))
}

async fn receive_result(
    api: &Api,
    build: BuildId,
    subjob: SubjobId,
    upload: SignedUpload,
) -> Result<(), ApiError> {
    let of_one = |report: ResultReport| {
        let (Some(slave_id), Some(attempt), Some(session_id)) =
            (report.slave_id, report.attempt, report.session_id)
        else {
            return Err(invalid(
                "The field __encoded_body__ must have slave_id, session_id and attempt.",
            ));
        };
        let entry = ResultEntry {
            subjob_id: subjob,
            attempt,
            executor_id: report.metric_data.and_then(|metrics| metrics.executor_id),
            atoms: report.atoms,
        };
        Ok(ResultsReport {
            slave_id,
            session_id,
            incarnation: report.incarnation,
            results: vec![entry],
        })
    };
    let rejected = take(api, build, upload, MAX_REPORT, of_one).await?;
    match rejected.into_iter().next() {
        None => Ok(()),
        Some(rejection) => Err(rejection.error),
    }
}

fn count_failure(api: &Api, error: &ApiError) {
    if matches!(error, ApiError::Disk { .. }) {
        api.measured.count(InternalError::SubjobWriteFailure);
    }
}

/// Takes an upload in: the report first, then the file with what it reports, and nothing behind it.
/// The file's name means nothing. What was not recorded.
async fn take<R: DeserializeOwned>(
    api: &Api,
    build: BuildId,
    upload: SignedUpload,
    max_report: usize,
    meaning: impl FnOnce(R) -> Result<ResultsReport, ApiError>,
) -> Result<Vec<Rejection>, ApiError> {
    let SignedUpload { request, verdict } = upload;
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    api.space.check(length.unwrap_or(0))?;
    let mut parts = Multipart::from_request(request, &())
        .await
        .map_err(|error| invalid(format!("Not an upload of a result: {}.", error.body_text())))?;
    let mut part = next_part(&mut parts).await?;
    if part.name() != Some("__encoded_body__") {
        return Err(invalid("The first field must be __encoded_body__."));
    }
    let report = small(&mut part, max_report).await?;
    drop(part);
    let report = clusterrunner_common::text::json::from_slice::<R>(&report).map_err(|error| {
        invalid(format!(
            "The field __encoded_body__ is not as it should be: {error}."
        ))
    })?;
    let batch = Batch::look(api, build, meaning(report)?).await?;
    let mut file = next_part(&mut parts).await?;
    if file.name() != Some("file") {
        return Err(invalid("Result file not provided"));
    }
    let payload = if batch.is_wanted() {
        Some(save(&mut file, api, build).await?)
    } else {
        while next_chunk(&mut file).await?.is_some() {}
        None
    };
    drop(file);
    nothing_more(&mut parts).await?;
    drop(parts);
    if !verdict.is_genuine() {
        // All parts are there, but not all of what was signed.
        return Err(ApiError::BrokenOff);
    }
    batch.record(api, payload).await
}

/// The next field of an upload, which must be there.
pub(super) async fn next_part(parts: &mut Multipart) -> Result<Field<'_>, ApiError> {
    let part = parts.next_field().await;
    let part = part.map_err(|error| broken_off(&error))?;
    part.ok_or_else(|| invalid("Result file not provided"))
}

/// Only then it is sure that nothing of the file is missing.
pub(super) async fn nothing_more(parts: &mut Multipart) -> Result<(), ApiError> {
    let more = parts.next_field().await;
    match more.map_err(|error| broken_off(&error))? {
        None => Ok(()),
        Some(_) => Err(invalid("There must be nothing behind the file.")),
    }
}

/// A result that came in, and the leave to hold it in memory if it needs one.
pub(super) struct Payload {
    pub(super) block: Block,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// Looks a result through that came for this hand-out. The inner error says why it can not be used.
pub(super) async fn check(
    api: &Api,
    hand_out: HandOut,
    received: Block,
    num_atoms: usize,
) -> Result<Result<(Block, CheckedResult), UnusableResult>, ApiError> {
    let results = api.results.clone();
    let checked = tokio::task::spawn_blocking(move || {
        results.check(hand_out.build, received, hand_out.subjob, num_atoms)
    });
    let checked = checked
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    Ok(checked.map_err(disk)?.map_err(UnusableResult::from))
}

/// The hand-out stopped counting while its result came in. If its build was even forgotten
/// meanwhile, nothing will ever ask for what is stored of it.
pub(super) async fn remove_stale(
    api: &Api,
    failure: &CommandFailure,
    build: BuildId,
) -> Result<(), ApiError> {
    if !matches!(
        failure,
        CommandFailure::Refused(Refusal::StaleAttempt { .. } | Refusal::ForgottenBuild(_))
    ) {
        return Ok(());
    }
    let is_forgotten = api.cluster.read(move |cluster| cluster.is_forgotten(build));
    if is_forgotten.await? {
        let results = api.results.clone();
        let removed = tokio::task::spawn_blocking(move || results.remove(build)).await;
        if let Err(error) = removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(build.id = build.0, %error, "could not remove a stale result");
        }
    }
    Ok(())
}

pub(super) fn disk(source: io::Error) -> ApiError {
    ApiError::Disk {
        what: "Storing a result",
        source,
    }
}

pub(super) fn invalid(error: impl Into<String>) -> ApiError {
    ApiError::Invalid(error.into())
}

pub(super) fn broken_off(error: &axum::extract::multipart::MultipartError) -> ApiError {
    if is_cut_off(error) {
        return ApiError::BrokenOff;
    }
    invalid(format!("The upload broke off: {}.", error.body_text()))
}

/// Whether the connection ended in the middle. The sender did nothing wrong then, and tries again;
/// a body that is not what was signed ends in an error of the stream, too.
fn is_cut_off(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut chain = std::iter::successors(Some(error), |error| error.source());
    let failed = chain.find_map(|error| error.downcast_ref::<io::Error>());
    failed.is_some_and(|failed| {
        !failed
            .get_ref()
            .is_some_and(|cause| cause.is::<SignatureError>())
    })
}

pub(super) async fn next_chunk(part: &mut Field<'_>) -> Result<Option<Bytes>, ApiError> {
    let chunk = tokio::time::timeout(IDLE_LIMIT, part.chunk()).await;
    let chunk = chunk.map_err(|_| ApiError::BrokenOff)?;
    chunk.map_err(|error| broken_off(&error))
}

pub(super) async fn small(part: &mut Field<'_>, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut text = Vec::new();
    while let Some(chunk) = next_chunk(part).await? {
        text.extend_from_slice(&chunk);
        if text.len() > limit {
            return Err(invalid("The field __encoded_body__ is too long."));
        }
    }
    Ok(text)
}

/// Reads a result to its end: into memory, or into a file as soon as it is too large.
pub(super) async fn save(
    part: &mut Field<'_>,
    api: &Api,
    build: BuildId,
) -> Result<Payload, ApiError> {
    let mut bytes = Vec::new();
    let mut room = None;
    let mut unchecked = 0;
    while let Some(chunk) = next_chunk(part).await? {
        // Many that come at a time can together use up what was enough for each.
        unchecked += chunk.len();
        if unchecked >= SPACE_CHECK {
            api.space.check(0)?;
            unchecked = 0;
        }
        bytes.extend_from_slice(&chunk);
        if bytes.len() > SMALL_RESULT && room.is_none() {
            room = api.results.room_in_memory();
        }
        if bytes.len() > SMALL_RESULT && (room.is_none() || bytes.len() > MEDIUM_RESULT) {
            let block = save_large(part, api, build, &bytes).await?;
            return Ok(Payload { block, room: None });
        }
    }
    let block = Block::Memory(bytes);
    Ok(Payload { block, room })
}

async fn save_large(
    part: &mut Field<'_>,
    api: &Api,
    build: BuildId,
    beginning: &[u8],
) -> Result<Block, ApiError> {
    let incoming = api.results.incoming(build).map_err(disk)?;
    let file = incoming.file().try_clone().map_err(disk)?;
    let mut file = tokio::fs::File::from_std(file);
    file.write_all(beginning).await.map_err(disk)?;
    let mut unchecked = 0;
    while let Some(chunk) = next_chunk(part).await? {
        unchecked += chunk.len();
        if unchecked >= SPACE_CHECK {
            api.space.check(0)?;
            unchecked = 0;
        }
        file.write_all(&chunk).await.map_err(disk)?;
    }
    file.flush().await.map_err(disk)?;
    Ok(Block::File(incoming))
}
