//! What slaves that run instances ask and tell: which they have, what these print, and the snapshots they run.

use super::error::ApiError;
use super::sender::Sender;
use super::{Api, Path};
use crate::read::app_story;
use crate::store::app_logs::{AppLogs, Output};
use crate::store::instance_logs::InstanceLogs;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::api::Success;
use clusterrunner_common::api::instances::{
    InstancesReport, LogPiece, LogsAnswer, LogsReport, MAX_LOGS_BODY, SnapshotRequest,
};
use clusterrunner_common::auth::gate::Signed;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{ProjectId, SessionId, SlaveId};
use clusterrunner_common::lock::lock;
use clusterrunner_common::work::ReportedState;
use clusterrunner_core::Cluster;
use clusterrunner_core::command::Command;
use clusterrunner_core::instances::reported::{ReportedInstance, ReportedInstances};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex};
use tokio::task::spawn_blocking;

/// How many snapshots a slave may say that it has.
const MAX_SNAPSHOTS: usize = 10_000;

/// The number of the last report of each slave's life. After a restart of the master the slaves say all anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastReports(Arc<Mutex<HashMap<SlaveId, (SessionId, u64)>>>);

impl LastReports {
    /// Whether a report is the newest of its slave's life so far. The same one may come again.
    fn is_new(&self, slave: SlaveId, session: &SessionId, number: u64) -> bool {
        let mut last = lock(&self.0);
        match last.get(&slave) {
            Some((life, last)) if life == session && *last > number => false,
            _ => {
                last.insert(slave, (session.clone(), number));
                true
            }
        }
    }

    /// Drops what other slaves than these said.
    pub(super) fn drop_others(&self, alive: &BTreeSet<SlaveId>) {
        lock(&self.0).retain(|slave, _| alive.contains(slave));
    }
}

/// A slave says which instances it has.
pub(super) async fn report(
    State(api): State<Arc<Api>>,
    Path(slave): Path<SlaveId>,
    sender: Sender,
    Signed(report): Signed<InstancesReport>,
) -> Result<Json<Success>, ApiError> {
    let InstancesReport {
        session_id: session,
        number,
        max_instances,
        runs_images,
        instances,
        snapshots,
    } = report;
    if snapshots.len() > MAX_SNAPSHOTS {
        return Err(ApiError::Invalid(format!(
            "Field 'snapshots' may have at most {MAX_SNAPSHOTS} entries."
        )));
    }
    sender.check(slave)?;
    check_known(&api, slave, &session).await?;
    if api.last_reports.is_new(slave, &session, number) {
        // Before anybody hears that a run has ended: how much of its output is still on its way.
        for instance in &instances {
            if let ReportedState::Exited { printed, .. } = instance.state {
                let logs = &api.instance_logs;
                logs.expect(instance.id, instance.generation, printed);
            }
        }
        let instances = instances.into_iter().map(|instance| ReportedInstance {
            id: instance.id,
            generation: instance.generation,
            state: instance.state,
            restarts: instance.restarts,
        });
        let report = ReportedInstances {
            max_instances,
            runs_images,
            instances: instances.collect(),
            snapshots: snapshots.into_iter().collect(),
        };
        let command = Command::ReportInstances {
            slave,
            session,
            report,
        };
        api.cluster.command(command).await?;
    }
    api.heard(slave).await?;
    Ok(Json(Success::default()))
}

/// A slave brings what its instances printed.
pub(super) async fn logs(
    State(api): State<Arc<Api>>,
    Path(slave): Path<SlaveId>,
    sender: Sender,
    Signed(report): Signed<LogsReport, MAX_LOGS_BODY>,
) -> Result<Json<LogsAnswer>, ApiError> {
    let LogsReport { session_id, logs } = report;
    let ends_somewhere = |piece: &LogPiece| piece.offset.checked_add(piece.length).is_some();
    if !logs.iter().all(ends_somewhere) {
        let error = "Fields 'offset' and 'length' of 'logs' must be below 2^64 together.";
        return Err(ApiError::Invalid(error.to_owned()));
    }
    sender.check(slave)?;
    check_known(&api, slave, &session_id).await?;
    let bytes: usize = logs.iter().map(|piece| piece.text.len()).sum();
    api.space.check(bytes as u64)?;
    let look = move |cluster: &Cluster| {
        let wanted = logs
            .into_iter()
            .map(|piece| (wanted(cluster, slave, &piece), piece));
        wanted.collect::<Vec<_>>()
    };
    let pieces = api.cluster.read(look).await?;
    let (store, app_logs) = (api.instance_logs.clone(), api.app_logs.clone());
    let now = Timestamp::now();
    let stored = spawn_blocking(move || {
        let end = |(wanted, piece): (Option<Wanted>, LogPiece)| match wanted {
            Some(wanted) => stored(&store, &app_logs, now, &wanted, &piece),
            None => Ok(None),
        };
        pieces.into_iter().map(end).collect::<io::Result<Vec<_>>>()
    });
    let ends = stored
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    let ends = ends.map_err(|source| ApiError::Disk {
        what: "Storing what instances print",
        source,
    })?;
    Ok(Json(LogsAnswer { ends }))
}

