//! The slave's HTTP API. Orders are taken from holders of the secret only; reads are open.

mod console;
mod error;
mod legacy;
mod routes;

use crate::connection::Registration;
use crate::coordinator::{WorkHandle, WorkView};
use crate::deliver::reports::Reports;
use crate::master::api::Dialect;
use crate::master::lineage::Lineage;
use crate::run::consoles::Consoles;
use crate::work::{Answer, Command, JobSource, OrderedSubjob, SetupOrder};
use axum::Json;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use clusterrunner_common::api::build_request::{BuildRequest, ProjectSource};
use clusterrunner_common::api::{
    ExecutorView, MasterMark, OrderAnswer, SetupRequest, SlaveStatusBody, SlaveStatusView,
    SubjobAccepted, SubjobOrder, SubjobRequest, SubjobsRequest, Success, TeardownRequest,
    VersionBody,
};
use clusterrunner_common::auth::gate::{Gate, Guarded, Proof, Signed};
use clusterrunner_common::auth::signature::SignatureError;
use clusterrunner_common::http::cors::AllowedOrigins;
use clusterrunner_common::http::routes::Reached;
use clusterrunner_common::http::rules::{Ruled, Rules};
use clusterrunner_common::http::turns::Turns;
use clusterrunner_common::http::version::ApiVersion;
use clusterrunner_common::ids::{Attempt, BuildId, ExecutorIndex, SessionId, SubjobId};
use clusterrunner_common::logs::event_log::EventLog;
use error::ApiError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::RwLockReadGuard;
use tokio_util::sync::CancellationToken;

/// How large an order may be. Commands and atoms may have any length: what bounds them is how much a
/// master takes from a `clusterrunner.yaml` or an atomizer.
const MAX_ORDER: usize = 1 << 30;

/// How long the answer to an order waits for its end at most: well below the patience of HTTP clients.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What the handlers need.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) work: WorkHandle,
    pub(crate) registration: Registration,
    pub(crate) dialect: Dialect,
    pub(crate) lineage: Lineage,
    pub(crate) consoles: Arc<Consoles>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) events: EventLog,
    pub(crate) session: SessionId,
    /// How much of a console is kept.
    pub(crate) max_console_size: Option<u64>,
    pub(crate) master_url: String,
    /// Who reads a console.
    pub(crate) turns: Turns,
    /// Ends the process in order.
    pub(crate) stop: CancellationToken,
}

impl Api {
    /// Lets an order in; one without a full signature only from a master of the original, which
    /// this slave has then connected to.
    async fn admit(&self, proof: Proof) -> Result<RwLockReadGuard<'_, ()>, ApiError> {
        let admitted = self.registration.admit().await;
        if proof.is_weak() && !self.dialect.is_original() {
            return Err(ApiError::MustSign(SignatureError::Missing));
        }
        Ok(admitted)
    }

    /// The same for an order about a build, which a master of ours gives only in the life of it that this
    /// slave has connected to. `attempt` is the highest that it gives.
    async fn admit_about(
        &self,
        build: BuildId,
        proof: Proof,
        master: Option<&MasterMark>,
        attempt: Option<Attempt>,
    ) -> Result<RwLockReadGuard<'_, ()>, ApiError> {
        let admitted = self.admit(proof).await?;
        if !proof.is_weak() {
            let master = master.ok_or(ApiError::OtherProtocol { missing: "master" })?;
            if let Err(not_met) = self.lineage.admit(master, build, attempt) {
                self.registration.doubt();
                return Err(not_met.into());
            }
        }
        Ok(admitted)
    }

    /// Gives the work an order that takes time, and waits for its end for as long as whoever gave it
    /// asks for.
    async fn carry_out(
        &self,
        build: BuildId,
        proof: Proof,
        (wait_ms, master): (Option<u64>, Option<MasterMark>),
        attempt: Option<Attempt>,
        order: impl FnOnce() -> Result<Command, ApiError>,
    ) -> Result<Json<OrderAnswer>, ApiError> {
        let admitted = self
            .admit_about(build, proof, master.as_ref(), attempt)
            .await?;
        let command = order()?;
        let expected = wait_ms.map(|_| self.reports.expect(build));
        self.work.send(command)?;
        // To connect, the slave waits for all who were let in.
        drop(admitted);
        let limit = Duration::from_millis(wait_ms.unwrap_or(0)).min(LONGEST_WAIT);
        let state = match expected {
            Some(expected) => expected.within(limit).await,
            None => None,
        };
        let status = Success::default().status;
        Ok(Json(OrderAnswer { status, state }))
    }
}

