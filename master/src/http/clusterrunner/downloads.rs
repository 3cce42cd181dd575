//! The archives of a build, as streams made of its stored results.

use super::error::ApiError;
use super::{Api, Path};
use crate::store::results::{BuildArchive, MatrixArchive, Results, is_damage};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clusterrunner_common::http::SentMethod;
use clusterrunner_common::http::clusterrunner::rules::is_known;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::turns::{Turn, Turns};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::{Build, BuildState};
use clusterrunner_core::effect::ArchiveContent;
use clusterrunner_core::refusal::Refusal;
use clusterrunner_core::slaves::slave::Slave;
use futures_util::StreamExt as _;
use httpdate::fmt_http_date;
use std::io;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

const TAR: &str = "application/x-tar";
const ZIP: &str = "application/zip";

/// How many zip archives are sent at a time: each takes half a MiB while it is made, and up to ten bytes for each of
/// its files.
const ZIPS: usize = 32;

/// How many archives and long consoles: each has a few files open.
const TARS: usize = 128;

/// The downloads of archives under way. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Downloads {
    zips: Turns,
    tars: Turns,
}

impl Default for Downloads {
    fn default() -> Self {
        Self {
            zips: Turns::at_a_time(ZIPS),
            tars: Turns::at_a_time(TARS),
        }
    }
}

impl Downloads {
    /// A turn to send a stored file.
    pub(super) fn take_file(&self) -> Result<Turn, ApiError> {
        self.tars.try_take().ok_or(ApiError::TooMany)
    }
}

/// A body that has its turn until it is read.
pub(super) fn in_turn(body: Body, turn: Turn) -> Body {
    let pieces = body.into_data_stream();
    Body::from_stream(pieces.inspect(move |_| {
        // It goes with the stream.
        let _ = &turn;
    }))
}

/// The original's way to the archive.
pub(super) async fn redirect(Path(build): Path<BuildId>) -> Response {
    let location = format!("/v1/build/{build}/artifacts.tar.gz");
    (StatusCode::FOUND, [(header::LOCATION, location)]).into_response()
}

