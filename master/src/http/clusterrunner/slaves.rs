//! What slaves tell the master about themselves.

use super::error::ApiError;
use super::joining;
use super::original::slaves as original;
use super::sender::Sender;
use super::shapes;
use super::{Api, Path};
use crate::coordinator::{CommandFailure, Gone};
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use clusterrunner_common::api::{
    ConnectAnswer, ConnectRequest, DrainAnswer, HeartbeatAnswer, HeartbeatRequest, PROTOCOL,
    ShutdownRequest, SlaveState, SlaveView, StateReport, StateReportBody,
};
use clusterrunner_common::auth::gate::Signed;
use clusterrunner_common::auth::joining::Meeting;
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::ids::{BuildId, Incarnation, SessionId, SlaveId};
use clusterrunner_core::Cluster;
use clusterrunner_core::access::Caller;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::{Command, SlaveChoice};
use clusterrunner_core::event::{Event, Fact, SlaveFact};
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::slaves::keys::KeyRefused;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// How many characters of the reason why a slave ended are stored.
const MAX_REASON: usize = 2_000;

/// A slave joins the farm, or comes back.
pub(super) async fn connect(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Signed(request): Signed<ConnectRequest>,
) -> Result<(StatusCode, Json<ConnectAnswer>), ApiError> {
    if caller == Caller::Slave {
        let answer = original::connect(&api, request).await?;
        return Ok((StatusCode::CREATED, Json(answer)));
    }
    let session = joining::check(&request)?;
    let key = joining::offered_key(caller, &request, &session)?;
    joining::check_master(&request, &api.slave_keys.own_key())?;
    let identity = request.identity;
    let (url, version) = (request.slave.clone(), request.version);
    let isolation = request.isolation;
    let connected = api.cluster.command(Command::ConnectSlave {
        url: request.slave,
        session,
        num_executors: request.num_executors,
        labels: request.labels,
        known_as: request.slave_id,
        finished: request.finished,
        seen: api.cluster.testimonies(request.seen),
        fresh: Incarnation::from_random(random_bytes()),
        key,
    });
    let new = connected.await?.iter().find_map(|event| match &event.fact {
        Fact::Slave(slave, SlaveFact::Connected { .. }) => Some(*slave),
        _ => None,
    });
    let slave = match new {
        Some(slave) => {
            let alive = |cluster: &Cluster| {
                let alive = cluster.slaves().filter(|slave| slave.is_alive());
                alive.map(|slave| slave.id).collect()
            };
            let alive = api.cluster.read(alive).await?;
            api.running.drop_others(&alive);
            api.last_reports.drop_others(&alive);
            slave
        }
        None => {
            let known = api
                .cluster
                .read(move |cluster| Some(cluster.slave_at(&url)?.id));
            known.await?.ok_or(Gone)?
        }
    };
    api.signs.connected(slave, version, isolation);
    if key.is_none() {
        tracing::warn!(
            slave.id = slave.0,
            "this slave has no key of its own and signs with the farm's secret: upgrade it"
        );
    }
    api.heard(slave).await?;
    // On disk by now: a slave is not told of what a power cut could take back.
    let now = api
        .cluster
        .read(move |cluster| (cluster.to_be_delivered(slave), cluster.mark()));
    let (wanted, mark) = now.await?;
    let master = mark.map(|mark| api.cluster.mark(mark.incarnation, mark.session_id));
    let identity = identity.zip(key).map(|(identity, key)| {
        let meeting = Meeting {
            challenge: &identity.challenge,
            slave: &identity.key,
            slave_id: &slave.to_string(),
            master_session: &api.session.0,
        };
        api.slave_keys.answer(&meeting, key.joins)
    });
    let answer = ConnectAnswer {
        identity,
        status: "SUCCESS".to_owned(),
        slave_id: slave.to_string(),
        protocol: Some(PROTOCOL),
        resumed: new.is_none(),
        wanted: wanted
            .into_iter()
            .map(|kept| (kept.build, kept.subjob, kept.attempt))
            .collect(),
        master,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// A sign of life.
pub(super) async fn heartbeat(
    State(api): State<Arc<Api>>,
    Path(slave): Path<SlaveId>,
    Extension(caller): Extension<Caller>,
    sender: Sender,
    Signed(request): Signed<HeartbeatRequest>,
) -> Result<Json<HeartbeatAnswer>, ApiError> {
    sender.check(slave)?;
    if caller == Caller::Slave {
        if !original::is_alive(&api, slave).await? {
            return Ok(alive(false));
        }
    } else {
        let session = needed_session(request.slave.session_id)?;
        check_known(&api, slave, &session).await?;
    }
    api.heard(slave).await?;
    if caller == Caller::Slave {
        return Ok(alive(true));
    }
    api.running.set(slave, request.slave.running);
    Ok(Json(HeartbeatAnswer {
        is_alive: true,
        now_ms: Some(Timestamp::now()),
    }))
}

/// What a slave of the original is answered.
fn alive(is_alive: bool) -> Json<HeartbeatAnswer> {
    let now_ms = None;
    Json(HeartbeatAnswer { is_alive, now_ms })
}

/// Shuts one slave down. The answer has no body, as the original's.
pub(super) async fn shut_down(
    State(api): State<Arc<Api>>,
    Path(slave): Path<SlaveId>,
    Extension(caller): Extension<Caller>,
    Signed(_): Signed<Value>,
) -> Result<StatusCode, ApiError> {
    let by = match caller {
        // It asks to be ended when what it has is done.
        Caller::SlaveKey(key) => {
            // One that is lost for the moment is shut down, too, so that it is not there is not enough.
            if !api.slave_keys.is_of(slave, key) {
                return Err(Refusal::Key(KeyRefused::OtherSlaves(slave)).into());
            }
            Actor::Slave(slave)
        }
        _ => Actor::SecretHolder,
    };
    order_shutdown(&api, by, SlaveChoice::Named(vec![slave])).await
}

/// Shuts several slaves down, or all. The answer has no body, as the original's.
pub(super) async fn shut_down_some(
    State(api): State<Arc<Api>>,
    Signed(request): Signed<ShutdownRequest>,
) -> Result<StatusCode, ApiError> {
    let slaves = match request {
        ShutdownRequest {
            shutdown_all: true, ..
        } => SlaveChoice::All,
        ShutdownRequest {
            slaves: Some(slaves),
            ..
        } => SlaveChoice::Named(slaves),
        ShutdownRequest { slaves: None, .. } => {
            let error = "Name the slaves: {\"shutdown_all\": true} or {\"slaves\": [1, 2]}.";
            return Err(ApiError::Invalid(error.to_owned()));
        }
    };
    order_shutdown(&api, Actor::SecretHolder, slaves).await
}

async fn order_shutdown(api: &Api, by: Actor, slaves: SlaveChoice) -> Result<StatusCode, ApiError> {
    let order = Command::ShutDownSlaves { by, slaves };
    api.cluster.command(order).await?;
    Ok(StatusCode::OK)
}

/// Drains a slave: it takes no new work.
pub(super) async fn drain(
    State(api): State<Arc<Api>>,
    Path(slave): Path<SlaveId>,
    Signed(_): Signed<Value>,
) -> Result<Json<DrainAnswer>, ApiError> {
    order_drain(
        &api,
        slave,
        Command::DrainSlave {
            by: Actor::SecretHolder,
            slave,
        },
    )
    .await
}

/// Lets a drained or quarantined slave take work again.
pub(super) async fn undrain(
    State(api): State<Arc<Api>>,
    Path(slave): Path<SlaveId>,
    Signed(_): Signed<Value>,
) -> Result<Json<DrainAnswer>, ApiError> {
    order_drain(
        &api,
        slave,
        Command::UndrainSlave {
            by: Actor::SecretHolder,
            slave,
        },
    )
    .await
}

async fn order_drain(
    api: &Api,
    slave: SlaveId,
    order: Command,
) -> Result<Json<DrainAnswer>, ApiError> {
    let events = api.cluster.command(order).await?;
    let is_release = |event: &Event| matches!(event.fact, Fact::Slave(_, SlaveFact::Released));
    let view = api
        .cluster
        .read(move |cluster| cluster.slave(slave).map(shapes::slave));
    Ok(Json(DrainAnswer {
        status: "SUCCESS".to_owned(),
        slave: view.await?.ok_or(ApiError::UnknownSlave(slave))?,
        is_released: events.iter().any(is_release),
    }))
}

fn needed_session(session: Option<SessionId>) -> Result<SessionId, ApiError> {
    session.ok_or_else(|| ApiError::Invalid("Field 'slave.session_id' is missing.".to_owned()))
}

/// `{"status": "SUCCESS", "slave": ...}`.
#[derive(Serialize)]
pub(super) struct Reported {
    status: &'static str,
    slave: Option<SlaveView>,
}

/// A slave says how far it is with a build, or that it ends.
pub(super) async fn report(
    State(api): State<Arc<Api>>,
    Path(slave): Path<SlaveId>,
    Extension(caller): Extension<Caller>,
    sender: Sender,
    Signed(StateReport { slave: report }): Signed<StateReport>,
) -> Result<Json<Reported>, ApiError> {
    sender.check(slave)?;
    if caller == Caller::Slave {
        original::report(&api, slave, report).await?;
        return reported(&api, slave).await;
    }
    let session = needed_session(report.session_id.clone())?;
    let is_checked = match report.state {
        // Work waits for these, and a look more is a turn of the coordinator more.
        SlaveState::SetupComplete | SlaveState::SetupFailed => true,
        SlaveState::Idle | SlaveState::Disconnected => false,
    };
    if !is_checked {
        check_known(&api, slave, &session).await?;
    }
    let warning = warning(slave, &report);
    let command = command(slave, session.clone(), report)?;
    match api.cluster.command(command).await {
        Ok(_) => {}
        // The slave must not go on repeating what means nothing any more; but it must be known.
        Err(CommandFailure::Refused(Refusal::UnknownBuild(_))) => {
            if is_checked {
                check_known(&api, slave, &session).await?;
            }
        }
        Err(error) => return Err(error.into()),
    }
    if let Some(warning) = warning {
        match api.cluster.command(warning).await {
            Ok(_) | Err(CommandFailure::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    reported(&api, slave).await
}

async fn check_known(api: &Api, slave: SlaveId, session: &SessionId) -> Result<(), ApiError> {
    let session = session.clone();
    let known = api
        .cluster
        .read(move |cluster| cluster.known_slave(slave, &session).map(|_| ()));
    Ok(known.await??)
}

async fn reported(api: &Api, slave: SlaveId) -> Result<Json<Reported>, ApiError> {
    api.heard(slave).await?;
    let view = api
        .cluster
        .read(move |cluster| cluster.slave(slave).map(shapes::slave));
    Ok(Json(Reported {
        status: "SUCCESS",
        slave: view.await?,
    }))
}

/// A build is torn down, but something went wrong with it.
fn warning(slave: SlaveId, report: &StateReportBody) -> Option<Command> {
    if report.state != SlaveState::Idle {
        return None;
    }
    Some(Command::WarnOfBuild {
        slave,
        build: report.build_id?,
        warning: report.reason.clone()?,
    })
}

fn command(
    slave: SlaveId,
    session: SessionId,
    report: StateReportBody,
) -> Result<Command, ApiError> {
    let build = |build: Option<BuildId>| {
        build.ok_or_else(|| ApiError::Invalid("Field 'slave.build_id' is missing.".to_owned()))
    };
    Ok(match report.state {
        SlaveState::SetupComplete => Command::ReportSetUp {
            slave,
            session,
            build: build(report.build_id)?,
        },
        SlaveState::SetupFailed => Command::ReportSetupFailed {
            slave,
            session,
            build: build(report.build_id)?,
            reason: report
                .reason
                .unwrap_or_else(|| "it gave no reason".to_owned()),
        },
        SlaveState::Idle => Command::ReportTornDown {
            slave,
            build: build(report.build_id)?,
        },
        SlaveState::Disconnected => match report.reason {
            // What it ran may have ended it.
            Some(reason) => Command::ReportSlaveDied {
                slave,
                reason: format!(
                    "it ended: {}",
                    reason.chars().take(MAX_REASON).collect::<String>()
                ),
            },
            None => Command::ReportStopped { slave },
        },
    })
}
