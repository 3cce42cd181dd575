//! What the master orders: set-ups, subjobs, tear-downs, the end.

use super::api::{Api, Ids};
use super::error::ApiError;
use super::legacy;
use crate::work::{Answer, Batchable, Command, HuntOrder, JobSource, OrderedSubjob, SetupOrder};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use clusterrunner_common::api::instances::InstancesOrder;
use clusterrunner_common::api::{
    HuntAnswer, HuntRequest, OrderAnswer, SetupRequest, SubjobAccepted, SubjobOrder, SubjobRequest,
    SubjobsRequest, Success, TeardownRequest,
};
use clusterrunner_common::auth::gate::{Proof, Signed};
use clusterrunner_common::ids::{Attempt, BuildId, SubjobId};
use clusterrunner_common::work::BuildRequest;
use futures_util::stream;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How large an order may be. Commands and atoms may have any length: what bounds them is how much a
/// master takes from a `clusterrunner.yaml` or an atomizer.
const MAX_ORDER: usize = 1 << 30;

pub(super) async fn set_up(
    State(api): State<Api>,
    Ids(build): Ids<BuildId>,
    proof: Proof,
    Signed(request): Signed<SetupRequest, MAX_ORDER>,
) -> Result<Json<OrderAnswer>, ApiError> {
    let from = (request.wait_ms, request.master.clone());
    let attempt = request.subjobs.as_ref().and_then(highest_attempt);
    let order = || {
        let order = match proof.is_weak() {
            true => legacy::setup_order(build, request)?,
            false => setup_order(build, request)?,
        };
        Ok(Command::SetUp(Box::new(order)))
    };
    api.carry_out(build, proof, from, attempt, order).await
}

/// The highest number of a hand-out that an order gives.
fn highest_attempt(request: &SubjobsRequest) -> Option<Attempt> {
    let subjobs = request.subjobs.iter();
    subjobs.map(|subjob| subjob.attempt).max()
}

fn setup_order(build: BuildId, request: SetupRequest) -> Result<SetupOrder, ApiError> {
    let job = request
        .job
        .ok_or(ApiError::OtherProtocol { missing: "job" })?;
    let parameters = Value::Object(request.project_type_params);
    let project = BuildRequest::from_master(&parameters)?;
    if project.project.repository().is_some() && request.commit.is_none() {
        return Err(ApiError::OtherProtocol { missing: "commit" });
    }
    let (subjobs, timeout) = match request.subjobs {
        Some(request) => ordered(request)?,
        None => (Vec::new(), None),
    };
    Ok(SetupOrder {
        build,
        incarnation: request.master.map(|master| master.incarnation),
        start_index: request.build_executor_start_index,
        source: project.project,
        remote_files: project.remote_files,
        commit: request.commit,
        source_from_master: request.source_from_master,
        job: JobSource::Order(Box::new(job)),
        variables: Arc::new(request.variables),
        secrets: request.secrets,
        subjobs,
        timeout,
    })
}

pub(super) async fn start_subjob(
    State(api): State<Api>,
    Ids((build, subjob)): Ids<(BuildId, SubjobId)>,
    proof: Proof,
    Signed(request): Signed<SubjobRequest, MAX_ORDER>,
) -> Result<(StatusCode, Json<SubjobAccepted>), ApiError> {
    let nul = |command: &String| command.contains('\0');
    if request.atomic_commands.iter().any(nul) {
        return Err(ApiError::NulInCommand);
    }
    let attempt = request.attempt.unwrap_or(Attempt::FIRST);
    let command = Command::StartSubjobs {
        build,
        subjobs: vec![OrderedSubjob {
            subjob,
            attempt,
            atomic_commands: request.atomic_commands,
            batch: None,
        }],
        timeout: request.timeout_s.map(Duration::from_secs),
    };
    let master = request.master.as_ref();
    let _admitted = api.admit_about(build, proof, master, Some(attempt)).await?;
    let executor_id = match api.work.send(command)? {
        Answer::Subjobs(executor) => executor,
        Answer::Done | Answer::Hunting(_) => None,
    };
    let accepted = SubjobAccepted {
        status: Success::default().status,
        executor_id,
    };
    Ok((StatusCode::CREATED, Json(accepted)))
}

