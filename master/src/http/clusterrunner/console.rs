//! The console output of an atom: from the master's disk once the atom has a result, else from the
//! slave that runs it, through the master, so that users need not reach slaves.

use super::downloads::in_turn;
use super::error::ApiError;
use super::{Api, Path};
use crate::core::builds::build::{Build, Subjob};
use crate::core::command::Refusal;
use crate::core::slaves::slave::{BuildOnSlave, Slave};
use crate::store::results::{StoredConsole, is_damage};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::api::ConsoleBody;
use clusterrunner_common::caller::CallError;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SessionId, SubjobId};
use clusterrunner_common::process::console::{DEFAULT_MAX_LINES, segment};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use tokio_util::io::ReaderStream;

/// How much of a stored output is read and sent at a time.
const CHUNK: usize = 128 << 10;

/// Where the output is.
enum Place {
    Here(Attempt),
    OnSlave(String, SessionId),
    Nowhere,
}

pub(super) async fn console(
    State(api): State<Api>,
    Path((build, subjob, atom)): Path<(BuildId, SubjobId, AtomId)>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = query.as_deref().unwrap_or_default();
    match first_byte(query)? {
        Some(first) => stream(&api, (build, subjob, atom), first).await,
        None => {
            let piece = piece(&api, (build, subjob, atom), Lines::parse(query)?).await?;
            Ok(Json(piece).into_response())
        }
    }
}

/// All that an ended atom printed from a byte on, as it is.
async fn stream(
    api: &Api,
    (build, subjob, atom): (BuildId, SubjobId, AtomId),
    first: u64,
) -> Result<Response, ApiError> {
    let Place::Here(attempt) = place(api, build, subjob, atom).await? else {
        let error = "'offset_byte' is for atoms that have ended; ask for lines of this one.";
        return Err(ApiError::Invalid(error.to_owned()));
    };
    let turn = api.downloads.take_file()?;
    let stored = stored(api, (build, subjob, attempt, atom)).await?;
    let stored = stored.ok_or(ApiError::NoConsole(build, subjob, atom))?;
    let content_type = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let body = match stored {
        StoredConsole::Memory(mut text) => {
            text.set_position(first);
            let mut rest = Vec::new();
            text.read_to_end(&mut rest).map_err(disk)?;
            Body::from(rest)
        }
        StoredConsole::File(mut text) => {
            text.seek(SeekFrom::Start(first)).map_err(disk)?;
            let file = tokio::fs::File::from_std(text.into_inner());
            in_turn(
                Body::from_stream(ReaderStream::with_capacity(file, CHUNK)),
                turn,
            )
        }
    };
    Ok((content_type, body).into_response())
}

async fn stored(
    api: &Api,
    (build, subjob, attempt, atom): (BuildId, SubjobId, Attempt, AtomId),
) -> Result<Option<StoredConsole>, ApiError> {
    let (turn, results) = (api.turns.take().await, api.results.clone());
    let read = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        match results.console(build, subjob, attempt, atom) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if is_damage(&error) => Err(ApiError::DamagedResults(build, error)),
            opened => opened.map(Some).map_err(disk),
        }
    });
    read.await.map_err(|error| disk(io::Error::other(error)))?
}

async fn piece(
    api: &Api,
    (build, subjob, atom): (BuildId, SubjobId, AtomId),
    lines: Lines,
) -> Result<ConsoleBody, ApiError> {
    let missing = || ApiError::NoConsole(build, subjob, atom);
    match place(api, build, subjob, atom).await? {
        Place::Here(attempt) => {
            let console = stored(api, (build, subjob, attempt, atom)).await?;
            let console = console.ok_or_else(missing)?;
            let turn = api.turns.take().await;
            let read = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let Lines {
                    max_lines,
                    offset_line,
                } = lines;
                let piece = match console {
                    StoredConsole::Memory(text) => segment(text, max_lines, offset_line, true),
                    StoredConsole::File(text) => segment(text, max_lines, offset_line, true),
                };
                Ok(piece?)
            });
            read.await.map_err(|error| disk(io::Error::other(error)))?
        }
        Place::OnSlave(url, session) => {
            let url = lines.asked_of(format!(
                "{url}/v1/build/{build}/subjob/{subjob}/atom/{atom}/console"
            ));
            let answer = api.caller.get_from(&session, &url).await;
            answer.map_err(|error| passed_on(error, missing()))
        }
        Place::Nowhere => Err(missing()),
    }
}

/// What `setup_build` prints on a slave: the one that is asked for with `slave`, else one that sets the build up, else
/// one that has.
pub(super) async fn setup(
    State(api): State<Api>,
    Path(build): Path<BuildId>,
    RawQuery(query): RawQuery,
) -> Result<Json<ConsoleBody>, ApiError> {
    let query = query.unwrap_or_default();
    let lines = Lines::parse(&query)?;
    let asked = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("slave="));
    let asked = asked.map(|id| number("slave", id)).transpose()?;
    let found = api.builds.live(build, move |cluster, _| {
        let is_asked = |slave: &&Slave| asked.is_none_or(|id| u64::try_from(id) == Ok(slave.id.0));
        let alive = cluster
            .slaves()
            .filter(|slave| slave.is_alive())
            .filter(is_asked);
        let having = alive.filter(|slave| slave.builds.contains_key(&build));
        let is_ready = |slave: &&Slave| slave.builds.get(&build) == Some(&BuildOnSlave::Ready);
        let first = having.min_by_key(|slave| (is_ready(slave), slave.id));
        Ok::<_, ApiError>(first.map(|slave| (slave.url.clone(), slave.session.clone())))
    });
    let Some((url, session)) = found.await?.flatten() else {
        api.builds.check(build).await?;
        return Err(ApiError::NoSetup(build));
    };
    let url = lines.asked_of(format!("{url}/v1/build/{build}/setup"));
    let answer = api.caller.get_from(&session, &url).await;
    answer
        .map(Json)
        .map_err(|error| passed_on(error, ApiError::NoSetup(build)))
}

