//! How an upload of code is read: one part with the archive, which is streamed to disk, and perhaps one with options.

use crate::http::polyaxon::Api;
use crate::http::polyaxon::error::PolyaxonError;
use crate::store::own_repositories::OwnCodeError;
use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{FromRequest as _, Request};
use serde_json::Value;
use std::io;
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;
use tokio::task::spawn_blocking;

/// The part with the archive.
const REPO: &str = "repo";

/// The part with options. They say whether the sender waits, which has no meaning here: the answer comes when the code
/// is stored.
const OPTIONS: &str = "json";

/// The most bytes of the options.
const MOST_OPTIONS: usize = 64 << 10;

/// The most parts.
const MOST_PARTS: usize = 16;

/// How long an upload may bring nothing.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// After how many bytes the free space is checked again.
const SPACE_CHECK: u64 = 4 << 20;

/// An upload that comes in.
pub(super) struct Upload(Multipart);

impl Upload {
    pub(super) async fn begin(request: Request) -> Result<Self, PolyaxonError> {
        let parts = Multipart::from_request(request, &()).await;
        parts
            .map(Self)
            .map_err(|error| PolyaxonError::UnreadableParts(error.body_text()))
    }

    /// Reads it to its end.
    pub(super) async fn save(mut self, api: &Api) -> Result<NamedTempFile, PolyaxonError> {
        let mut archive = None;
        let mut num_parts = 0;
        while let Some(part) = self.next_part().await? {
            num_parts += 1;
            match part.name() {
                Some(REPO) if archive.is_none() => archive = Some(saved(part, api).await?),
                Some(REPO) => {
                    return Err(PolyaxonError::field(REPO, "This part is there twice."));
                }
                Some(OPTIONS) => check_options(part).await?,
                _ if num_parts > MOST_PARTS => {
                    let sentence = format!("there are more than {MOST_PARTS} parts");
                    return Err(PolyaxonError::UnreadableParts(sentence));
                }
                _ => drop(bounded(part).await?),
            }
        }
        archive.ok_or_else(|| {
            let sentence = "No file was submitted. Send the .tar.gz in the part \"repo\".";
            PolyaxonError::field(REPO, sentence)
        })
    }

    async fn next_part(&mut self) -> Result<Option<Field<'_>>, PolyaxonError> {
        let part = tokio::time::timeout(IDLE_LIMIT, self.0.next_field()).await;
        let part = part.map_err(|_| PolyaxonError::BrokenOff)?;
        part.map_err(|error| unreadable(&error))
    }
}

/// Writes an archive to disk.
async fn saved(mut part: Field<'_>, api: &Api) -> Result<NamedTempFile, PolyaxonError> {
    api.space.check(0)?;
    let own = api.own.clone();
    let archive = spawn_blocking(move || own.incoming()).await;
    let archive = archive.map_err(io::Error::other).and_then(|made| made);
    let archive = archive.map_err(OwnCodeError::Disk)?;
    let file = archive.reopen().map_err(OwnCodeError::Disk)?;
    let mut file = tokio::fs::File::from_std(file);
    let (mut bytes, mut unchecked) = (0, 0);
    while let Some(chunk) = next_chunk(&mut part).await? {
        bytes += chunk.len() as u64;
        unchecked += chunk.len() as u64;
        if bytes > api.max_upload_bytes {
            let most = api.max_upload_bytes;
            return Err(PolyaxonError::TooLarge(format!(
                "The archive has more than {most} bytes (setting max_code_upload_bytes). Leave out what is no code."
            )));
        }
        if unchecked >= SPACE_CHECK {
            api.space.check(0)?;
            unchecked = 0;
        }
        file.write_all(&chunk).await.map_err(OwnCodeError::Disk)?;
    }
    file.flush().await.map_err(OwnCodeError::Disk)?;
    Ok(archive)
}

async fn check_options(part: Field<'_>) -> Result<(), PolyaxonError> {
    let text = bounded(part).await?;
    let options: Value = clusterrunner_common::text::json::from_slice(&text)
        .map_err(|error| PolyaxonError::field(OPTIONS, format!("This is no JSON: {error}.")))?;
    let Value::Object(options) = options else {
        let sentence = "This must be an object such as {\"async\": false}.";
        return Err(PolyaxonError::field(OPTIONS, sentence));
    };
    match options.get("async") {
        None | Some(Value::Bool(_) | Value::Null) => Ok(()),
        Some(_) => {
            let sentence = "\"async\" must be true or false.";
            Err(PolyaxonError::field(OPTIONS, sentence))
        }
    }
}

/// A small part.
async fn bounded(mut part: Field<'_>) -> Result<Vec<u8>, PolyaxonError> {
    let mut text = Vec::new();
    while let Some(chunk) = next_chunk(&mut part).await? {
        text.extend_from_slice(&chunk);
        if text.len() > MOST_OPTIONS {
            let sentence = format!("A part beside the archive has more than {MOST_OPTIONS} bytes.");
            return Err(PolyaxonError::TooLarge(sentence));
        }
    }
    Ok(text)
}

async fn next_chunk(part: &mut Field<'_>) -> Result<Option<Bytes>, PolyaxonError> {
    let chunk = tokio::time::timeout(IDLE_LIMIT, part.chunk()).await;
    let chunk = chunk.map_err(|_| PolyaxonError::BrokenOff)?;
    chunk.map_err(|error| unreadable(&error))
}

fn unreadable(error: &MultipartError) -> PolyaxonError {
    PolyaxonError::UnreadableParts(error.body_text())
}