pub(super) async fn tar(
    State(api): State<Api>,
    Path(build): Path<BuildId>,
    request: Request,
) -> Result<Response, ApiError> {
    let turn = api.downloads.take_file()?;
    let archive = match archived(&api, build).await {
        Err(ApiError::ArchivesOfMatrix { children, .. }) => {
            drop(turn);
            let asked = (request.headers().clone(), is_head(&request));
            return of_matrix(api, build, children, asked).await;
        }
        archive => archive?,
    };
    let length = archive.tar_length();
    let etag = etag(archive.made_at(), length, "");
    if is_known(request.headers(), &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let headers = [
        (header::CONTENT_TYPE, TAR.to_owned()),
        (header::ETAG, etag.clone()),
        (header::LAST_MODIFIED, fmt_http_date(archive.made_at())),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
    ];
    Ok(match wanted(request.headers(), &etag, length) {
        Wanted::All => {
            let body = tar_body(archive, 0..length, &request, turn);
            (headers, [(header::CONTENT_LENGTH, length)], body).into_response()
        }
        Wanted::Part(range) => {
            let part = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            let part_length = [(header::CONTENT_LENGTH, range.end - range.start)];
            let part = [(header::CONTENT_RANGE, part)];
            let body = tar_body(archive, range, &request, turn);
            let status = StatusCode::PARTIAL_CONTENT;
            (status, headers, part, part_length, body).into_response()
        }
        Wanted::Nothing => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
            (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response()
        }
    })
}

/// The zip is made while it is sent, so its length is not known before, nor where a part of it begins.
pub(super) async fn zip(
    State(api): State<Api>,
    Path(build): Path<BuildId>,
    request: Request,
) -> Result<Response, ApiError> {
    let turn = api.downloads.zips.try_take().ok_or(ApiError::TooMany)?;
    let archive = archived(&api, build).await?;
    let etag = etag(archive.made_at(), archive.tar_length(), "-zip");
    if is_known(request.headers(), &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let headers = [
        (header::CONTENT_TYPE, ZIP.to_owned()),
        (header::ETAG, etag),
        (header::LAST_MODIFIED, fmt_http_date(archive.made_at())),
        (header::ACCEPT_RANGES, "none".to_owned()),
    ];
    let body = if is_head(&request) {
        // A stream, so that no length is told.
        Body::from_stream(futures_util::stream::empty::<io::Result<bytes::Bytes>>())
    } else {
        in_turn(Body::from_stream(archive.zip(api.turns)), turn)
    };
    Ok((headers, body).into_response())
}

/// The archive of a parent is made while it is sent, as a zip is: those of its children, each in its folder. A child
/// without one has no folder.
async fn of_matrix(
    api: Api,
    build: BuildId,
    children: Vec<(BuildId, String)>,
    (asked, is_head): (HeaderMap, bool),
) -> Result<Response, ApiError> {
    let turn = api.downloads.zips.try_take().ok_or(ApiError::TooMany)?;
    let mut archives = Vec::with_capacity(children.len());
    for (child, folder) in children {
        match archived(&api, child).await {
            Ok(archive) => archives.push((folder, archive)),
            Err(ApiError::NotReady) => return Err(ApiError::NotReady),
            Err(ApiError::NoArchive { .. } | ApiError::ResultsRemoved(_)) => {}
            Err(ApiError::Refused(Refusal::ForgottenBuild(_))) => {}
            Err(error) => return Err(error),
        }
    }
    if archives.is_empty() {
        let why = "no build of its matrix has one";
        return Err(ApiError::NoArchive { build, why });
    }
    let archive = MatrixArchive::of(archives);
    let etag = etag(archive.made_at(), archive.length_of_parts(), "-matrix");
    if is_known(&asked, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let headers = [
        (header::CONTENT_TYPE, TAR.to_owned()),
        (header::ETAG, etag),
        (header::LAST_MODIFIED, fmt_http_date(archive.made_at())),
        (header::ACCEPT_RANGES, "none".to_owned()),
    ];
    let body = match is_head {
        true => Body::from_stream(futures_util::stream::empty::<io::Result<bytes::Bytes>>()),
        false => in_turn(Body::from_stream(archive.tar(api.turns)), turn),
    };
    Ok((headers, body).into_response())
}

fn tar_body(archive: BuildArchive, range: Range<u64>, request: &Request, turn: Turn) -> Body {
    match is_head(request) {
        true => Body::empty(),
        false => in_turn(Body::from_stream(archive.tar(range)), turn),
    }
}

fn is_head(request: &Request) -> bool {
    let sent = request.extensions().get::<SentMethod>();
    sent.is_some_and(|SentMethod(method)| method == Method::HEAD)
}

/// What of an archive is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    Nothing,
}

/// A single range is given, as far as there is something of it. Several, and what is no range, get
/// all, as the standard allows; so does who has a part of another archive.
fn wanted(asked: &HeaderMap, etag: &str, length: u64) -> Wanted {
    let text = |name| {
        asked
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    if text(header::IF_RANGE).is_some_and(|part_of| part_of != etag) {
        return Wanted::All;
    }
    let Some(range) = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")) else {
        return Wanted::All;
    };
    let Some((first, last)) = range.split_once('-') else {
        return Wanted::All;
    };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // What is too large for us is behind every end.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(last)) if first.is_empty() => length.saturating_sub(last)..length,
        _ => return Wanted::All,
    };
    match range.is_empty() {
        true => Wanted::Nothing,
        false => Wanted::Part(range),
    }
}

fn disk(source: io::Error) -> ApiError {
    ApiError::Disk {
        what: "Reading an archive",
        source,
    }
}

/// What there is of the archive of a build.
enum Archived {
    /// All of it: so many subjobs have a result.
    Whole(u64),
    /// What had come until it was canceled or failed, and what was on its way has come.
    Partial,
    /// It may still come.
    NotYet,
    /// Its children have archives, each of which is in a folder of this name.
    OfMatrix(Vec<(BuildId, String)>),
}

impl Archived {
    fn of(build: &Build, is_held: bool) -> Self {
        if build.is_parent() {
            return match build.is_over() {
                true => Self::OfMatrix(build.folders()),
                false => Self::NotYet,
            };
        }
        match &build.state {
            BuildState::Finished => Self::Whole(build.num_finished as u64),
            BuildState::Error { .. } | BuildState::Canceled if !is_held => Self::Partial,
            _ => Self::NotYet,
        }
    }
}

/// The archive of a build that is over.
async fn archived(api: &Api, build: BuildId) -> Result<BuildArchive, ApiError> {
    let is_held = move |cluster: &Cluster| {
        let has = |slave: &Slave| slave.is_alive() && slave.builds.contains_key(&build);
        cluster.slaves().any(has)
    };
    let seen = api.builds.seen(
        build,
        move |cluster, build| Archived::of(build, is_held(cluster)),
        |archived| Archived::of(&archived.build, false),
    );
    let num_results = match seen.await? {
        Archived::Whole(num_results) => num_results,
        Archived::Partial => return partial(api, build).await,
        Archived::NotYet => return Err(ApiError::NotReady),
        Archived::OfMatrix(children) => return Err(ApiError::ArchivesOfMatrix { build, children }),
    };
    let read = in_thread(api, move |results| results.archive_of(build, num_results)).await;
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // It may have been removed after the look.
            api.builds.check(build).await?;
            Err(disk(error))
        }
        Err(error) if is_damage(&error) => match made_again(api, build).await? {
            Err(error) if is_damage(&error) => Err(ApiError::DamagedResults(build, error)),
            made => made.map_err(disk),
        },
        read => read.map_err(disk),
    }
}