/// A slave's refusal in the words of the master.
fn passed_on(error: CallError, missing: ApiError) -> ApiError {
    match error.status().map(|status| status.as_u16()) {
        Some(404) => missing,
        Some(400) => ApiError::Invalid(error.to_string()),
        _ => ApiError::SlaveConsole(error),
    }
}

fn disk(source: io::Error) -> ApiError {
    ApiError::Disk {
        what: "Reading a console output",
        source,
    }
}

async fn place(
    api: &Api,
    build: BuildId,
    subjob: SubjobId,
    atom: AtomId,
) -> Result<Place, ApiError> {
    let live = api.builds.live(build, move |cluster, known| {
        let state = known.subjob(subjob).ok_or(Refusal::UnknownSubjob(subjob))?;
        if let Some(attempt) = attempt_that_counted(state, atom)?.or(cut_off(known, subjob)) {
            return Ok(Place::Here(attempt));
        }
        let running = known
            .progress()
            .map_or(&known.held_at_end, |progress| &progress.running)
            .get(&subjob);
        let slave = running.and_then(|(slave, _)| cluster.slave(*slave));
        let on = |slave: &Slave| Place::OnSlave(slave.url.clone(), slave.session.clone());
        Ok::<_, ApiError>(slave.map_or(Place::Nowhere, on))
    });
    if let Some(place) = live.await? {
        return Ok(place);
    }
    let (archived, state) = api.builds.archived_subjob(build, subjob).await?;
    let attempt = attempt_that_counted(&state, atom)?.or(cut_off(&archived.build, subjob));
    Ok(attempt.map_or(Place::Nowhere, Place::Here))
}

/// The hand-out under which lies what a subjob had printed when its build ended early.
fn cut_off(build: &Build, subjob: SubjobId) -> Option<Attempt> {
    build.cut_off.get(&subjob).copied()
}

/// The hand-out whose result an atom has, if it has one.
fn attempt_that_counted(subjob: &Subjob, atom: AtomId) -> Result<Option<Attempt>, ApiError> {
    if atom.0 as usize >= subjob.atoms.len() {
        return Err(ApiError::UnknownAtom(atom));
    }
    Ok(subjob.result.as_ref().map(|(attempt, _)| *attempt))
}

/// The `offset_byte` of a query, which asks for the output as it is.
fn first_byte(query: &str) -> Result<Option<u64>, ApiError> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut wanted = pairs.filter(|(name, _)| *name == "offset_byte");
    let Some((name, value)) = wanted.next() else {
        return Ok(None);
    };
    let first = u64::try_from(number(name, value)?).map_err(|_| {
        let error = "'offset_byte' must be greater than or equal to zero.";
        ApiError::Invalid(error.to_owned())
    })?;
    Ok(Some(first))
}

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lines {
    max_lines: usize,
    offset_line: Option<u64>,
}

impl Lines {
    /// The same question to a slave.
    fn asked_of(self, url: String) -> String {
        let url = format!("{url}?max_lines={}", self.max_lines);
        match self.offset_line {
            Some(offset) => format!("{url}&offset_line={offset}"),
            None => url,
        }
    }

    /// Reads `max_lines` and `offset_line` of a query; other parameters mean nothing here.
    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut lines = Self {
            max_lines: DEFAULT_MAX_LINES,
            offset_line: None,
        };
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "max_lines" => {
                    let number = number(name, value)?;
                    if number <= 0 {
                        let error = "'max_lines' must be greater than zero.";
                        return Err(ApiError::Invalid(error.to_owned()));
                    }
                    lines.max_lines = usize::try_from(number).unwrap_or(usize::MAX);
                }
                "offset_line" => {
                    let offset = u64::try_from(number(name, value)?).map_err(|_| {
                        let error = "'offset_line' must be greater than or equal to zero.";
                        ApiError::Invalid(error.to_owned())
                    })?;
                    lines.offset_line = Some(offset);
                }
                _ => {}
            }
        }
        Ok(lines)
    }
}

fn number(name: &str, value: &str) -> Result<i64, ApiError> {
    value
        .parse()
        .map_err(|_| ApiError::Invalid(format!("'{name}' must be a whole number, not '{value}'.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_read_from_the_query() {
        let parse = |query: &str| first_byte(query).map_err(|error| error.to_string());
        assert_eq!(parse("max_lines=7"), Ok(None));
        assert_eq!(parse("max_lines=7&offset_byte=8"), Ok(Some(8)));
        for wrong in ["offset_byte=-1", "offset_byte=x", "offset_byte="] {
            assert!(parse(wrong).unwrap_err().contains("'offset_byte' must be "));
        }
    }

    #[test]
    fn lines_are_read_from_the_query() {
        let parse = |query: &str| Lines::parse(query).map_err(|error| error.to_string());
        let lines = |max_lines, offset_line| {
            Ok(Lines {
                max_lines,
                offset_line,
            })
        };
        assert_eq!(parse(""), lines(50, None));
        assert_eq!(
            parse("max_lines=7&offset_line=0&other=x"),
            lines(7, Some(0))
        );
        assert_eq!(
            parse("max_lines=0"),
            Err("'max_lines' must be greater than zero.".to_owned())
        );
        assert_eq!(
            parse("offset_line=-1"),
            Err("'offset_line' must be greater than or equal to zero.".to_owned())
        );
        assert_eq!(
            parse("max_lines=many"),
            Err("'max_lines' must be a whole number, not 'many'.".to_owned())
        );
    }
}
