//! The results that slaves of the original upload: unsigned, naming no attempt. They count for the
//! hand-out that their slave has when the upload begins. Whatever becomes of one, the slave is told
//! 200: it would send it again otherwise, and a second time it might be taken for another.

use crate::coordinator::CommandFailure;
use crate::http::clusterrunner::error::ApiError;
use crate::http::clusterrunner::multipart::{MAX_REPORT, Payload, Upload};
use crate::http::clusterrunner::recording::{count_failure, remove_stale};
use crate::http::clusterrunner::{Api, Path};
use crate::store::results::{Block, UnusableResult, outcomes};
use axum::extract::State;
use axum::{Extension, Json};
use clusterrunner_common::api::{ResultReport, Success};
use clusterrunner_common::auth::gate::SignedUpload;
use clusterrunner_common::http::clusterrunner::routes::Reached;
use clusterrunner_common::ids::{BuildId, ExecutorIndex, SubjobId};
use clusterrunner_common::results::block::CheckedResult;
use clusterrunner_core::access::Caller;
use clusterrunner_core::builds::hand_out::HandOut;
use clusterrunner_core::command::Command;
use clusterrunner_core::refusal::Refusal;
use serde_json::{Value, json};
use std::io;

/// What the original says to a GET: single results can not be read, only the build's archives.
pub(in crate::http::clusterrunner) async fn nothing_to_read(_: Reached) -> Json<Value> {
    Json(json!({"status": "not implemented"}))
}

/// One result. Slaves of ours deliver many in one request, elsewhere.
pub(in crate::http::clusterrunner) async fn receive(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path((build, subjob)): Path<(BuildId, SubjobId)>,
    upload: SignedUpload,
) -> Result<Json<Success>, ApiError> {
    if caller != Caller::Slave {
        let error =
            format!("A slave that signs delivers its results at /v1/build/{build}/results.");
        return Err(ApiError::invalid(error));
    }
    let received = receive_result(&api, build, subjob, upload).await;
    received.inspect_err(|error| count_failure(&api, error))?;
    Ok(Json(Success::default()))
}

async fn receive_result(
    api: &Api,
    build: BuildId,
    subjob: SubjobId,
    upload: SignedUpload,
) -> Result<(), ApiError> {
    let mut upload = Upload::begin(upload.request).await?;
    let report: ResultReport = upload.report(MAX_REPORT).await?;
    let metrics = report.metric_data.as_ref();
    let executor = metrics.and_then(|metrics| metrics.executor_id);
    let meant = api
        .cluster
        .read(move |cluster| cluster.legacy_hand_out(&report.slave, build, subjob));
    // Before the file comes: what is handed out meanwhile is not what it is the result of.
    let meant = meant.await??;
    let file = upload.file().await?;
    let Some((hand_out, num_atoms)) = meant else {
        file.skip().await?;
        tracing::info!(build.id = %build, subjob.id = %subjob, "a result that does not count is dropped");
        return Ok(());
    };
    let payload = file.save(api, build).await?;
    upload.end().await?;
    api.heard(hand_out.slave).await?;
    record(api, (hand_out, executor), num_atoms, payload).await
}

async fn record(
    api: &Api,
    (hand_out, executor): (HandOut, Option<ExecutorIndex>),
    num_atoms: usize,
    payload: Payload,
) -> Result<(), ApiError> {
    let HandOut { build, attempt, .. } = hand_out;
    // Until the end of this, when the block is stored.
    let Payload { block, room: _room } = payload;
    let command = match check(api, hand_out, block, num_atoms).await? {
        Ok((block, result)) => {
            let outcomes = outcomes(&result);
            let stored = api.results.append(build, block, vec![(result, attempt)]);
            stored.await.map_err(ApiError::storing)?;
            Command::ReportFinished {
                hand_out,
                executor,
                outcomes,
            }
        }
        Err(unusable) => Command::ReportUnusable {
            hand_out,
            reason: format!("its result can not be used: {unusable}"),
        },
    };
    match api.cluster.command(command).await {
        Err(CommandFailure::Refused(refusal @ Refusal::StaleAttempt { .. })) => {
            remove_stale(api, &refusal, build).await
        }
        done => Ok(done.map(|_| ())?),
    }
}

/// Looks a result through that came for this hand-out. The inner error says why it can not be used.
async fn check(
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
    Ok(checked
        .map_err(ApiError::storing)?
        .map_err(UnusableResult::from))
}
