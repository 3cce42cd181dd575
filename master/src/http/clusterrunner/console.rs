//! The console output of an atom: from the master's disk once the atom has a result, else from the
//! slave that runs it, through the master, so that users need not reach slaves.

use super::error::ApiError;
use super::{Api, Path};
use crate::core::builds::build::{Build, Subjob};
use crate::core::command::Refusal;
use crate::core::slaves::slave::Slave;
use crate::store::results::{StoredConsole, is_damage};
use axum::Json;
use axum::extract::{RawQuery, State};
use clusterrunner_common::api::ConsoleBody;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SessionId, SubjobId};
use clusterrunner_common::process::console::{DEFAULT_MAX_LINES, segment};
use std::io;

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
) -> Result<Json<ConsoleBody>, ApiError> {
    let lines = Lines::parse(query.as_deref().unwrap_or_default())?;
    let missing = || ApiError::NoConsole(build, subjob, atom);
    match place(&api, build, subjob, atom).await? {
        Place::Here(attempt) => {
            let turn = api.turns.take().await;
            let read = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                let console = match api.results.console(build, subjob, attempt, atom) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) if is_damage(&error) => {
                        return Err(ApiError::DamagedResults(build, error));
                    }
                    opened => opened.map_err(disk)?,
                };
                let Lines {
                    max_lines,
                    offset_line,
                } = lines;
                let piece = match console {
                    StoredConsole::Memory(text) => segment(text, max_lines, offset_line, true),
                    StoredConsole::File(text) => segment(text, max_lines, offset_line, true),
                };
                Ok::<_, ApiError>(Some(piece?))
            });
            let piece = read
                .await
                .map_err(|error| disk(io::Error::other(error)))??;
            piece.map(Json).ok_or_else(missing)
        }
        Place::OnSlave(url, session) => {
            let mut url = format!(
                "{url}/v1/build/{build}/subjob/{subjob}/atom/{atom}/console?max_lines={}",
                lines.max_lines
            );
            if let Some(offset) = lines.offset_line {
                url = format!("{url}&offset_line={offset}");
            }
            match api.caller.get_from(&session, &url).await {
                Ok(piece) => Ok(Json(piece)),
                Err(error) => match error.status().map(|status| status.as_u16()) {
                    Some(404) => Err(missing()),
                    Some(400) => Err(ApiError::Invalid(error.to_string())),
                    _ => Err(ApiError::SlaveConsole(error)),
                },
            }
        }
        Place::Nowhere => Err(missing()),
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

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lines {
    max_lines: usize,
    offset_line: Option<u64>,
}

impl Lines {
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
