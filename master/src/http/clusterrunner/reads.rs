//! Plain reads: one build, subjob, atom or slave, all slaves, metrics, events.

use super::error::ApiError;
use super::lists::shown_now;
use super::until_over::Wait;
use super::{Api, BuildPage, Path, shapes};
use crate::read::metrics;
use crate::read::published::Missing;
use crate::read::running::Runs;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, header};
use axum::response::Response;
use clusterrunner_common::api::{
    AtomBody, AtomsBody, MasterBody, MasterView, SlaveBody, SlaveView, SlavesBody, SubjobBody,
    VersionBody,
};
use clusterrunner_common::http::clusterrunner::page;
use clusterrunner_common::http::clusterrunner::routes::Reached;
use clusterrunner_common::http::clusterrunner::rules;
use clusterrunner_common::http::clusterrunner::version::ApiVersion;
use clusterrunner_common::ids::{AtomId, BuildId, SlaveId, SubjobId};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::subjob::Subjob;
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::slaves::slave::Slave;
use std::sync::Arc;

type Answer<T> = Result<Json<T>, ApiError>;

fn known_subjob(build: &Build, id: SubjobId) -> Result<&Subjob, Refusal> {
    build.subjob(id).ok_or(Refusal::UnknownSubjob(id))
}

pub(super) async fn master(State(api): State<Arc<Api>>) -> Answer<MasterBody> {
    let slaves = api
        .cluster
        .read(|cluster| cluster.slaves().map(shapes::slave).collect())
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
pub(super) async fn events(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    version: ApiVersion,
    reached: Reached,
) -> Response {
    api.events
        .answer(query.as_deref(), reached.children(version))
        .await
}

/// What is measured, for Prometheus.
pub(super) async fn metrics(
    State(api): State<Arc<Api>>,
) -> Result<([(HeaderName, &'static str); 1], String), ApiError> {
    let mut text = metrics::of_process(&api.measured);
    text.push_str(&api.cluster.read(metrics::of_cluster).await?);
    text.push_str(&metrics::of_pools(&api.pools.all()));
    if let Some(free) = api.space.free() {
        text.push_str(&metrics::disk_space(free, api.space.check(0).is_err()));
    }
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text))
}

/// A build as it is published. The first request for it has it published.
pub(super) async fn build(
    State(api): State<Arc<Api>>,
    Path(id): Path<BuildId>,
    wait: Wait,
    version: ApiVersion,
    reached: Reached,
) -> Result<Response, ApiError> {
    wait.until_over(&api, id).await?;
    let damages = api.results.damages(id);
    let page = match api.published.page(id) {
        _ if !damages.is_empty() => Arc::new(with_warnings(&api, id, damages).await?),
        Ok(page) if page.tells_what_is_left() => Arc::new(now(&api, id).await?),
        Ok(page) => page,
        Err(missing) => publish(&api, id, missing).await?,
    };
    let page = match version {
        ApiVersion::V2 if page.is_foretold() => {
            let finish = api.forecasts.finish(id).await;
            Arc::new(page.with_finish(finish.map(shapes::finish)))
        }
        ApiVersion::V1 | ApiVersion::V2 => page,
    };
    let written = page.written(&reached, version);
    let written = written.map_err(|error| ApiError::Disk {
        what: "Writing an answer",
        source: error.into(),
    })?;
    Ok(rules::whole(written.body, written.etag))
}

/// A build as it stands at this moment.
async fn now(api: &Api, id: BuildId) -> Result<BuildPage, ApiError> {
    let seen = api
        .builds
        .seen(id, shown_now(&api.running), shapes::ended_build);
    Ok(BuildPage::new(seen.await?))
}

async fn publish(
    api: &Api,
    id: BuildId,
    missing: Missing<BuildPage>,
) -> Result<Arc<BuildPage>, ApiError> {
    let missing = Arc::new(missing);
    let of_live = Arc::clone(&missing);
    let seen = api.builds.seen(
        id,
        move |cluster, build| of_live.publish(cluster, build),
        |archived| {
            let page = BuildPage::new(shapes::ended_build(archived));
            match page.is_large() {
                true => Arc::new(page),
                false => missing.publish_read(page),
            }
        },
    );
    Ok(seen.await?)
}

/// A build of which something is damaged, which no event says.
async fn with_warnings(
    api: &Api,
    id: BuildId,
    warnings: Vec<String>,
) -> Result<BuildPage, ApiError> {
    let seen = api.builds.seen(id, shapes::build_of, shapes::ended_build);
    let mut view = seen.await?;
    view.warnings.extend(warnings);
    Ok(BuildPage::new(view))
}

/// What `view` makes of a subjob, wherever its build is, and of whether it runs.
async fn of_subjob<T: Send + 'static>(
    api: &Api,
    id: BuildId,
    subjob_id: SubjobId,
    view: impl Fn(&Build, &Subjob, Runs) -> T + Clone + Send + 'static,
) -> Result<T, ApiError> {
    let (of_live, running) = (view.clone(), api.running.of(id));
    let live = api.builds.live(id, move |cluster, build| {
        let subjob = known_subjob(build, subjob_id)?;
        let runs = running.runs(cluster, build, subjob_id);
        Ok::<_, ApiError>(of_live(build, subjob, runs))
    });
    if let Some(seen) = live.await? {
        return Ok(seen);
    }
    let (archived, subjob) = api.builds.archived_subjob(id, subjob_id).await?;
    let runs = Runs::at_end(&archived.build, subjob_id);
    Ok(view(&archived.build, &subjob, runs))
}

