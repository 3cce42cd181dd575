//! Console output of atoms that run here, or whose results the master has not taken yet.

use super::error::ApiError;
use super::{Api, Ids};
use crate::outbox::EndedConsole;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderName, header};
use clusterrunner_common::api::ConsoleBody;
use clusterrunner_common::artifact::{CONSOLE_FILE, EXIT_CODE_FILE};
use clusterrunner_common::console::{DEFAULT_MAX_LINES, live_segment, segment};
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Cursor};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
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
    let max_lines = match number(query, "max_lines")? {
        None => DEFAULT_MAX_LINES,
        // Too few lines are refused below, in the right words.
        Some(max_lines) => usize::try_from(max_lines).unwrap_or(0),
    };
    let offset_line = match number(query, "offset_line")? {
        None => None,
        Some(offset) => Some(u64::try_from(offset).map_err(|_| ApiError::NegativeOffset)?),
    };
    let directory = api.data.artifact_directory(build, subjob, atom);
    let (max_size, outbox) = (api.max_console_size, api.work.outbox());
    let read = spawn_blocking(move || {
        let missing = |error: io::Error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::debug!(%error, "a console file could not be opened");
            }
            ApiError::NoConsole {
                build,
                subjob,
                atom,
            }
        };
        // Looked at first: what is written between the two looks is then shown next time.
        let ended = directory.join(EXIT_CODE_FILE).exists();
        let (file, ended) = match open(&directory.join(CONSOLE_FILE)) {
            Ok(file) => (file, ended),
            // It is on its way to the master.
            Err(error) => match outbox.console(build, subjob, atom) {
                Some(EndedConsole::File(file)) => (file, true),
                Some(EndedConsole::Memory(text)) => {
                    let text = Cursor::new(text);
                    return Ok(segment(text, max_lines, offset_line, true)?);
                }
                None => return Err(missing(error)),
            },
        };
        live_segment(file, max_size, max_lines, offset_line, ended).map_err(ApiError::from)
    });
    let body = read.await.map_err(|error| {
        tracing::error!(%error, "reading a console broke off");
        ApiError::Internal
    })??;
    Ok(Json(body))
}

fn number(query: &HashMap<String, String>, name: &'static str) -> Result<Option<i64>, ApiError> {
    let parse = |text: &String| text.trim().parse().map_err(|_| ApiError::NotANumber(name));
    query.get(name).map(parse).transpose()
}

/// Opens what is a file: an atom could have put a link to elsewhere, or a pipe, in its place.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}
