//! How an upload of results is read: a report first, then one file, and nothing behind it. Small files wait in memory
//! until they are stored, large ones are streamed to disk.

use super::Api;
use super::error::ApiError;
use crate::store::results::Block;
use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest as _, Request};
use clusterrunner_common::auth::signature::SignatureError;
use clusterrunner_common::ids::BuildId;
use serde::de::DeserializeOwned;
use std::io;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;

/// The largest report of one result, in bytes,
pub(super) const MAX_REPORT: usize = 64 << 10;

/// and of many.
pub(super) const MAX_REPORTS: usize = 1 << 20;

/// How long an upload may bring nothing: a slave that died in the middle leaves no trace on its
/// connection.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// Results up to this size are held in memory until they are stored,
const SMALL_RESULT: usize = 256 << 10;

/// and those up to this size if not too many are already.
const MEDIUM_RESULT: usize = 4 << 20;

/// After how many bytes the free space is checked again.
const SPACE_CHECK: usize = 4 << 20;

/// The name of the field with the report.
const REPORT: &str = "__encoded_body__";

/// An upload that comes in.
pub(super) struct Upload(Multipart);

/// The file of an upload; its name means nothing.
pub(super) struct ResultFile<'a>(Field<'a>);

/// A file that came in, and the leave to hold it in memory if it needs one.
pub(super) struct Payload {
    pub(super) block: Block,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// Reads an upload of results to its end and drops it: how long its report and its file are. For fuzzers.
///
/// # Errors
/// Why it is refused.
pub(crate) async fn read_upload(boundary: &str, body: Vec<u8>) -> Result<(usize, usize), String> {
    let kind = format!("multipart/form-data; boundary={boundary}");
    let request = Request::builder().header("content-type", kind);
    let request = request
        .body(body.into())
        .map_err(|error| error.to_string())?;
    let read = async {
        let mut upload = Upload::begin(request).await?;
        let report: serde_json::Value = upload.report(MAX_REPORT).await?;
        let mut length = 0;
        let mut file = upload.file().await?;
        while let Some(chunk) = next_chunk(&mut file.0).await? {
            length += chunk.len();
        }
        upload.end().await?;
        Ok((report.to_string().len(), length))
    };
    read.await.map_err(|error: ApiError| error.to_string())
}

impl Upload {
    pub(super) async fn begin(request: Request) -> Result<Self, ApiError> {
        let parts = Multipart::from_request(request, &()).await;
        parts.map(Self).map_err(|error| {
            ApiError::invalid(format!("Not an upload of a result: {}.", error.body_text()))
        })
    }

    /// The report, which comes first.
    pub(super) async fn report<R: DeserializeOwned>(
        &mut self,
        limit: usize,
    ) -> Result<R, ApiError> {
        let mut part = self.next_part().await?;
        if part.name() != Some(REPORT) {
            return Err(ApiError::invalid(format!(
                "The first field must be {REPORT}."
            )));
        }
        let mut text = Vec::new();
        while let Some(chunk) = next_chunk(&mut part).await? {
            text.extend_from_slice(&chunk);
            if text.len() > limit {
                return Err(ApiError::invalid(format!(
                    "The field {REPORT} is too long."
                )));
            }
        }
        clusterrunner_common::text::json::from_slice(&text).map_err(|error| {
            ApiError::invalid(format!("The field {REPORT} is malformed: {error}."))
        })
    }

    /// The file, which comes second.
    pub(super) async fn file(&mut self) -> Result<ResultFile<'_>, ApiError> {
        let part = self.next_part().await?;
        match part.name() {
            Some("file") => Ok(ResultFile(part)),
            _ => Err(ApiError::invalid("Result file not provided")),
        }
    }

