//! What set-ups have made: a slave brings it here, and other slaves get it. What is in it is theirs to check.

use super::Api;
use super::error::ApiError;
use super::multipart::{MAX_REPORT, Upload};
use super::sender::Sender;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::api::{KeptSetupReport, KeptSetupRequest, Success};
use clusterrunner_common::auth::gate::{Signed, SignedUpload};
use clusterrunner_common::disk::kept_entries::EntryKey;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::{SessionId, SlaveId};
use clusterrunner_core::Cluster;
use clusterrunner_core::refusal::Refusal;
use std::io;
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;

/// How much of an entry is read and sent at a time.
const CHUNK: usize = 128 << 10;

/// A slave asks for what another set-up has made.
pub(super) async fn give(
    State(api): State<Api>,
    sender: Sender,
    Signed(request): Signed<KeptSetupRequest>,
) -> Result<Response, ApiError> {
    let KeptSetupRequest {
        slave_id,
        session_id,
        key,
    } = request;
    let key = key_of(&key)?;
    sender.check(slave_id)?;
    check_known(&api, slave_id, session_id).await?;
    let kept = api.kept_setups.clone();
    let opened = spawn_blocking(move || kept.open_entry(&key)).await;
    let opened = opened.map_err(io::Error::other).and_then(|opened| opened);
    let opened = opened.map_err(|source| ApiError::Disk {
        what: "Reading what a set-up has made",
        source,
    })?;
    let (file, bytes) = opened.ok_or(ApiError::NoKeptSetup)?;
    let head = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, bytes.to_string()),
    ];
    let content = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK);
    Ok((head, Body::from_stream(content)).into_response())
}

/// A slave brings what a set-up has made. It takes the place of what is here: that slave did not get it, or it was damaged.
pub(super) async fn take(
    State(api): State<Api>,
    sender: Sender,
    SignedUpload { request, verdict }: SignedUpload,
) -> Result<Json<Success>, ApiError> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.unwrap_or(0);
    if let Some(most) = api.kept_setups.max_bytes().filter(|most| length > *most) {
        return Err(ApiError::Invalid(format!(
            "The master keeps at most {most} bytes of what set-ups have made (max_setup_cache_bytes)."
        )));
    }
    api.space.check(length)?;
    let mut upload = Upload::begin(request).await?;
    let report: KeptSetupReport = upload.report(MAX_REPORT).await?;
    let key = key_of(&report.key)?;
    sender.check(report.slave_id)?;
    check_known(&api, report.slave_id, report.session_id).await?;
    let part = api.kept_setups.part(&key);
    let file = upload.file().await?;
    let made = regular_file::create(part.path()).map_err(ApiError::storing)?;
    file.write_to(&api, made).await?;
    upload.end().await?;
    if !verdict.is_genuine() {
        // All parts are there, but not all of what was signed.
        return Err(ApiError::BrokenOff);
    }
    let kept = api.kept_setups.clone();
    let stored = spawn_blocking(move || kept.keep(&key, &part)).await;
    let stored = stored.map_err(io::Error::other).and_then(|stored| stored);
    stored.map_err(ApiError::storing)?;
    Ok(Json(Success::default()))
}

fn key_of(text: &str) -> Result<EntryKey, ApiError> {
    EntryKey::parse(text).ok_or_else(|| {
        ApiError::invalid("Field 'key' must be 64 hexadecimal digits in lower case.")
    })
}

/// Only a slave of the farm gets and brings something.
async fn check_known(api: &Api, slave: SlaveId, session: SessionId) -> Result<(), ApiError> {
    let known = api.cluster.read(move |cluster: &Cluster| {
        cluster.known_slave(slave, &session)?;
        Ok::<_, Refusal>(())
    });
    known.await??;
    Ok(api.heard(slave).await?)
}
