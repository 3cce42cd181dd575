//! The API of ClusterRunner, versions 1 and 2: routes, handlers, shapes and errors.

mod accounts;
mod again;
mod apps;
mod artifacts;
mod audit;
mod badge;
mod build_page;
mod builds;
mod console;
mod downloads;
mod error;
mod events;
mod explanation;
mod health;
mod history;
mod hosting;
mod instances;
mod joining;
mod kept_setups;
mod lists;
mod multipart;
pub(super) mod openapi;
mod original;
mod plans;
mod polls;
mod pools;
mod private;
mod projects;
mod reads;
mod receivers;
mod recording;
mod requests;
mod routes;
mod secrets;
mod sender;
mod session;
pub(crate) mod shapes;
mod slave_keys;
mod slaves;
mod sources;
mod steps;
mod templates;
mod tested;
#[cfg(test)]
mod tests;
mod until_over;
mod uploads;
mod working_trees;

pub(crate) use build_page::BuildPage;
pub(crate) use builds::checked as checked_request;
pub(crate) use downloads::Downloads;
pub(crate) use events::Live;
pub(crate) use hosting::LastReports;
pub(crate) use multipart::read_upload;
pub(crate) use original::{LEGACY_WARNING, legacy_proof};
pub(crate) use requests::{is_open, session_opens, shows_more, takes_body_digest, takes_token};

use crate::coordinator::{ClusterHandle, Gone};
use crate::http::accounts::Accounts;
use crate::http::caller::Admission;
use crate::http::sessions::Sessions;
use crate::journal::{AuditLog, Histories};
use crate::polls::Lines;
use crate::read::builds::Builds;
use crate::read::forecasts::Forecasts;
use crate::read::metrics::Measured;
use crate::read::pools::Pools;
use crate::read::private::PrivateProjects;
use crate::read::published::Published;
use crate::read::receivers::Receivers;
use crate::read::running::RunningAtoms;
use crate::read::slave_keys::SlaveKeys;
use crate::read::slave_signs::SlaveSigns;
use crate::store::app_logs::AppLogs;
use crate::store::build_secrets::BuildSecrets;
use crate::store::instance_logs::InstanceLogs;
use crate::store::results::Results;
use crate::store::sources::Sources;
use crate::store::templates::Snapshots;
use crate::store::working_trees::WorkingTrees;
use axum::body::Bytes;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use clusterrunner_common::api::ErrorCode;
use clusterrunner_common::auth::gate::{Gate, Guarded};
use clusterrunner_common::caller::Caller;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::kept_entries::KeptEntries;
use clusterrunner_common::disk::space::DiskSpace;
use clusterrunner_common::http::clusterrunner::routes::Reached;
use clusterrunner_common::http::clusterrunner::rules::{Observer, Ruled, Rules};
use clusterrunner_common::http::cors::AllowedOrigins;
use clusterrunner_common::http::{coded_refusal, refusal};
use clusterrunner_common::ids::{SessionId, SlaveId};
use clusterrunner_common::logs::event_log::EventLog;
use clusterrunner_common::remote_files::RemoteFileRules;
use clusterrunner_common::settings::ImagePolicy;
use clusterrunner_common::turns::Turns;
use private::Private;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// What handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// The way to the cluster.
    pub cluster: ClusterHandle,
    /// Users, where passwords and tokens come into it.
    pub accounts: Accounts,
    /// Who is signed in to the page.
    pub sessions: Sessions,
    /// Builds, in the cluster or archived.
    pub builds: Builds,
    /// What earlier builds say of atoms and tests.
    pub histories: Histories,
    /// Who asked for what.
    pub audit: AuditLog,
    /// When builds will end.
    pub forecasts: Forecasts,
    /// Whether there are private projects.
    pub private: PrivateProjects,
    /// The keys of slaves.
    pub slave_keys: SlaveKeys,
    /// Pages of builds that are polled.
    pub published: Published<BuildPage>,
    /// The atoms that run.
    pub running: RunningAtoms,
    /// When slaves were heard of, and how busy they are.
    pub signs: SlaveSigns,
    /// Where results lie.
    pub results: Results,
    /// The space that is left for them.
    pub space: DiskSpace,
    /// Projects, for slaves.
    pub sources: Sources,
    /// Working trees that clients have sent.
    pub working_trees: WorkingTrees,
    /// For the consoles of running atoms, which slaves have.
    pub caller: Caller,
    /// The calls to slaves that poll for them.
    pub lines: Lines,
    /// The event log.
    pub events: EventLog,
    /// Counts of requests and errors.
    pub measured: Measured,
    /// How many parts of large answers are made at a time.
    pub turns: Turns,
    /// The readers that follow what happens.
    pub live: Live,
    /// The downloads of archives under way.
    pub downloads: Downloads,
    /// Those who are told of builds.
    pub receivers: Receivers,
    /// Slaves on demand.
    pub pools: Pools,
    /// The life of this process.
    pub session: SessionId,
    /// The snapshots of templates, for slaves.
    pub snapshots: Snapshots,
    /// What set-ups have made, for slaves.
    pub kept_setups: Arc<KeptEntries>,
    /// What instances print.
    pub instance_logs: InstanceLogs,
    /// What happens to apps and what their processes print.
    pub app_logs: AppLogs,
    /// The domain below which each app has a name, where the settings have one.
    pub app_domain: Option<String>,
    /// The last report of each slave about its instances.
    pub last_reports: LastReports,
    /// The answers that wait for what instances print.
    pub waiting: Turns,
    /// What becomes of templates that need a container image.
    pub image_policy: ImagePolicy,
    /// What builds may name: remote files, and whether repositories of this machine by path.
    pub remote_files: RemoteFileRules,
    /// The secrets of builds.
    pub secrets: BuildSecrets,
    /// The description of all APIs.
    pub description: Bytes,
}