pub(super) async fn subjob(
    State(api): State<Arc<Api>>,
    Path((id, subjob_id)): Path<(BuildId, SubjobId)>,
) -> Answer<SubjobBody> {
    let view =
        move |build: &Build, subjob: &Subjob, runs| shapes::subjob(build, subjob_id, subjob, runs);
    let subjob = of_subjob(&api, id, subjob_id, view).await?;
    Ok(Json(SubjobBody { subjob }))
}

pub(super) async fn atoms(
    State(api): State<Arc<Api>>,
    Path((id, subjob_id)): Path<(BuildId, SubjobId)>,
    page: page::Page,
) -> Answer<AtomsBody> {
    let view = move |build: &Build, subjob: &Subjob, runs| {
        page.of(shapes::atoms(build, subjob_id, subjob, runs))
            .collect()
    };
    let atoms = of_subjob(&api, id, subjob_id, view).await?;
    Ok(Json(AtomsBody { atoms }))
}

pub(super) async fn atom(
    State(api): State<Arc<Api>>,
    Path((id, subjob_id, atom_id)): Path<(BuildId, SubjobId, AtomId)>,
) -> Answer<AtomBody> {
    let view = move |build: &Build, subjob: &Subjob, runs| {
        shapes::atoms(build, subjob_id, subjob, runs).find(|atom| atom.id == atom_id)
    };
    let atom = of_subjob(&api, id, subjob_id, view).await?;
    let atom = atom.ok_or(ApiError::UnknownAtom(atom_id))?;
    Ok(Json(AtomBody { atom }))
}

/// How a version of the API shows a slave: version 1 as the original does, and with what is decided of it.
fn slave_in(version: ApiVersion, api: &Api) -> impl Fn(&Slave) -> SlaveView + Send + 'static {
    let signs = api.signs.clone();
    move |slave| match version {
        ApiVersion::V1 => shapes::slave(slave),
        ApiVersion::V2 => shapes::slave_with_signs(slave, &signs),
    }
}

pub(super) async fn slaves(State(api): State<Arc<Api>>, version: ApiVersion) -> Answer<SlavesBody> {
    let shown = slave_in(version, &api);
    let look = move |cluster: &Cluster| cluster.slaves().map(shown).collect();
    let slaves = api.cluster.read(look).await?;
    Ok(Json(SlavesBody { slaves }))
}

pub(super) async fn slave(
    State(api): State<Arc<Api>>,
    Path(id): Path<SlaveId>,
    version: ApiVersion,
) -> Answer<SlaveBody> {
    let shown = slave_in(version, &api);
    let found = api.cluster.read(move |cluster| {
        let mut slaves = cluster.slaves();
        slaves.find(|slave| slave.id == id).map(shown)
    });
    let slave = found.await?.ok_or(ApiError::UnknownSlave(id))?;
    Ok(Json(SlaveBody { slave }))
}
