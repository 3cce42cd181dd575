//! Working trees that clients send, for builds of what no server has.

use super::Api;
use super::error::ApiError;
use crate::http::caller::actor;
use crate::store::working_trees::{Sender, Shelf};
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::{Extension, Json};
use clusterrunner_common::api::Success;
use clusterrunner_common::api::working_trees::{
    MAX_MISSING_BODY, MissingAnswer, MissingRequest, WorkingTreeKept,
};
use clusterrunner_common::auth::gate::{Signed, SignedUpload};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::http::clusterrunner::sent_tree::SentTree;
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use clusterrunner_core::access::Caller;
use http_body_util::BodyExt as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedRwLockReadGuard;
use tokio::task::spawn_blocking;

/// How long an upload may bring nothing.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// After how many bytes the free space is checked again.
const SPACE_CHECK: u64 = 4 << 20;

/// Takes a pack in: it is on the disk when this is answered.
pub(super) async fn receive(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    wanted: SentTree,
    SignedUpload { request, verdict }: SignedUpload,
) -> Result<(StatusCode, Json<WorkingTreeKept>), ApiError> {
    let sender = Sender::of(actor(caller)).ok_or(ApiError::WhoAsks)?;
    let url = parsed(&api, &wanted.url)?;
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    check_length(&api, length.unwrap_or(0))?;
    api.space.check(length.unwrap_or(0))?;
    api.working_trees.check_room(length.unwrap_or(0)).await?;
    let pack = saved(&api, request.into_body()).await?;
    if !verdict.is_genuine() {
        return Err(ApiError::BrokenOff);
    }
    let shelf = Shelf {
        repository: url.sent_directory_name(),
        sender,
    };
    let (of, pack) = ((shelf, wanted.commit), (pack, wanted.after));
    let kept = api.working_trees.keep(of, pack, Timestamp::now()).await?;
    tracing::info!(
        url = %url, commit = %kept.name.commit, sender = %sender,
        objects = kept.known.objects, bytes = kept.known.bytes,
        "a working tree was sent"
    );
    let kept = WorkingTreeKept {
        status: Success::default().status,
        objects: kept.known.objects,
    };
    Ok((StatusCode::CREATED, Json(kept)))
}

/// Says what is to be sent, before it is.
pub(super) async fn missing(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Signed(asked): Signed<MissingRequest, MAX_MISSING_BODY>,
) -> Result<Json<MissingAnswer>, ApiError> {
    let shelf = Shelf {
        repository: parsed(&api, &asked.url)?.sent_directory_name(),
        sender: Sender::of(actor(caller)).ok_or(ApiError::WhoAsks)?,
    };
    let missing = api
        .working_trees
        .missing(shelf, asked.commit, asked.objects);
    missing.await.map(Json).map_err(|source| ApiError::Disk {
        what: "Looking for a working tree",
        source,
    })
}

fn parsed(api: &Api, url: &str) -> Result<GitUrl, ApiError> {
    let parsed = GitUrl::parse(url, api.remote_files.allow_local_sources);
    parsed.map_err(|source| ApiError::InvalidUrl {
        field: "url",
        source,
    })
}

fn check_length(api: &Api, bytes: u64) -> Result<(), ApiError> {
    let most = api.working_trees.max_bytes;
    match bytes > most {
        true => Err(ApiError::TooLarge(format!(
            "The pack of the working tree has more than {most} bytes (setting max_working_tree_bytes of the master). \
             Have .gitignore name what no build needs, or push what is committed."
        ))),
        false => Ok(()),
    }
}

/// Writes a body to the disk.
async fn saved(api: &Api, mut body: Body) -> Result<NamedTempFile, ApiError> {
    let storing = |source: io::Error| ApiError::Disk {
        what: "Storing a working tree",
        source,
    };
    let trees = api.working_trees.clone();
    let pack = spawn_blocking(move || trees.incoming()).await;
    let pack = pack.map_err(io::Error::other).and_then(|made| made);
    let pack = pack.map_err(storing)?;
    let mut file = tokio::fs::File::from_std(pack.reopen().map_err(storing)?);
    let (mut bytes, mut unchecked) = (0, 0);
    loop {
        let frame = tokio::time::timeout(IDLE_LIMIT, body.frame()).await;
        let Some(frame) = frame.map_err(|_| ApiError::BrokenOff)? else {
            break;
        };
        let frame = frame.map_err(|_| ApiError::BrokenOff)?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        bytes += piece.len() as u64;
        unchecked += piece.len() as u64;
        check_length(api, bytes)?;
        if unchecked >= SPACE_CHECK {
            api.space.check(0)?;
            unchecked = 0;
        }
        file.write_all(&piece).await.map_err(storing)?;
    }
    file.flush().await.map_err(storing)?;
    Ok(pack)
}

/// Whether a build's working tree is here, and this caller may build it. While the guard lives, it stays.
pub(super) async fn used(
    api: &Api,
    caller: Caller,
    request: &BuildRequest,
) -> Result<Option<OwnedRwLockReadGuard<()>>, ApiError> {
    let ProjectSource::Git { url, hash, .. } = &request.project else {
        return Ok(None);
    };
    let url = parsed(api, url)?;
    if request.working_tree.is_none() {
        return match url.is_sent() {
            true => Err(ApiError::Invalid(
                "Field 'url': code that was sent is built with the field 'working_tree' only."
                    .to_owned(),
            )),
            false => Ok(None),
        };
    }
    // Whoever has the secret may build what anybody has sent.
    let sender = match caller {
        Caller::Secret(_) => None,
        other => Some(Sender::of(actor(other)).ok_or(ApiError::WhoAsks)?),
    };
    guarded(api, &url, hash.as_deref(), sender).await.map(Some)
}

/// As [`used`], whoever has sent it.
pub(super) async fn there(
    api: &Api,
    request: &BuildRequest,
) -> Result<Option<OwnedRwLockReadGuard<()>>, ApiError> {
    match (&request.project, &request.working_tree) {
        (ProjectSource::Git { url, hash, .. }, Some(_)) => {
            let url = parsed(api, url)?;
            guarded(api, &url, hash.as_deref(), None).await.map(Some)
        }
        _ => Ok(None),
    }
}

async fn guarded(
    api: &Api,
    url: &GitUrl,
    hash: Option<&str>,
    sender: Option<Sender>,
) -> Result<OwnedRwLockReadGuard<()>, ApiError> {
    let using = api.working_trees.using().await;
    let commit = hash.and_then(|hash| hash.parse().ok());
    let commit = commit.ok_or(ApiError::NoWorkingTree)?;
    let repository = url.sent_directory_name();
    match api.working_trees.has(&repository, sender, &commit).await {
        true => Ok(using),
        false => Err(ApiError::NoWorkingTree),
    }
}
