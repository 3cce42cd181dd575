//! The archives of a build, as streams.

use super::error::ApiError;
use super::{Api, Path, kept};
use crate::cluster::build::BuildState;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use clusterrunner_common::http::rules::is_known;
use clusterrunner_common::ids::BuildId;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use tower_http::services::ServeFile;

/// The original's way to the archive.
pub(super) async fn redirect(Path(build): Path<BuildId>) -> Response {
    let location = format!("/v1/build/{build}/artifacts.tar.gz");
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

pub(super) async fn tar(
    State(api): State<Api>,
    Path(build): Path<BuildId>,
    request: Request,
) -> Result<Response, ApiError> {
    let path = api.results.tar(build);
    serve(&api, build, path, "application/x-tar", request).await
}

pub(super) async fn zip(
    State(api): State<Api>,
    Path(build): Path<BuildId>,
    request: Request,
) -> Result<Response, ApiError> {
    let path = api.results.zip(build);
    serve(&api, build, path, "application/zip", request).await
}

async fn serve(
    api: &Api,
    build: BuildId,
    path: PathBuf,
    content_type: &'static str,
    request: Request,
) -> Result<Response, ApiError> {
    let live = kept::live(api, build, |_, build| {
        Ok(build.state == BuildState::Finished)
    });
    let is_finished = match live.await? {
        Some(is_finished) => is_finished,
        None => kept::ended(api, build).await?.build.state == BuildState::Finished,
    };
    if !is_finished {
        return Err(ApiError::NotReady);
    }
    let disk = |source| ApiError::Disk {
        what: "Reading an archive",
        source,
    };
    let metadata = match tokio::fs::metadata(&path).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // It may have been removed after the look.
            kept::live(api, build, |_, _| Ok(())).await?;
            return Err(disk(error));
        }
        found => found.map_err(disk)?,
    };
    let etag = etag(&metadata);
    if is_known(request.headers(), &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let mime = content_type.parse().map_err(|_| ApiError::NotReady)?;
    let served = ServeFile::new_with_mime(path, &mime)
        .try_call(request)
        .await;
    let served = served.map_err(disk)?.into_response();
    if served.status() == StatusCode::NOT_FOUND {
        kept::live(api, build, |_, _| Ok(())).await?;
    }
    if served.status().is_success() {
        return Ok(([(header::ETAG, etag)], served).into_response());
    }
    Ok(served)
}

/// An archive never changes once it is there, so its time and length tell it from all others.
fn etag(metadata: &std::fs::Metadata) -> String {
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    format!("\"{seconds:x}-{nanoseconds:x}-{:x}\"", metadata.len())
}