/// Handlers that are called often share it; the others take a copy.
impl FromRef<Arc<Api>> for Api {
    fn from_ref(shared: &Arc<Self>) -> Self {
        Self::clone(shared)
    }
}

impl Api {
    /// A slave called, and proved that it is that one.
    async fn heard(&self, slave: SlaveId) -> Result<(), Gone> {
        self.signs.heard(slave, Timestamp::now());
        self.cluster.heard(slave).await
    }
}

/// The API: its rules around its gate, the gate before the admission, and behind that the routes, with what keeps
/// strangers from private builds before them.
pub(crate) type Router = Ruled<Guarded<Admission<Private<axum::Router>>>>;

/// All routes, behind the gate and the rules that hold for every request.
pub(crate) fn router(api: Api, gate: &Arc<Gate>, origins: AllowedOrigins) -> Router {
    let session = api.session.clone();
    let observer = Some(observer(api.measured.clone()));
    let (router, routes) = routes::table().build();
    let (api, reads_are_open) = (Arc::new(api), gate.has_open_reads());
    let router = router
        .fallback(|| async { error::ApiError::NoRoute })
        .method_not_allowed_fallback(|method: Method| async move {
            let error = format!("This route does not take {method}.");
            refusal(StatusCode::METHOD_NOT_ALLOWED, error)
        })
        .with_state(Arc::clone(&api));
    let inside = Private {
        api,
        reads_are_open,
        inside: router,
    };
    let admission = Admission {
        asked: requests::asked,
        refused: requests::refused,
        reads_are_open,
        inside,
    };
    let rules = Rules {
        session,
        routes,
        origins,
        observer,
    };
    rules.around(gate.before(admission))
}

/// Counts answers by their routes.
fn observer(measured: Measured) -> Observer {
    Arc::new(move |method, reached, status, took| {
        if let Some(reached) = reached {
            let route = (reached.index(), reached.endpoint());
            measured.answered(route, method.as_str(), status.as_u16(), took);
        }
    })
}

/// The ids in a path; what is no number leads nowhere.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let not_found = |why: &str| {
            let message = format!("There is no such route: ids in a path are whole numbers{why}.");
            coded_refusal(StatusCode::NOT_FOUND, Some(ErrorCode::NoRoute), message)
        };
        if parts.extensions.get::<Reached>().is_none() {
            return Err(not_found(""));
        }
        let ids = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        let axum::extract::Path(ids) =
            ids.map_err(|error| not_found(&format!(" ({})", error.body_text())))?;
        Ok(Self(ids))
    }
}
