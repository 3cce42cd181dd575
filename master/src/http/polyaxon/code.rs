//! The code of a project: an archive comes in and becomes the next commit of the project's own repository, or goes out.

mod parts;

use super::Api;
use super::attachment::attachment;
use super::error::PolyaxonError;
use super::granted::{Granted, Reading, Using};
use crate::coordinator::{asked_from, asking_address};
use crate::store::own_repositories::{NewCode, OwnCodeError};
use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::git::CommitId;
use clusterrunner_common::ids::UserId;
use clusterrunner_core::accounts::command::ProjectCommand;
use clusterrunner_core::accounts::projects::Project;
use clusterrunner_core::accounts::refusal::AccountRefusal;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use clusterrunner_core::refusal::Refusal;
use parts::Upload;
use std::io;
use std::sync::Arc;
use tempfile::NamedTempFile;
use tokio_util::io::ReaderStream;

/// How much of an archive is read and sent at a time.
const CHUNK: usize = 128 << 10;

/// What the newest commit is called.
const NEWEST: [&str; 4] = ["", "master", "HEAD", "refs/heads/master"];

/// Takes an archive in. Answered when the commit is recorded.
pub(super) async fn upload(
    State(api): State<Arc<Api>>,
    granted: Granted<Using>,
    request: Request,
) -> Result<(), PolyaxonError> {
    let project = granted.project;
    if !project.has_own_repository() {
        let elsewhere = AccountRefusal::CodeElsewhere(project.id);
        return Err(Refusal::Account(elsewhere).into());
    }
    let archive = Upload::begin(request).await?.save(&api).await?;
    // What was received is recorded also if the sender does not wait for it.
    let recording = record(api, project, granted.caller.id, archive);
    let recording = tokio::spawn(asked_from(asking_address(), recording));
    recording
        .await
        .map_err(|error| OwnCodeError::Failed(error.to_string()))?
}

async fn record(
    api: Arc<Api>,
    project: Project,
    user: UserId,
    archive: NamedTempFile,
) -> Result<(), PolyaxonError> {
    let writer = api.own.writer(project.id).await;
    let look = move |cluster: &clusterrunner_core::Cluster| {
        let newest = cluster.project(project.id)?.code.clone();
        let author = cluster.accounts().user(user)?.name.clone();
        Some((newest, author))
    };
    let found = api.cluster.read(look).await?;
    let (newest, author) = found.ok_or(PolyaxonError::NotFound)?;
    let new = NewCode {
        archive,
        parent: newest
            .map(|newest| newest.parse())
            .transpose()
            .map_err(damaged)?,
        author,
        at: Timestamp::now(),
    };
    let commit = api.own.commit(&writer, new).await?;
    let command = ProjectCommand::CommitCode {
        project: project.id,
        commit: commit.to_string(),
    };
    let by = Actor::User(user);
    api.cluster
        .command(Command::Project { by, command })
        .await?;
    Ok(())
}

/// The archive of the newest commit, or of the one that is asked for.
pub(super) async fn download(
    State(api): State<Arc<Api>>,
    granted: Granted<Reading>,
    RawQuery(query): RawQuery,
) -> Result<Response, PolyaxonError> {
    let query = query.unwrap_or_default();
    let asked = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("commit="));
    let commit = commit_of(&api, &granted.project, asked.unwrap_or_default()).await?;
    let commit = commit.ok_or(PolyaxonError::NotFound)?;
    api.space.check(0)?;
    let file = api.own.pack(granted.project.id, commit).await?;
    let length = file.metadata().map_err(OwnCodeError::Disk)?.len();
    let name = format!("{}.{}.tar.gz", granted.owner, granted.project.name());
    let headers = [
        (header::CONTENT_TYPE, "application/gzip".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, attachment(&name)),
    ];
    let file = tokio::fs::File::from_std(file);
    let body = Body::from_stream(ReaderStream::with_capacity(file, CHUNK));
    Ok((headers, body).into_response())
}

/// The commit of a project's own repository that is meant by a name or by an id, which may be abbreviated; none where
/// there is none, or no code at all.
pub(super) async fn commit_of(
    api: &Api,
    project: &Project,
    asked: &str,
) -> Result<Option<CommitId>, PolyaxonError> {
    let Some(newest) = &project.code else {
        return Ok(None);
    };
    let newest: CommitId = newest.parse().map_err(damaged)?;
    if NEWEST.contains(&asked) {
        return Ok(Some(newest));
    }
    Ok(api.own.find(project.id, asked.to_owned(), newest).await?)
}

fn damaged(error: impl std::error::Error) -> PolyaxonError {
    OwnCodeError::Disk(io::Error::other(error.to_string())).into()
}
