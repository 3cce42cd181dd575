//! The steps of a build: which there are, and what they print.

use super::console::{CHUNK, disk, first_byte, go_to, in_words_of_the_master, lines};
use super::downloads::in_turn;
use super::error::ApiError;
use super::multipart::{MAX_REPORT, Upload};
use super::sender::Sender;
use super::{Api, Path, shapes};
use crate::consoles::{Lines, SlaveStep};
use crate::store::results::{ATOMIZERS, FETCH, StoredStep};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::api::{
    ConsoleBody, StepKind, StepReport, StepState, StepView, StepsBody, Success,
};
use clusterrunner_common::auth::gate::SignedUpload;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::process::console::{live_segment, segment};
use clusterrunner_core::Cluster;
use clusterrunner_core::refusal::Refusal;
use std::io;
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;

pub(super) async fn list(
    State(api): State<Api>,
    Path(build): Path<BuildId>,
) -> Result<Json<StepsBody>, ApiError> {
    let steps = api.steps(build).await?;
    Ok(Json(StepsBody { steps }))
}

impl Api {
    /// The steps of a build that have ended.
    pub(super) async fn ended_steps(
        &self,
        build: BuildId,
    ) -> Result<Vec<(u64, StoredStep)>, ApiError> {
        let (turn, results) = (self.turns.take().await, self.results.clone());
        let read = spawn_blocking(move || {
            let _turn = turn;
            results.steps(build)
        });
        blocking(read.await)
    }

    /// All steps of a build.
    async fn steps(&self, build: BuildId) -> Result<Vec<StepView>, ApiError> {
        let now = self
            .builds
            .seen(build, shapes::steps_under_way, |_| Vec::new());
        let mut under_way = now.await?;
        let (turn, results) = (self.turns.take().await, self.results.clone());
        let read = spawn_blocking(move || {
            let _turn = turn;
            let atomizers = results.atomizers_under_way(build)?;
            Ok((results.steps(build)?, atomizers.is_some()))
        });
        let (ended, atomizers_run) = blocking(read.await)?;
        // While it is under way, nothing is said of it.
        let has_fetched = atomizers_run || ended.iter().any(|(id, _)| *id == FETCH);
        under_way.retain(|step| step.kind != StepKind::Fetch || !has_fetched);
        let ended: Vec<StepView> = ended.into_iter().map(shapes::stored_step).collect();
        if atomizers_run && ended.iter().all(|step| step.id != ATOMIZERS) {
            under_way.push(shapes::atomizers());
        }
        Ok(shapes::merged(ended, under_way))
    }
}

fn blocking<T>(read: Result<io::Result<T>, tokio::task::JoinError>) -> Result<T, ApiError> {
    let read = read.map_err(io::Error::other);
    read.and_then(|read| read).map_err(disk)
}

/// What a step printed, in the forms of an atom's console.
pub(super) async fn console(
    State(api): State<Api>,
    Path((build, number)): Path<(BuildId, u64)>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = query.as_deref().unwrap_or_default();
    let (first, lines) = (first_byte(query)?, lines(query)?);
    let steps = api.steps(build).await?;
    let step = steps.into_iter().find(|step| step.id == number);
    let step = step.ok_or(ApiError::NoStep(build, number))?;
    match (step.state, first) {
        (StepState::InProgress, Some(_)) => {
            let error = "'offset_byte' is for steps that have ended; ask for lines of this one.";
            Err(ApiError::Invalid(error.to_owned()))
        }
        (StepState::InProgress, None) => {
            let piece = live_piece(&api, build, &step, lines).await?;
            Ok(Json(piece).into_response())
        }
        (StepState::Completed | StepState::Failed, Some(first)) => {
            stream(&api, (build, number), first).await
        }
        (StepState::Completed | StepState::Failed, None) => {
            let (turn, results) = (api.turns.take().await, api.results.clone());
            let read = spawn_blocking(move || {
                let _turn = turn;
                let output = results.step_output(build, number);
                let output = output.map_err(|error| missing(error, (build, number)))?;
                let Lines {
                    max_lines,
                    offset_line,
                } = lines;
                Ok(segment(output, max_lines, offset_line, true)?)
            });
            let piece: Result<ConsoleBody, ApiError> = read
                .await
                .unwrap_or_else(|error| Err(disk(io::Error::other(error))));
            Ok(Json(piece?).into_response())
        }
    }
}