/// `{"executors": [...]}`.
#[derive(Serialize)]
struct ExecutorsBody {
    executors: Vec<ExecutorView>,
}

/// `{"executor": ...}`.
#[derive(Serialize)]
struct ExecutorBody {
    executor: ExecutorView,
}

pub(crate) use legacy::{LEGACY_WARNING, legacy_proof};

/// All routes, behind the gate and the rules that hold for every request.
pub(crate) fn router(api: Api, gate: &Arc<Gate>, origins: AllowedOrigins) -> Ruled<Guarded> {
    let session = api.session.clone();
    let (router, routes) = routes::table().build();
    let router = router
        .fallback(|| async { ApiError::NotFound })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .with_state(api);
    let rules = Rules {
        session,
        routes,
        origins,
        observer: None,
    };
    rules.around(gate.before(router))
}

/// The ids in a path. What is no id names nothing that is here.
struct Ids<T>(T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Ids<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Digits only: a sign, too, would be parsed as a number.
        if parts.extensions.get::<Reached>().is_none() {
            return Err(ApiError::NotFound);
        }
        match Path::from_request_parts(parts, state).await {
            Ok(Path(ids)) => Ok(Self(ids)),
            Err(_) => Err(ApiError::NotFound),
        }
    }
}

async fn status(State(api): State<Api>) -> Json<SlaveStatusBody> {
    let WorkView {
        executors,
        current_build,
        is_stopping,
    } = api.work.view();
    Json(SlaveStatusBody {
        slave: SlaveStatusView {
            is_alive: !is_stopping && !api.stop.is_cancelled(),
            master_url: api.master_url,
            current_build_id: current_build,
            slave_id: api.registration.id(),
            executors,
            session_id: api.session,
        },
    })
}

async fn version(version: ApiVersion) -> Json<VersionBody> {
    Json(VersionBody {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api_version: version.number(),
    })
}

/// The latest events: `?since_id` or `?since_timestamp`.
async fn events(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    version: ApiVersion,
    reached: Reached,
) -> Response {
    api.events
        .answer(query.as_deref(), reached.children(version))
        .await
}

/// What the original says to a GET of a subjob.
async fn nothing_to_read() -> Json<Value> {
    Json(json!({"comment": "not implemented"}))
}

async fn executors(State(api): State<Api>) -> Json<ExecutorsBody> {
    Json(ExecutorsBody {
        executors: api.work.view().executors,
    })
}

async fn executor(
    State(api): State<Api>,
    Ids(wanted): Ids<ExecutorIndex>,
) -> Result<Json<ExecutorBody>, ApiError> {
    let executors = api.work.view().executors;
    let found = executors.into_iter().find(|executor| executor.id == wanted);
    match found {
        Some(executor) => Ok(Json(ExecutorBody { executor })),
        None => Err(ApiError::UnknownExecutor(wanted)),
    }
}

async fn set_up(
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
    let project = BuildRequest::from_json(&parameters)?;
    if matches!(project.project, ProjectSource::Git { .. }) && request.commit.is_none() {
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
        job: JobSource::Order(job),
        subjobs,
        timeout,
    })
}

async fn start_subjob(
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
        }],
        timeout: request.timeout_s.map(Duration::from_secs),
    };
    let master = request.master.as_ref();
    let _admitted = api.admit_about(build, proof, master, Some(attempt)).await?;
    let executor_id = match api.work.send(command)? {
        Answer::Subjobs(executor) => executor,
        Answer::Done => None,
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
        } = order;
        if atoms.is_empty() {
            return Err(ApiError::NoAtoms(subjob));
        }
        let commands = atoms.into_iter().map(|atom| format!("{atom} {command}"));
        ordered.push(OrderedSubjob {
            subjob,
            attempt,
            atomic_commands: commands.collect(),
        });
    }
    let mut commands = ordered.iter().flat_map(|order| &order.atomic_commands);
    if commands.any(|command| command.contains('\0')) {
        return Err(ApiError::NulInCommand);
    }
    Ok((ordered, timeout_s.map(Duration::from_secs)))
}

/// Many hand-outs in one call.
async fn start_subjobs(
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

async fn tear_down(
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

async fn kill(
    State(api): State<Api>,
    proof: Proof,
    Signed(_): Signed<Value>,
) -> Result<Json<Success>, ApiError> {
    let _admitted = api.admit(proof).await?;
    tracing::info!("told to end by a signed call");
    api.stop.cancel();
    Ok(Json(Success::default()))
}
