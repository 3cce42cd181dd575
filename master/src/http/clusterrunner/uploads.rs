//! The results that slaves deliver: stored first, counted then, acknowledged last.

use super::error::ApiError;
use super::multipart::{MAX_REPORTS, Upload};
use super::recording::{Batch, Rejection, count_failure};
use super::sender::Sender;
use super::{Api, Path};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use clusterrunner_common::api::{RejectedResult, ResultsAnswer, ResultsReport, Success};
use clusterrunner_common::auth::gate::SignedUpload;
use clusterrunner_common::ids::{BuildId, Incarnation};

/// Many results in one request.
pub(super) async fn receive(
    State(api): State<Api>,
    Path(build): Path<BuildId>,
    sender: Sender,
    upload: SignedUpload,
) -> Result<Json<ResultsAnswer>, ApiError> {
    let taken = take(&api, build, &sender, upload).await;
    let (rejected, incarnation) = taken.inspect_err(|error| count_failure(&api, error))?;
    let mark = incarnation.map(|now| api.cluster.mark(now, api.session.clone()));
    let position = mark.as_ref().map(|mark| mark.position);
    Ok(Json(ResultsAnswer {
        status: Success::default().status,
        position: position.or(Some(api.cluster.position())),
        proof: mark.and_then(|mark| mark.proof),
        rejected: rejected.into_iter().map(RejectedResult::from).collect(),
    }))
}

/// Takes an upload in and records what it reports. Returns what was not recorded, and the incarnation, which the slave has
/// named.
async fn take(
    api: &Api,
    build: BuildId,
    sender: &Sender,
    SignedUpload { request, verdict }: SignedUpload,
) -> Result<(Vec<Rejection>, Option<Incarnation>), ApiError> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    api.space.check(length.unwrap_or(0))?;
    let mut upload = Upload::begin(request).await?;
    let report: ResultsReport = upload.report(MAX_REPORTS).await?;
    sender.check(report.slave_id)?;
    let incarnation = report.incarnation.clone();
    let batch = Batch::look(api, build, report).await?;
    let file = upload.file().await?;
    let payload = if batch.is_wanted() {
        Some(file.save(api, build).await?)
    } else {
        file.skip().await?;
        None
    };
    upload.end().await?;
    if !verdict.is_genuine() {
        // All parts are there, but not all of what was signed.
        return Err(ApiError::BrokenOff);
    }
    Ok((batch.record(api, payload).await?, incarnation))
}