    /// Nothing comes behind the file. Only now it is sure that nothing of it is missing.
    pub(super) async fn end(mut self) -> Result<(), ApiError> {
        let more = self.0.next_field().await;
        match more.map_err(|error| broken_off(&error))? {
            None => Ok(()),
            Some(_) => Err(ApiError::invalid("There must be nothing behind the file.")),
        }
    }

    async fn next_part(&mut self) -> Result<Field<'_>, ApiError> {
        let part = self.0.next_field().await;
        let part = part.map_err(|error| broken_off(&error))?;
        part.ok_or_else(|| ApiError::invalid("Result file not provided"))
    }
}

impl ResultFile<'_> {
    /// Reads it to its end and drops it.
    pub(super) async fn skip(mut self) -> Result<(), ApiError> {
        while next_chunk(&mut self.0).await?.is_some() {}
        Ok(())
    }

    /// Writes it to a file, to its end.
    pub(super) async fn write_to(mut self, api: &Api, file: std::fs::File) -> Result<(), ApiError> {
        let mut file = tokio::fs::File::from_std(file);
        let mut unchecked = 0;
        while let Some(chunk) = next_chunk(&mut self.0).await? {
            check_space(api, &mut unchecked, chunk.len())?;
            file.write_all(&chunk).await.map_err(ApiError::storing)?;
        }
        file.flush().await.map_err(ApiError::storing)?;
        file.sync_all().await.map_err(ApiError::storing)
    }

    /// Reads it to its end: into memory, or onto the disk as soon as it is too large.
    pub(super) async fn save(mut self, api: &Api, build: BuildId) -> Result<Payload, ApiError> {
        let mut bytes = Vec::new();
        let mut room = None;
        let mut unchecked = 0;
        while let Some(chunk) = next_chunk(&mut self.0).await? {
            check_space(api, &mut unchecked, chunk.len())?;
            bytes.extend_from_slice(&chunk);
            if bytes.len() > SMALL_RESULT && room.is_none() {
                room = api.results.room_in_memory();
            }
            if bytes.len() > SMALL_RESULT && (room.is_none() || bytes.len() > MEDIUM_RESULT) {
                let block = self.save_large(api, build, &bytes).await?;
                return Ok(Payload { block, room: None });
            }
        }
        let block = Block::Memory(bytes);
        Ok(Payload { block, room })
    }

    async fn save_large(
        mut self,
        api: &Api,
        build: BuildId,
        beginning: &[u8],
    ) -> Result<Block, ApiError> {
        let incoming = api.results.incoming(build).map_err(ApiError::storing)?;
        let file = incoming.file().try_clone().map_err(ApiError::storing)?;
        let mut file = tokio::fs::File::from_std(file);
        let written = file.write_all(beginning).await;
        written.map_err(ApiError::storing)?;
        let mut unchecked = 0;
        while let Some(chunk) = next_chunk(&mut self.0).await? {
            check_space(api, &mut unchecked, chunk.len())?;
            file.write_all(&chunk).await.map_err(ApiError::storing)?;
        }
        file.flush().await.map_err(ApiError::storing)?;
        Ok(Block::File(incoming))
    }
}

/// Checks the free space now and then: uploads at the same time can together use up what was enough for each.
fn check_space(api: &Api, unchecked: &mut usize, received: usize) -> Result<(), ApiError> {
    *unchecked += received;
    if *unchecked >= SPACE_CHECK {
        api.space.check(0)?;
        *unchecked = 0;
    }
    Ok(())
}

async fn next_chunk(part: &mut Field<'_>) -> Result<Option<Bytes>, ApiError> {
    let chunk = tokio::time::timeout(IDLE_LIMIT, part.chunk()).await;
    let chunk = chunk.map_err(|_| ApiError::BrokenOff)?;
    chunk.map_err(|error| broken_off(&error))
}

fn broken_off(error: &MultipartError) -> ApiError {
    if is_cut_off(error) {
        return ApiError::BrokenOff;
    }
    ApiError::invalid(format!("The upload broke off: {}.", error.body_text()))
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