/// What is to run, and how long each atom may.
fn ordered(request: SubjobsRequest) -> Result<(Vec<OrderedSubjob>, Option<Duration>), ApiError> {
    let SubjobsRequest {
        command,
        timeout_s,
        subjobs,
        master: _,
    } = request;
    let mut ordered = Vec::with_capacity(subjobs.len());
    for order in subjobs {
        let SubjobOrder {
            subjob_id: subjob,
            attempt,
            atoms,
            batch,
        } = order;
        if atoms.is_empty() {
            return Err(ApiError::NoAtoms(subjob));
        }
        let commands = atoms.iter().map(|atom| format!("{atom} {command}"));
        let atomic_commands = commands.collect();
        let only = <[String; 1]>::try_from(atoms).ok();
        let batch = batch.zip(only).map(|(terms, [atom])| Batchable {
            atom,
            expected_ms: terms.expected_ms,
        });
        ordered.push(OrderedSubjob {
            subjob,
            attempt,
            atomic_commands,
            batch,
        });
    }
    let mut commands = ordered.iter().flat_map(|order| &order.atomic_commands);
    if commands.any(|command| command.contains('\0')) {
        return Err(ApiError::NulInCommand);
    }
    Ok((ordered, timeout_s.map(Duration::from_secs)))
}

/// Many hand-outs in one call.
pub(super) async fn start_subjobs(
    State(api): State<Api>,
    Ids(build): Ids<BuildId>,
    proof: Proof,
    Signed(request): Signed<SubjobsRequest, MAX_ORDER>,
) -> Result<(StatusCode, Json<Success>), ApiError> {
    let (attempt, master) = (highest_attempt(&request), request.master.clone());
    let (subjobs, timeout) = ordered(request)?;
    let command = Command::StartSubjobs {
        build,
        subjobs,
        timeout,
    };
    let _admitted = api
        .admit_about(build, proof, master.as_ref(), attempt)
        .await?;
    api.work.send(command)?;
    Ok((StatusCode::CREATED, Json(Success::default())))
}

pub(super) async fn tear_down(
    State(api): State<Api>,
    Ids(build): Ids<BuildId>,
    proof: Proof,
    Signed(request): Signed<TeardownRequest>,
) -> Result<Json<OrderAnswer>, ApiError> {
    let order = || {
        if proof.is_weak() {
            legacy::check_teardown(build, api.work.view().current_build)?;
        }
        Ok(Command::TearDown(build))
    };
    let from = (request.wait_ms, request.master);
    api.carry_out(build, proof, from, None, order).await
}

/// How often a byte tells who waits for the end of a hunt that it goes on: more often than callers lose patience,
/// whose shortest `default_http_timeout` is a second.
const HUNT_SIGN: Duration = Duration::from_millis(500);

/// One atom once more, while nothing else needs an executor.
pub(super) async fn hunt(
    State(api): State<Api>,
    Ids(build): Ids<BuildId>,
    proof: Proof,
    Signed(request): Signed<HuntRequest, MAX_ORDER>,
) -> Result<Response, ApiError> {
    let command = format!("{} {}", request.atom, request.command);
    if command.contains('\0') {
        return Err(ApiError::NulInCommand);
    }
    let order = HuntOrder {
        build,
        subjob: request.subjob_id,
        attempt: request.attempt,
        command,
        timeout: request.timeout_s.map(Duration::from_secs),
    };
    let master = Some(&request.master);
    let admitted = api.admit_about(build, proof, master, None).await?;
    let hunt = api.work.hunt(order)?;
    drop(admitted);
    let signs = stream::unfold(Some(hunt), |hunt| async {
        let mut hunt = hunt?;
        let Ok(end) = tokio::time::timeout(HUNT_SIGN, hunt.end()).await else {
            return Some((Ok(Bytes::from_static(b"\n")), Some(hunt)));
        };
        let answer = serde_json::to_vec(&HuntAnswer { end });
        Some((answer.map(Bytes::from), None))
    });
    Ok(Response::new(Body::from_stream(signs)))
}

/// All instances that are to run from now on.
pub(super) async fn instances(
    State(api): State<Api>,
    proof: Proof,
    Signed(order): Signed<InstancesOrder, MAX_ORDER>,
) -> Result<Json<Success>, ApiError> {
    let _admitted = api.admit(proof).await?;
    let missing = ApiError::OtherProtocol { missing: "master" };
    if let Err(not_met) = api
        .lineage
        .admit_order(order.master.as_ref().ok_or(missing)?)
    {
        api.registration.doubt();
        return Err(not_met.into());
    }
    api.work.send(Command::EndHunts)?;
    api.supervisor.order(order);
    Ok(Json(Success::default()))
}

pub(super) async fn kill(
    State(api): State<Api>,
    proof: Proof,
    Signed(_): Signed<Value>,
) -> Result<Json<Success>, ApiError> {
    let _admitted = api.admit_end(proof).await?;
    tracing::info!("told to end by a signed call");
    api.stop.cancel();
    Ok(Json(Success::default()))
}
