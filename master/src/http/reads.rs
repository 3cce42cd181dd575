//! Plain reads: the cluster as views.

use super::error::ApiError;
use super::{Api, Path};
use crate::cluster::Cluster;
use crate::cluster::build::{Build, Subjob};
use crate::cluster::command::Refusal;
use crate::{metrics, views};
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, header};
use axum::response::Response;
use clusterrunner_common::api::{
    AtomBody, AtomsBody, BuildBody, BuildsBody, MasterBody, MasterView, QueueBody, SlaveBody,
    SlavesBody, SubjobBody, SubjobsBody, VersionBody,
};
use clusterrunner_common::http::page::Page;
use clusterrunner_common::http::version::ApiVersion;
use clusterrunner_common::ids::{AtomId, BuildId, SlaveId, SubjobId};

type Answer<T> = Result<Json<T>, ApiError>;

fn known(cluster: &Cluster, id: BuildId) -> Result<&Build, Refusal> {
    cluster.build(id).ok_or(Refusal::UnknownBuild(id))
}

fn known_subjob(build: &Build, id: SubjobId) -> Result<&Subjob, Refusal> {
    build.subjob(id).ok_or(Refusal::UnknownSubjob(id))
}

pub(super) async fn master(State(api): State<Api>) -> Answer<MasterBody> {
    let slaves = api
        .cluster
        .read(|cluster| cluster.slaves().map(views::slave).collect())
        .await?;
    let status = "Master service is up.".to_owned();
    Ok(Json(MasterBody {
        master: MasterView { status, slaves },
    }))
}

pub(super) async fn version(version: ApiVersion) -> Json<VersionBody> {
    Json(VersionBody {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api_version: version.number(),
    })
}

/// The latest events: `?since_id` or `?since_timestamp`.
pub(super) async fn events(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    api.events.answer(query.as_deref())
}

/// What is measured, for Prometheus.
pub(super) async fn metrics(
    State(api): State<Api>,
) -> Result<([(HeaderName, &'static str); 1], String), ApiError> {
    let mut text = metrics::of_process(&api.measured);
    text.push_str(&api.cluster.read(metrics::of_cluster).await?);
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text))
}

pub(super) async fn builds(State(api): State<Api>, page: Page) -> Answer<BuildsBody> {
    let builds = api
        .cluster
        .read(move |cluster| page.of(cluster.builds()).map(views::build).collect())
        .await?;
    Ok(Json(BuildsBody { builds }))
}

pub(super) async fn queue(State(api): State<Api>) -> Answer<QueueBody> {
    let queue = api.cluster.read(|cluster| {
        let unfinished = cluster.builds().filter(|build| !build.is_over());
        unfinished.map(views::build).collect()
    });
    Ok(Json(QueueBody {
        queue: queue.await?,
    }))
}

pub(super) async fn build(State(api): State<Api>, Path(id): Path<BuildId>) -> Answer<BuildBody> {
    let build = api
        .cluster
        .read(move |cluster| known(cluster, id).map(views::build))
        .await??;
    Ok(Json(BuildBody { build }))
}

pub(super) async fn subjobs(
    State(api): State<Api>,
    Path(id): Path<BuildId>,
    page: Page,
) -> Answer<SubjobsBody> {
    let subjobs = api.cluster.read(move |cluster| {
        let build = known(cluster, id)?;
        let view = |(id, subjob)| views::subjob(cluster, build, id, subjob);
        Ok::<_, Refusal>(page.of(build.numbered_subjobs()).map(view).collect())
    });
    Ok(Json(SubjobsBody {
        subjobs: subjobs.await??,
    }))
}

pub(super) async fn subjob(
    State(api): State<Api>,
    Path((id, subjob_id)): Path<(BuildId, SubjobId)>,
) -> Answer<SubjobBody> {
    let subjob = api.cluster.read(move |cluster| {
        let build = known(cluster, id)?;
        let subjob = known_subjob(build, subjob_id)?;
        Ok::<_, Refusal>(views::subjob(cluster, build, subjob_id, subjob))
    });
    Ok(Json(SubjobBody {
        subjob: subjob.await??,
    }))
}

pub(super) async fn atoms(
    State(api): State<Api>,
    Path((id, subjob_id)): Path<(BuildId, SubjobId)>,
    page: Page,
) -> Answer<AtomsBody> {
    let atoms = api.cluster.read(move |cluster| {
        let build = known(cluster, id)?;
        let subjob = known_subjob(build, subjob_id)?;
        let atoms = views::atoms(build, subjob_id, subjob);
        Ok::<_, Refusal>(page.of(atoms).collect())
    });
    Ok(Json(AtomsBody {
        atoms: atoms.await??,
    }))
}

pub(super) async fn atom(
    State(api): State<Api>,
    Path((id, subjob_id, atom_id)): Path<(BuildId, SubjobId, AtomId)>,
) -> Answer<AtomBody> {
    let atom = api.cluster.read(move |cluster| {
        let build = known(cluster, id)?;
        let subjob = known_subjob(build, subjob_id)?;
        let mut atoms = views::atoms(build, subjob_id, subjob);
        Ok::<_, Refusal>(atoms.find(|atom| atom.id == atom_id))
    });
    let atom = atom.await??.ok_or(ApiError::UnknownAtom(atom_id))?;
    Ok(Json(AtomBody { atom }))
}

pub(super) async fn slaves(State(api): State<Api>) -> Answer<SlavesBody> {
    let slaves = api
        .cluster
        .read(|cluster| cluster.slaves().map(views::slave).collect())
        .await?;
    Ok(Json(SlavesBody { slaves }))
}

pub(super) async fn slave(State(api): State<Api>, Path(id): Path<SlaveId>) -> Answer<SlaveBody> {
    let found = api.cluster.read(move |cluster| {
        cluster
            .slaves()
            .find(|slave| slave.id == id)
            .map(views::slave)
    });
    let slave = found.await?.ok_or(ApiError::UnknownSlave(id))?;
    Ok(Json(SlaveBody { slave }))
}