/// The archive of a build that ended early: of all results there are.
async fn partial(api: &Api, build: BuildId) -> Result<BuildArchive, ApiError> {
    let content = content_of(api, build).await?;
    if content.results.is_empty() {
        let why = "it ended before any of its atoms had a result";
        return Err(ApiError::NoArchive { build, why });
    }
    let made = in_thread(api, move |results| {
        let (counted, failed) = (content.results, &content.failed_attempts);
        let all =
            results.with_failed_attempts(build, counted, failed, &CancellationToken::new())?;
        results.partial_archive(build, &all, &content.failures)
    });
    match made.await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            api.builds.check(build).await?;
            Err(ApiError::ResultsRemoved(build))
        }
        Err(error) if is_damage(&error) => Err(ApiError::DamagedResults(build, error)),
        made => made.map_err(disk),
    }
}

async fn in_thread(
    api: &Api,
    work: impl FnOnce(&Results) -> io::Result<BuildArchive> + Send + 'static,
) -> io::Result<BuildArchive> {
    let (results, turn) = (api.results.clone(), api.turns.take().await);
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work(&results)
    });
    let done = done.await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// What the archive of a build is made of.
async fn content_of(api: &Api, build: BuildId) -> Result<ArchiveContent, ApiError> {
    let live = api.builds.live(build, |_, build| {
        Ok::<_, ApiError>(ArchiveContent::of(build, build.numbered_subjobs()))
    });
    if let Some(content) = live.await? {
        return Ok(content);
    }
    let subjobs = api.builds.archived.subjobs(build, |number| 0..number);
    let (ended, subjobs) = subjobs.await?.ok_or(Refusal::ForgottenBuild(build))?;
    let subjobs = subjobs.iter().map(|(id, subjob)| (*id, subjob));
    Ok(ArchiveContent::of(&ended.build, subjobs))
}

/// The archive of a finished build, made of the blocks that its results must be in.
async fn made_again(api: &Api, build: BuildId) -> Result<io::Result<BuildArchive>, ApiError> {
    let content = content_of(api, build).await?;
    let made = in_thread(api, move |results| {
        let (counted, failed) = (content.results, &content.failed_attempts);
        let all =
            results.with_failed_attempts(build, counted, failed, &CancellationToken::new())?;
        results.archive_again(build, &all, &content.failures)
    });
    Ok(made.await)
}

/// An archive never changes once it is there, so its time and length tell it from all others.
fn etag(made_at: SystemTime, length: u64, form: &str) -> String {
    let since = made_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, nanoseconds) = (since.as_secs(), since.subsec_nanos());
    format!("\"{seconds:x}-{nanoseconds:x}-{length:x}{form}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_understood_or_not_heard() {
        let tag = "\"tag\"";
        let ask = |headers: &[(header::HeaderName, &str)]| {
            let mut asked = HeaderMap::new();
            for (name, value) in headers {
                asked.insert(name, value.parse().unwrap());
            }
            wanted(&asked, tag, 100)
        };
        let range = |range| ask(&[(header::RANGE, range)]);
        assert_eq!(ask(&[]), Wanted::All);
        for (text, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=10-", 10..100),
            ("bytes=90-1000", 90..100),
            ("bytes=-7", 93..100),
            ("bytes=-1000", 0..100),
        ] {
            assert_eq!(range(text), Wanted::Part(expected), "{text}");
        }
        for text in [
            "lines=1-2",
            "bytes=x",
            "bytes=5-3",
            "bytes=5-6-7",
            "bytes=-",
            "bytes=0-1,5-6",
        ] {
            assert_eq!(range(text), Wanted::All, "{text}");
        }
        for text in ["bytes=100-", "bytes=100-120", "bytes=-0"] {
            assert_eq!(range(text), Wanted::Nothing, "{text}");
        }
        let part = (header::RANGE, "bytes=0-9");
        let same = ask(&[part.clone(), (header::IF_RANGE, tag)]);
        assert_eq!(same, Wanted::Part(0..10));
        let other = ask(&[part, (header::IF_RANGE, "\"other\"")]);
        assert_eq!(other, Wanted::All);
    }
}