/// All that a step printed from a byte on, as it is.
async fn stream(
    api: &Api,
    (build, number): (BuildId, u64),
    first: u64,
) -> Result<Response, ApiError> {
    let turn = api.downloads.take_file()?;
    let results = api.results.clone();
    let opened = spawn_blocking(move || {
        let mut output = results.step_output(build, number)?.into_inner();
        go_to(&mut output, first)?;
        Ok(output)
    });
    let opened = opened.await.map_err(io::Error::other);
    let opened = opened.and_then(|opened| opened);
    let output = opened.map_err(|error| missing(error, (build, number)))?;
    let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(output), CHUNK);
    let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let body = in_turn(Body::from_stream(chunks), turn);
    Ok((content_type, body).into_response())
}

fn missing(error: io::Error, (build, number): (BuildId, u64)) -> ApiError {
    match error.kind() {
        io::ErrorKind::NotFound => ApiError::NoStep(build, number),
        _ => disk(error),
    }
}

/// Some lines of what a step has printed that is under way.
async fn live_piece(
    api: &Api,
    build: BuildId,
    step: &StepView,
    lines: Lines,
) -> Result<ConsoleBody, ApiError> {
    let missing = || ApiError::NoStep(build, step.id);
    let on_slave = match step.kind {
        StepKind::Atomizer => {
            let (turn, results) = (api.turns.take().await, api.results.clone());
            let read = spawn_blocking(move || {
                let _turn = turn;
                let file = results.atomizers_under_way(build).map_err(disk)?;
                let Some(file) = file else { return Ok(None) };
                let (max, first) = (lines.max_lines, lines.offset_line);
                Ok(Some(live_segment(file, None, max, first, false)?))
            });
            let piece: Result<_, ApiError> = read
                .await
                .unwrap_or_else(|error| Err(disk(io::Error::other(error))));
            return piece?.ok_or_else(missing);
        }
        // It says something when it has ended.
        StepKind::Fetch => return Err(missing()),
        StepKind::Setup => SlaveStep::Setup,
        StepKind::Teardown => SlaveStep::Teardown,
    };
    let consoles = api.consoles();
    let slave = consoles.slave_of(build, step.slave_id).await?;
    let slave = slave.ok_or_else(missing)?;
    let piece = consoles.step_piece(&slave, (build, on_slave), lines).await;
    piece.map_err(|error| in_words_of_the_master(error, missing()))
}

/// A slave brings what a step printed.
pub(super) async fn receive(
    State(api): State<Api>,
    Path(build): Path<BuildId>,
    sender: Sender,
    SignedUpload { request, verdict }: SignedUpload,
) -> Result<Json<Success>, ApiError> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    api.space.check(length.unwrap_or(0))?;
    let mut upload = Upload::begin(request).await?;
    let report: StepReport = upload.report(MAX_REPORT).await?;
    if report.kind == StepKind::Atomizer {
        let error = "Field 'kind' must be setup or teardown: atomizers run on the master.";
        return Err(ApiError::Invalid(error.to_owned()));
    }
    let (slave, session) = (report.slave_id, report.session_id);
    sender.check(slave)?;
    let known = api.cluster.read(move |cluster: &Cluster| {
        let url = cluster.known_slave(slave, &session)?.url.clone();
        let build = cluster.build(build).ok_or(Refusal::UnknownBuild(build))?;
        match build.slave_urls.contains_key(&slave) {
            true => Ok(url),
            false => Err(Refusal::UnknownBuild(build.id)),
        }
    });
    let url = known.await??;
    api.heard(slave).await?;
    let payload = upload.file().await?.save(&api, build).await?;
    upload.end().await?;
    if !verdict.is_genuine() {
        // All parts are there, but not all of what was signed.
        return Err(ApiError::BrokenOff);
    }
    let number = shapes::of_slave(report.kind, slave);
    let step = StoredStep {
        kind: report.kind,
        slave: Some((slave, url)),
        end: report.end,
    };
    let results = api.results.clone();
    let kept = spawn_blocking(move || results.keep_step(build, number, &step, payload.block)).await;
    let kept = kept.map_err(io::Error::other).and_then(|kept| kept);
    kept.map_err(ApiError::storing)?;
    Ok(Json(Success::default()))
}
