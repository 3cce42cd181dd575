//! The files that an atom left: a list of them, and each as a download or to look at. Strangers wrote them, so nothing of
//! them runs where the page runs: a browser gets them as plain text or a picture, in a sandbox.

use super::downloads::in_turn;
use super::error::ApiError;
use super::{Api, Path};
use crate::consoles::{AtomPlace, ConsolePlace};
use crate::store::results::{Artifact, Results, is_damage};
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use clusterrunner_common::api::artifacts::{ArtifactView, ArtifactsBody};
use clusterrunner_common::http::clusterrunner::page::PageOfRows;
use clusterrunner_common::ids::{AtomId, Attempt, BuildId, SubjobId};
use clusterrunner_common::turns::Turns;
use futures_util::Stream;
use std::fmt::Write as _;
use std::io;
use tokio::task::spawn_blocking;

/// What a browser may do with the content: show it, and no more, as if it came from another site.
const POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'";

/// The media types of pictures that have no scripts, by the ends of names.
const PICTURES: [(&str, &str); 6] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("bmp", "image/bmp"),
];

/// Lists files of an atom.
pub(super) async fn list(
    State(api): State<Api>,
    Path(atom): Path<AtomPlace>,
    PageOfRows(page): PageOfRows,
    RawQuery(query): RawQuery,
) -> Result<Json<ArtifactsBody>, ApiError> {
    let attempt = attempt(&api, atom, query.as_deref()).await?;
    let (build, subjob, id) = atom;
    let wanted = page.range(usize::MAX);
    let read = in_thread(&api, move |results| {
        results.artifacts(build, (subjob, attempt, id), &wanted)
    });
    let found = read.await.map_err(|error| missing(error, atom))?;
    let view = |(path, bytes)| ArtifactView { path, bytes };
    Ok(Json(ArtifactsBody {
        artifacts: found.files.into_iter().map(view).collect(),
        total: found.total,
    }))
}

/// One file: to be saved, or with `view` in the query to be looked at.
pub(super) async fn one(
    State(api): State<Api>,
    Path((build, subjob, id, path)): Path<(BuildId, SubjobId, AtomId, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let atom = (build, subjob, id);
    let sending = api.downloads.take_file()?;
    let attempt = attempt(&api, atom, query.as_deref()).await?;
    let name = path.clone();
    let opened = in_thread(&api, move |results| {
        results.artifact(build, (subjob, attempt, id), &path)
    });
    let file = opened.await.map_err(|error| missing(error, atom))?;
    let is_viewed = query.is_some_and(|query| {
        let mut names = query.split('&').map(|pair| pair.split('=').next());
        names.any(|name| name == Some("view"))
    });
    let (kind, disposition) = match is_viewed {
        true => (shown_as(&name), "inline".to_owned()),
        false => ("application/octet-stream", attachment(&name)),
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CONTENT_LENGTH, file.left().to_string()),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        // A running build may give the same name another content: its atom may run again.
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    let body = Body::from_stream(stream(file, api.turns));
    Ok((headers, in_turn(body, sending)).into_response())
}

/// The content of a file. Each piece takes its turn.
fn stream(file: Artifact, turns: Turns) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures_util::stream::unfold(Some((file, turns)), |state| async {
        let (mut file, turns) = state?;
        let turn = turns.take().await;
        let read = spawn_blocking(move || {
            let _turn = turn;
            let piece = file.piece();
            (file, piece)
        });
        match read.await {
            Ok((_, Ok(None))) => None,
            Ok((file, Ok(Some(piece)))) => Some((Ok(piece), Some((file, turns)))),
            Ok((_, Err(error))) => Some((Err(error), None)),
            Err(broken) => Some((Err(io::Error::other(broken)), None)),
        }
    })
}

/// The attempt that a query asks for, else the last one with a result.
async fn attempt(api: &Api, atom: AtomPlace, query: Option<&str>) -> Result<Attempt, ApiError> {
    let wanted = super::console::attempt(query.unwrap_or_default())?;
    let (build, subjob, id) = atom;
    let none = || ApiError::NoArtifacts(build, subjob, id);
    let place = api.consoles().place(atom, wanted).await;
    match place.map_err(|error| super::console::of_attempt(error, atom, none()))? {
        ConsolePlace::Here(attempt) => Ok(attempt),
        ConsolePlace::OnSlave(_) | ConsolePlace::Nowhere => Err(none()),
    }
}

fn missing(error: io::Error, (build, subjob, atom): AtomPlace) -> ApiError {
    match error.kind() {
        io::ErrorKind::NotFound => ApiError::NoArtifacts(build, subjob, atom),
        _ if is_damage(&error) => ApiError::DamagedResults(build, error),
        _ => ApiError::Disk {
            what: "Reading artifacts",
            source: error,
        },
    }
}

async fn in_thread<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce(&Results) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (results, turn) = (api.results.clone(), api.turns.take().await);
    let done = spawn_blocking(move || {
        let _turn = turn;
        work(&results)
    });
    let done = done.await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// The media type under which a file is looked at. What may have scripts is text.
fn shown_as(path: &str) -> &'static str {
    let end = path.rsplit_once('.').map(|(_, end)| end.to_lowercase());
    let mut pictures = PICTURES.iter();
    let picture = pictures.find(|(known, _)| end.as_deref() == Some(known));
    picture.map_or("text/plain; charset=utf-8", |(_, kind)| kind)
}

/// The header of a download: the last part of the path, in plain characters and as it is.
fn attachment(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let plain = name.chars().map(|sign| match u8::try_from(sign) {
        Ok(byte) if is_plain(byte) => sign,
        _ => '_',
    });
    let plain: String = plain.collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        match is_plain(byte) {
            true => encoded.push(char::from(byte)),
            // Writing to a text does not fail.
            false => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_keeps_its_name_and_no_header_breaks() {
        for (path, plain, encoded) in [
            ("a/b/report.xml", "report.xml", "report.xml"),
            ("a\r\nX: \"y\"", "a__X___y_", "a%0D%0AX%3A%20%22y%22"),
            ("\u{202e}gnp.exe", "_gnp.exe", "%E2%80%AEgnp.exe"),
        ] {
            let expected = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
            assert_eq!(attachment(path), expected);
        }
    }

    #[test]
    fn what_may_have_scripts_is_looked_at_as_text() {
        for path in ["x.html", "x.svg", "x.xml", "x.pdf", "png", "x.png/y", ""] {
            assert_eq!(shown_as(path), "text/plain; charset=utf-8", "{path}");
        }
        assert_eq!(shown_as("shots/One.PNG"), "image/png");
    }
}