/// Where what an instance prints belongs.
#[derive(Debug)]
struct Wanted {
    /// The app, and the process as users call it.
    app: Option<(ProjectId, String)>,
    is_run: bool,
}

/// None of what nobody wants.
fn wanted(cluster: &Cluster, slave: SlaveId, piece: &LogPiece) -> Option<Wanted> {
    let instance = cluster.instance(piece.id)?;
    let is_here = instance.generation == piece.generation && instance.slave == Some(slave);
    let project = instance.purpose.project();
    let app = project.filter(|project| cluster.app(*project).is_some());
    is_here.then(|| Wanted {
        app: app.zip(app_story::process(&instance.purpose)),
        is_run: instance.purpose.is_run(),
    })
}

/// Stores a piece in the log of its instance, and in that of its app. Says how much both have: the slave goes on there,
/// and each takes only what it has not.
fn stored(
    logs: &InstanceLogs,
    app_logs: &AppLogs,
    at: Timestamp,
    wanted: &Wanted,
    piece: &LogPiece,
) -> io::Result<Option<u64>> {
    let of_app = match &wanted.app {
        Some((project, process)) => {
            let before = logs.end_of(piece.id, piece.generation)?;
            let output = Output {
                process,
                is_run: wanted.is_run,
                piece,
                before: before.unwrap_or_default(),
            };
            Some(app_logs.add_output(*project, at, output)?)
        }
        None => None,
    };
    let end = match wanted.is_run {
        true => logs.add_of_run(piece)?,
        false => logs.add(piece)?,
    };
    Ok(match of_app {
        Some(of_app) => end.zip(of_app).map(|(end, of_app)| end.min(of_app)),
        None => end,
    })
}

/// A snapshot has come to a slave and was not what its digest says. If it is not here, no slave can have it any more.
async fn is_damaged_here(api: &Api, digest: &str) -> Result<bool, ApiError> {
    let (store, named) = (api.snapshots.clone(), digest.to_owned());
    let looked = spawn_blocking(move || store.is_whole(&named)).await;
    let looked = looked.unwrap_or_else(|error| Err(io::Error::other(error)));
    let is_whole = looked.map_err(|source| ApiError::Disk {
        what: "Reading a snapshot",
        source,
    })?;
    if is_whole {
        return Ok(false);
    }
    tracing::error!(
        snapshot = digest,
        "the snapshot of a template is damaged on the master's disk: the next build of its source makes it anew"
    );
    let digest = digest.to_owned();
    let report = Command::ReportDamagedSnapshot { digest };
    api.cluster.command(report).await?;
    Ok(true)
}

/// A slave asks for a snapshot, or for the rest of it.
pub(super) async fn snapshot(
    State(api): State<Arc<Api>>,
    sender: Sender,
    Signed(request): Signed<SnapshotRequest>,
) -> Result<Response, ApiError> {
    let SnapshotRequest {
        slave_id,
        session_id,
        digest,
        offset,
        is_damaged,
    } = request;
    sender.check(slave_id)?;
    check_known(&api, slave_id, &session_id).await?;
    let wanted = digest.clone();
    let look = move |cluster: &Cluster| {
        let mut templates = cluster.templates();
        let template = templates.find(|template| template.digest() == wanted)?;
        Some((template.content.bytes, template.is_damaged))
    };
    let found = api.cluster.read(look).await?;
    let (bytes, is_known) = found.ok_or(ApiError::NoSnapshot)?;
    let store = api.snapshots.clone();
    if is_known || (is_damaged && is_damaged_here(&api, &digest).await?) {
        return Err(ApiError::DamagedSnapshot);
    }
    let opened = spawn_blocking(move || store.open_at(&digest, bytes, offset)).await;
    let opened = opened.unwrap_or_else(|error| Err(io::Error::other(error)));
    let snapshot = opened.map_err(|source| match source.kind() {
        io::ErrorKind::InvalidInput => ApiError::Invalid(format!(
            "Field 'offset' must be {bytes} at most: the snapshot has no more bytes."
        )),
        _ => ApiError::Disk {
            what: "Reading a snapshot",
            source,
        },
    })?;
    api.heard(slave_id).await?;
    let head = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, snapshot.rest().to_string()),
    ];
    Ok((head, Body::from_stream(snapshot.stream())).into_response())
}

async fn check_known(api: &Api, slave: SlaveId, session: &SessionId) -> Result<(), ApiError> {
    let session = session.clone();
    let known = api
        .cluster
        .read(move |cluster| cluster.known_slave(slave, &session).map(|_| ()));
    Ok(known.await??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_report_of_the_same_life_is_dropped() {
        let last = LastReports::default();
        let life = |name: &str| SessionId(name.to_owned());
        for (slave, session, number, expected) in [
            (1, "a", 2, true),
            (1, "a", 2, true),
            (1, "a", 1, false),
            (2, "b", 1, true),
            (1, "c", 1, true),
            (1, "c", 0, false),
        ] {
            let found = last.is_new(SlaveId(slave), &life(session), number);
            assert_eq!(found, expected, "{slave} {session} {number}");
        }
        last.drop_others(&BTreeSet::from([SlaveId(2)]));
        assert!(last.is_new(SlaveId(1), &life("c"), 0));
        assert!(!last.is_new(SlaveId(2), &life("b"), 0));
    }
}
