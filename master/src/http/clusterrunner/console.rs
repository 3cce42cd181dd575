//! The console output of an atom and of a set-up: by lines, or all of it from a byte on.

use super::downloads::in_turn;
use super::error::ApiError;
use super::{Api, Path};
use crate::consoles::{AtomPlace, ConsoleFailure, ConsolePlace, Consoles, Lines, SlaveStep};
use crate::store::results::StoredConsole;
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use clusterrunner_common::api::ConsoleBody;
use clusterrunner_common::caller::CallError;
use clusterrunner_common::ids::{Attempt, BuildId, SlaveId};
use clusterrunner_common::process::console::DEFAULT_MAX_LINES;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use tokio_util::io::ReaderStream;

/// How much of a stored output is read and sent at a time.
pub(super) const CHUNK: usize = 128 << 10;

impl Api {
    pub(super) fn consoles(&self) -> Consoles {
        Consoles {
            builds: self.builds.clone(),
            results: self.results.clone(),
            caller: self.caller.clone(),
            turns: self.turns.clone(),
        }
    }
}

pub(super) async fn console(
    State(api): State<Api>,
    Path(atom): Path<AtomPlace>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = query.as_deref().unwrap_or_default();
    let attempt = attempt(query)?;
    if let Some(first) = first_byte(query)? {
        return stream(&api, atom, attempt, first).await;
    }
    let piece = api.consoles().piece(atom, attempt, lines(query)?).await;
    Ok(Json(piece.map_err(|error| of_atom(error, atom))?).into_response())
}

/// All that an ended atom printed from a byte on, as it is.
async fn stream(
    api: &Api,
    atom: AtomPlace,
    attempt: Option<Attempt>,
    first: u64,
) -> Result<Response, ApiError> {
    let consoles = api.consoles();
    let place = consoles.place(atom, attempt).await;
    let ConsolePlace::Here(attempt) = place.map_err(|error| of_atom(error, atom))? else {
        let error = "'offset_byte' is for atoms that have ended; ask for lines of this one.";
        return Err(ApiError::Invalid(error.to_owned()));
    };
    let turn = api.downloads.take_file()?;
    let stored = consoles.stored(atom, attempt).await;
    // No browser takes what an atom printed for a page of the master's.
    let content_type = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let body = match stored.map_err(|error| of_atom(error, atom))? {
        StoredConsole::Memory(mut text) => {
            text.set_position(first);
            let mut rest = Vec::new();
            text.read_to_end(&mut rest).map_err(disk)?;
            Body::from(rest)
        }
        StoredConsole::File(text) => {
            let mut file = text.into_inner();
            go_to(&mut file, first).map_err(disk)?;
            let file = tokio::fs::File::from_std(file);
            in_turn(
                Body::from_stream(ReaderStream::with_capacity(file, CHUNK)),
                turn,
            )
        }
    };
    Ok((content_type, body).into_response())
}

/// Goes to a byte of a file, or to its end where the byte is behind that: a file system refuses to go very far.
pub(super) fn go_to(file: &mut File, byte: u64) -> io::Result<()> {
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(byte.min(end)))?;
    Ok(())
}

/// What `setup_build` prints on a slave: the one that is asked for with `slave`, else one that sets the build up, else
/// one that has.
pub(super) async fn setup(
    State(api): State<Api>,
    Path(build): Path<BuildId>,
    RawQuery(query): RawQuery,
) -> Result<Json<ConsoleBody>, ApiError> {
    let query = query.unwrap_or_default();
    let lines = lines(&query)?;
    let asked = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("slave="));
    let asked = asked.map(|id| number("slave", id)).transpose()?;
    // No slave has a number below zero.
    let asked = asked.map(|id| SlaveId(u64::try_from(id).unwrap_or(u64::MAX)));
    let consoles = api.consoles();
    let Some(slave) = consoles.slave_of(build, asked).await? else {
        api.builds.check(build).await?;
        return Err(ApiError::NoSetup(build));
    };
    let step = (build, SlaveStep::Setup);
    let piece = consoles.step_piece(&slave, step, lines).await;
    let missing = ApiError::NoSetup(build);
    piece
        .map(Json)
        .map_err(|error| in_words_of_the_master(error, missing))
}

fn of_atom(error: ConsoleFailure, atom: AtomPlace) -> ApiError {
    let (build, subjob, id) = atom;
    of_attempt(error, atom, ApiError::NoConsole(build, subjob, id))
}

/// The same where something else than a console may be missing.
pub(super) fn of_attempt(
    error: ConsoleFailure,
    (_, subjob, atom): AtomPlace,
    missing: ApiError,
) -> ApiError {
    if let ConsoleFailure::UnknownAttempt(attempt, known) = error {
        return ApiError::UnknownAttempt {
            atom: (subjob, atom),
            attempt,
            known,
        };
    }
    in_words_of_the_master(error, missing)
}

pub(super) fn in_words_of_the_master(error: ConsoleFailure, missing: ApiError) -> ApiError {
    match error {
        ConsoleFailure::Read(error) => error.into(),
        ConsoleFailure::UnknownAtom(atom) => ApiError::UnknownAtom(atom),
        ConsoleFailure::Missing | ConsoleFailure::UnknownAttempt(..) => missing,
        ConsoleFailure::Damaged(build, error) => ApiError::DamagedResults(build, error),
        ConsoleFailure::Disk(error) => disk(error),
        ConsoleFailure::Piece(error) => error.into(),
        ConsoleFailure::Slave(error) => passed_on(error, missing),
    }
}

/// A slave's refusal in the words of the master.
fn passed_on(error: CallError, missing: ApiError) -> ApiError {
    match error.status().map(|status| status.as_u16()) {
        Some(404) => missing,
        Some(400) => ApiError::Invalid(error.to_string()),
        _ => ApiError::SlaveConsole(error),
    }
}

pub(super) fn disk(source: io::Error) -> ApiError {
    ApiError::Disk {
        what: "Reading a console output",
        source,
    }
}

/// The `offset_byte` of a query, which asks for the output as it is.
pub(super) fn first_byte(query: &str) -> Result<Option<u64>, ApiError> {
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

/// The `attempt` of a query, which is asked for.
pub(super) fn attempt(query: &str) -> Result<Option<Attempt>, ApiError> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut wanted = pairs.filter(|(name, _)| *name == "attempt");
    let Some((name, value)) = wanted.next() else {
        return Ok(None);
    };
    let attempt = u32::try_from(number(name, value)?).ok();
    let attempt = attempt.filter(|attempt| *attempt > 0).map(Attempt);
    attempt.map(Some).ok_or_else(|| {
        ApiError::Invalid("'attempt' must be the number of an attempt, from 1.".to_owned())
    })
}

/// Reads `max_lines` and `offset_line` of a query; other parameters mean nothing here.
pub(super) fn lines(query: &str) -> Result<Lines, ApiError> {
    let mut lines = Lines {
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
    fn an_attempt_is_read_from_the_query() {
        let parse = |query: &str| attempt(query).map_err(|error| error.to_string());
        assert_eq!(parse("max_lines=7"), Ok(None));
        assert_eq!(parse("max_lines=7&attempt=2"), Ok(Some(Attempt(2))));
        for wrong in [
            "attempt=0",
            "attempt=-1",
            "attempt=last",
            "attempt=5000000000",
        ] {
            assert!(parse(wrong).unwrap_err().contains("'attempt' must be "));
        }
    }

    #[test]
    fn lines_are_read_from_the_query() {
        let parse = |query: &str| super::lines(query).map_err(|error| error.to_string());
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
