//! The results that slaves of the original upload: unsigned, naming no attempt. They count for the
//! hand-out that their slave has when the upload begins. Whatever becomes of one, the slave is told
//! 200: it would send it again otherwise, and a second time it might be taken for another.

use crate::coordinator::CommandFailure;
use crate::core::command::{Command, HandOut, Refusal};
use crate::http::clusterrunner::Api;
use crate::http::clusterrunner::error::ApiError;
use crate::http::clusterrunner::uploads::{
    MAX_REPORT, Payload, check, disk, invalid, next_chunk, next_part, nothing_more, remove_stale,
    save, small,
};
use crate::store::results::outcomes;
use axum::extract::FromRequest as _;
use axum::extract::Request;
use axum::extract::multipart::Multipart;
use clusterrunner_common::api::ResultReport;
use clusterrunner_common::ids::{BuildId, ExecutorIndex, SubjobId};

pub(super) async fn receive_result(
    api: &Api,
    build: BuildId,
    subjob: SubjobId,
    request: Request,
) -> Result<(), ApiError> {
    let mut parts = Multipart::from_request(request, &())
        .await
        .map_err(|error| invalid(format!("Not an upload of a result: {}.", error.body_text())))?;
    let mut part = next_part(&mut parts).await?;
    if part.name() != Some("__encoded_body__") {
        return Err(invalid("The first field must be __encoded_body__."));
    }
    let report: ResultReport =
        clusterrunner_common::text::json::from_slice(&small(&mut part, MAX_REPORT).await?)
            .map_err(|error| {
                invalid(format!(
                    "The field __encoded_body__ is not as it should be: {error}."
                ))
            })?;
    drop(part);
    let metrics = report.metric_data.as_ref();
    let executor = metrics.and_then(|metrics| metrics.executor_id);
    let meant = api
        .cluster
        .read(move |cluster| cluster.legacy_hand_out(&report.slave, build, subjob));
    // Before the file comes: what is handed out meanwhile is not what it is the result of.
    let meant = meant.await??;
    let mut file = next_part(&mut parts).await?;
    if file.name() != Some("file") {
        return Err(invalid("Result file not provided"));
    }
    let Some((hand_out, num_atoms)) = meant else {
        while next_chunk(&mut file).await?.is_some() {}
        tracing::info!(build.id = %build, subjob.id = %subjob, "a result that does not count is dropped");
        return Ok(());
    };
    let payload = save(&mut file, api, build).await?;
    drop(file);
    nothing_more(&mut parts).await?;
    api.cluster.heard(hand_out.slave).await?;
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
            stored.await.map_err(disk)?;
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
            remove_stale(api, &CommandFailure::Refused(refusal), build).await
        }
        done => Ok(done.map(|_| ())?),
    }
}
