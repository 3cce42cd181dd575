//! The results that slaves upload: stored first, counted then, acknowledged last. Small ones wait in
//! memory until they are stored, large ones are streamed to disk.

use super::error::ApiError;
use super::{Api, Path, legacy_uploads};
use crate::cluster::command::{Command, HandOut, Refusal};
use crate::coordinator::CommandFailure;
use crate::metrics::InternalError;
use crate::results::{Block, UnusableResult, add_reports, outcomes};
use axum::Json;
use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{FromRequest as _, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::api::{ResultReport, Success};
use clusterrunner_common::auth::SignatureError;
use clusterrunner_common::ids::{BuildId, SubjobId};
use clusterrunner_common::result_block::CheckedResult;
use clusterrunner_common::signed::{Proof, SignedUpload};
use serde_json::{Value, json};
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;

/// The largest JSON part of an upload.
const MAX_REPORT: usize = 64 << 10;

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
        legacy_uploads::receive_result(&api, build, subjob, upload.request).await
    } else {
        receive_result(&api, build, subjob, upload).await
    };
    match received {
        Ok(()) => (StatusCode::OK, Json(Success::default())).into_response(),
        Err(error) => {
            if matches!(error, ApiError::Disk { .. }) {
                api.measured.count(InternalError::SubjobWriteFailure);
            }
            error.into_response()
        }
    }
}

async fn receive_result(
    api: &Api,
    build: BuildId,
    subjob: SubjobId,
    upload: SignedUpload,
) -> Result<(), ApiError> {
    let known = api.cluster.read(move |cluster| {
        if cluster.is_ended(build) {
            // Its hand-out is found to be stale below.
            return Ok(());
        }
        let unknown = match cluster.is_forgotten(build) {
            true => Refusal::ForgottenBuild(build),
            false => Refusal::UnknownBuild(build),
        };
        let known = cluster.build(build).ok_or(unknown)?;
        known
            .subjob(subjob)
            .map(|_| ())
            .ok_or(Refusal::UnknownSubjob(subjob))
    });
    known.await??;
    let length = upload.request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    api.space.check(length.unwrap_or(0))?;
    let (report, payload) = store(api, build, &upload.verdict.clone(), upload).await?;
    let hand_out = hand_out(&report, build, subjob)?;
    let session = report.session_id.clone();
    let wanted = api.cluster.read(move |cluster| {
        if let Some(session) = &session {
            cluster.known_slave(hand_out.slave, session)?;
        }
        let atoms = cluster.build(build).and_then(|build| build.subjob(subjob));
        let num_atoms = atoms.map_or(0, |subjob| subjob.atoms.len());
        Ok::<_, Refusal>((cluster.is_repeated(hand_out)?, num_atoms))
    });
    let (repeated, num_atoms) = wanted.await??;
    api.cluster.heard(hand_out.slave).await?;
    if repeated {
        return Ok(());
    }
    // Until the end of this, when the block is stored.
    let Payload { block, room: _room } = payload;
    let checked = check(api, hand_out, block, num_atoms).await?;
    let checked = checked.and_then(|(block, result)| {
        let mut outcomes = outcomes(&result);
        add_reports(&mut outcomes, &report.atoms)?;
        Ok((block, result, outcomes))
    });
    match checked {
        Ok((block, result, outcomes)) => {
            let stored = vec![(result, hand_out.attempt)];
            api.results
                .append(build, block, stored)
                .await
                .map_err(disk)?;
            let finished = Command::ReportFinished { hand_out, outcomes };
            match api.cluster.command(finished).await {
                Ok(_) => Ok(()),
                Err(failure) => {
                    remove_stale(api, &failure, build).await?;
                    Err(failure.into())
                }
            }
        }
        Err(unusable) => {
            let reason = unusable.to_string();
            let unusable = Command::ReportUnusable {
                hand_out,
                reason: format!("its result can not be used: {reason}"),
            };
            api.cluster.command(unusable).await?;
            Err(ApiError::UnusableResult(reason))
        }
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

fn hand_out(report: &ResultReport, build: BuildId, subjob: SubjobId) -> Result<HandOut, ApiError> {
    let (Some(slave), Some(attempt), Some(_)) =
        (report.slave_id, report.attempt, &report.session_id)
    else {
        return Err(invalid(
            "The field __encoded_body__ must have slave_id, session_id and attempt.",
        ));
    };
    Ok(HandOut {
        slave,
        build,
        subjob,
        attempt,
    })
}

/// Takes the parts of the upload apart. The file name that comes with it means nothing.
async fn store(
    api: &Api,
    build: BuildId,
    verdict: &clusterrunner_common::signed::UploadVerdict,
    upload: SignedUpload,
) -> Result<(ResultReport, Payload), ApiError> {
    let mut parts = Multipart::from_request(upload.request, &())
        .await
        .map_err(|error| invalid(format!("Not an upload of a result: {}.", error.body_text())))?;
    let (mut report, mut payload) = (None, None);
    while let Some(mut part) = parts
        .next_field()
        .await
        .map_err(|error| broken_off(&error))?
    {
        match part.name() {
            Some("__encoded_body__") if report.is_none() => {
                let text = small(&mut part).await?;
                let parsed = clusterrunner_common::json::from_slice::<ResultReport>(&text);
                report = Some(parsed.map_err(|error| {
                    invalid(format!(
                        "The field __encoded_body__ is not as it should be: {error}."
                    ))
                })?);
            }
            Some("file") if payload.is_none() => {
                payload = Some(save(&mut part, api, build).await?);
            }
            _ => {
                return Err(invalid(
                    "An upload has one field __encoded_body__ and one file.",
                ));
            }
        }
    }
    drop(parts);
    if !verdict.is_genuine() {
        // All parts are there, but not all of what was signed.
        return Err(ApiError::BrokenOff);
    }
    let report = report.ok_or_else(|| invalid("The field __encoded_body__ is missing."))?;
    let payload = payload.ok_or_else(|| invalid("Result file not provided"))?;
    Ok((report, payload))
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

pub(super) async fn small(part: &mut Field<'_>) -> Result<Vec<u8>, ApiError> {
    let mut text = Vec::new();
    while let Some(chunk) = next_chunk(part).await? {
        text.extend_from_slice(&chunk);
        if text.len() > MAX_REPORT {
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
