//! Console output of atoms that run here, or whose results the master has not taken yet.

use super::api::{Api, Ids};
use super::error::ApiError;
use crate::deliver::packed_console::EndedConsole;
use crate::run::consoles::{AtomKey, FoundConsole};
use crate::work::AtomConsole;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderName, header};
use clusterrunner_common::api::ConsoleBody;
use clusterrunner_common::disk::regular_file;
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_common::process::console::{
    ConsoleError, DEFAULT_MAX_LINES, live_segment, segment,
};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// What a console answers; a refusal, too, may be shown by a page from anywhere, such as the
/// dashboard of a master on another host.
type Answer = (
    [(HeaderName, &'static str); 1],
    Result<Json<ConsoleBody>, ApiError>,
);

/// `GET .../console?max_lines&offset_line`.
pub(super) async fn console(
    State(api): State<Api>,
    Ids(ids): Ids<(BuildId, SubjobId, AtomId)>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let piece = piece(&api, ids, &query).await;
    ([(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], piece)
}

async fn piece(
    api: &Api,
    (build, subjob, atom): (BuildId, SubjobId, AtomId),
    query: &HashMap<String, String>,
) -> Result<Json<ConsoleBody>, ApiError> {
    let (max_lines, offset_line) = lines(query)?;
    let (consoles, outbox) = (Arc::clone(&api.consoles), api.work.outbox());
    let max_size = api.max_console_size;
    let turn = api.turns.take().await;
    let read = spawn_blocking(move || {
        let _turn = turn;
        let atom = (build, subjob, atom);
        // What was read of an atom that has ended meanwhile may be another's.
        loop {
            let found = consoles.find(atom);
            if let Some(FoundConsole::Running { file, run }) = found {
                let file = file.try_clone().map_err(ConsoleError::from)?;
                let piece = live_segment(file, max_size, max_lines, offset_line, false);
                if consoles.still_runs(run) {
                    return Ok(piece?);
                }
                continue;
            }
            let (build, subjob, id) = atom;
            let ended = match (outbox.console(build, subjob, id), found) {
                (Some(ended), _) => ended,
                (None, Some(FoundConsole::Ended(AtomConsole::Memory(text)))) => {
                    EndedConsole::Memory(text)
                }
                (None, Some(FoundConsole::Ended(AtomConsole::File(path)))) => {
                    EndedConsole::File(open(&path).map_err(|error| {
                        if error.kind() != io::ErrorKind::NotFound {
                            tracing::debug!(%error, "a console file could not be opened");
                        }
                        no_console(atom)
                    })?)
                }
                (None, _) => return Err(no_console(atom)),
            };
            // It was cut already, where it was too long.
            return Ok(match ended {
                EndedConsole::Memory(text) => {
                    segment(Cursor::new(text), max_lines, offset_line, true)?
                }
                EndedConsole::File(file) => live_segment(file, None, max_lines, offset_line, true)?,
            });
        }
    });
    let body = read.await.map_err(|error| {
        tracing::error!(%error, "reading a console broke off");
        ApiError::Internal
    })??;
    Ok(Json(body))
}

/// `GET /v1/build/<id>/setup?max_lines&offset_line`: what `setup_build` prints.
pub(super) async fn setup(
    State(api): State<Api>,
    Ids(build): Ids<BuildId>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<ConsoleBody>, ApiError> {
    let ended = !api.work.is_setting_up(build);
    let path = api.data.setup_output(build);
    step(&api, build, (path, ended), &query).await
}

/// `GET /v1/build/<id>/teardown?max_lines&offset_line`: what `teardown_build` prints, while it runs.
pub(super) async fn teardown(
    State(api): State<Api>,
    Ids(build): Ids<BuildId>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<ConsoleBody>, ApiError> {
    let path = api.data.teardown_output(build);
    step(&api, build, (path, false), &query).await
}

async fn step(
    api: &Api,
    build: BuildId,
    (path, ended): (PathBuf, bool),
    query: &HashMap<String, String>,
) -> Result<Json<ConsoleBody>, ApiError> {
    let (max_lines, offset_line) = lines(query)?;
    let max_size = api.max_console_size;
    let turn = api.turns.take().await;
    let read = spawn_blocking(move || {
        let _turn = turn;
        let file = open(&path).map_err(|_| ApiError::NoStep(build))?;
        Ok::<_, ApiError>(live_segment(file, max_size, max_lines, offset_line, ended)?)
    });
    let read = read.await.map_err(|error| {
        tracing::error!(%error, "reading the output of a step broke off");
        ApiError::Internal
    })?;
    read.map(Json)
}

/// How many lines are asked for, and from which on.
fn lines(query: &HashMap<String, String>) -> Result<(usize, Option<u64>), ApiError> {
    let max_lines = match number(query, "max_lines")? {
        None => DEFAULT_MAX_LINES,
        // Too few lines are refused below, in the right words.
        Some(max_lines) => usize::try_from(max_lines).unwrap_or(0),
    };
    let offset_line = match number(query, "offset_line")? {
        None => None,
        Some(offset) => Some(u64::try_from(offset).map_err(|_| ApiError::NegativeOffset)?),
    };
    Ok((max_lines, offset_line))
}

fn no_console((build, subjob, atom): AtomKey) -> ApiError {
    ApiError::NoConsole {
        build,
        subjob,
        atom,
    }
}

fn number(query: &HashMap<String, String>, name: &'static str) -> Result<Option<i64>, ApiError> {
    let parse = |text: &String| text.trim().parse().map_err(|_| ApiError::NotANumber(name));
    query.get(name).map(parse).transpose()
}

/// Opens what is a file: an atom could have put a link to elsewhere, or a pipe, in its place.
fn open(path: &Path) -> io::Result<File> {
    regular_file::open_itself(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => io::ErrorKind::NotFound.into(),
        _ => error,
    })
}
