//! Lists that may be very long as answers: the long ones are sent part by part as they are read.

use super::error::ApiError;
use super::private::hidden;
use super::{Api, Path, shapes};
use crate::core::Cluster;
use crate::core::access::Caller;
use crate::core::builds::build::Build;
use crate::read::lists::{AtBuild, AtSubjob, Part};
use crate::read::running::{RunningInBuild, Runs};
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use clusterrunner_common::api::{BuildView, SubjobFilter, SubjobView};
use clusterrunner_common::http::answers::Begun;
use clusterrunner_common::http::clusterrunner::page::{Page, Wanted};
use clusterrunner_common::http::clusterrunner::routes::Reached;
use clusterrunner_common::http::clusterrunner::rules::{self, Streamed};
use clusterrunner_common::http::clusterrunner::version::ApiVersion;
use clusterrunner_common::http::turns::Turns;
use clusterrunner_common::ids::{BuildId, SubjobId};
use futures_util::stream;
use serde::Serialize;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Lists of so many bytes are held in memory and have an ETag; longer ones are sent as they are made. A few are begun
/// at a time.
const HELD: usize = 1 << 20;

/// What a request for a list speaks: decides what is listed as below it.
type Form = (Reached, ApiVersion);

/// The text of a list while it is made.
struct Text {
    text: Vec<u8>,
    is_empty: bool,
    /// What comes after the list.
    children: String,
}

impl Text {
    fn of(name: &str, (reached, version): &Form) -> Self {
        Self {
            text: format!("{{\"{name}\":[").into_bytes(),
            is_empty: true,
            children: reached.children(*version).to_owned(),
        }
    }

    fn add(&mut self, entries: &[impl Serialize]) -> Result<(), ApiError> {
        for entry in entries {
            if !self.is_empty {
                self.text.push(b',');
            }
            self.is_empty = false;
            let written = serde_json::to_writer(&mut self.text, entry);
            written.map_err(|error| ApiError::Disk {
                what: "Writing a list",
                source: error.into(),
            })?;
        }
        Ok(())
    }

    fn end(&mut self) {
        let end = format!("],\"child_routes\":{}}}", self.children);
        self.text.extend_from_slice(end.as_bytes());
    }
}

/// The answer with the list `name`, whose parts `part` gives.
async fn answer<T, C, F>(
    turns: &Turns,
    (name, form): (&str, &Form),
    first: C,
    mut part: impl FnMut(C) -> F + Send + 'static,
) -> Result<Response, ApiError>
where
    T: Serialize + Send + 'static,
    C: Send + 'static,
    F: Future<Output = Result<Part<T, C>, ApiError>> + Send + 'static,
{
    let turn = turns.take().await;
    let mut text = Text::of(name, form);
    let mut cursor = Some(first);
    while let Some(at) = cursor.take_if(|_| text.text.len() < HELD) {
        let part = part(at).await?;
        text.add(&part.entries)?;
        cursor = part.next;
    }
    if cursor.is_none() {
        text.end();
        let body = Bytes::from(text.text);
        let etag = rules::etag_of(&body);
        return Ok(rules::whole(body, etag));
    }
    drop(turn);
    let begun = Begun(text.text.len());
    let state = Some((text, cursor, part));
    let rest = stream::unfold(state, |state| async {
        let (mut text, cursor, mut part) = state?;
        let sent = Bytes::from(std::mem::take(&mut text.text));
        let Some(at) = cursor else {
            return (!sent.is_empty()).then_some((Ok(sent), Some((text, None, part))));
        };
        let more = match part(at).await {
            Ok(more) => more,
            Err(error) => return Some((Err(broken(&error)), None)),
        };
        if let Err(error) = text.add(&more.entries) {
            return Some((Err(broken(&error)), None));
        }
        if more.next.is_none() {
            text.end();
        }
        Some((Ok(sent), Some((text, more.next, part))))
    });
    let mut response = Response::new(Body::from_stream(rest));
    response.extensions_mut().insert(Streamed);
    response.extensions_mut().insert(begun);
    Ok(response)
}

/// The reader of a list that breaks off sees the connection end.
fn broken(error: &ApiError) -> io::Error {
    tracing::debug!(%error, "a list broke off while it was sent");
    io::Error::other(error.to_string())
}

pub(super) async fn builds(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    page: Page,
    version: ApiVersion,
    reached: Reached,
) -> Result<Response, ApiError> {
    let turns = api.turns.clone();
    let part = move |at| some_builds(Arc::clone(&api), caller, at, version);
    let all = AtBuild::range(&page.range(usize::MAX));
    answer(&turns, ("builds", &(reached, version)), all, part).await
}

async fn some_builds(
    api: Arc<Api>,
    caller: Caller,
    at: AtBuild,
    version: ApiVersion,
) -> Result<Part<BuildView, AtBuild>, ApiError> {
    let some = api.builds.some(at, shapes::build_of, shapes::ended_build);
    let Part { mut entries, next } = some.await?;
    let hidden = hidden(&api, caller, entries.iter().map(|(id, _)| *id)).await?;
    entries.retain(|(id, _)| !hidden.contains(id));
    let with_warnings = |(id, mut build): (BuildId, BuildView)| {
        build.warnings.extend(api.results.damages(id));
        shapes::in_version(build, version)
    };
    let entries = entries.into_iter().map(with_warnings).collect();
    Ok(Part { entries, next })
}

pub(super) async fn queue(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    version: ApiVersion,
    reached: Reached,
) -> Result<Response, ApiError> {
    let turns = api.turns.clone();
    let part = move |at| {
        let api = Arc::clone(&api);
        async move {
            let mut some = api.builds.some_unfinished(at, shapes::build_of).await?;
            let hidden = hidden(&api, caller, some.entries.iter().map(|build| build.id)).await?;
            some.entries.retain(|build| !hidden.contains(&build.id));
            Ok(some)
        }
    };
    let all = AtBuild::range(&(0..usize::MAX));
    answer(&turns, ("queue", &(reached, version)), all, part).await
}

pub(super) async fn subjobs(
    State(api): State<Arc<Api>>,
    Path(id): Path<BuildId>,
    page: Page,
    Wanted(filter): Wanted,
    version: ApiVersion,
    reached: Reached,
) -> Result<Response, ApiError> {
    let (turns, builds, running) = (api.turns.clone(), api.builds.clone(), api.running.clone());
    let part = move |at| {
        let (builds, running) = (builds.clone(), running.of(id));
        async move {
            let of_live = move |cluster: &Cluster, build: &Build, numbers: Range<usize>| {
                let ids = numbers.filter_map(|number| u32::try_from(number).ok().map(SubjobId));
                subjobs_of(cluster, build, &running, filter, ids)
            };
            let some = builds.some_subjobs(id, at, of_live, |build, id, subjob| {
                shapes::subjob(build, id, subjob, Runs::at_end(build, id))
            });
            let mut some = some.await?;
            some.entries
                .retain(|subjob| filter.is_none_or(|filter| filter.has(subjob)));
            Ok(some)
        }
    };
    let first = AtSubjob::page(move |length| page.range(length));
    answer(&turns, ("subjobs", &(reached, version)), first, part).await
}

/// Shows those of some subjobs of a build that are wanted, where the build is not archived.
fn subjobs_of(
    cluster: &Cluster,
    build: &Build,
    running: &RunningInBuild,
    filter: Option<SubjobFilter>,
    ids: impl Iterator<Item = SubjobId>,
) -> Vec<SubjobView> {
    let view = |id| {
        let subjob = build.subjob(id)?;
        let has_result = subjob.result.is_some();
        // Decides for nearly all of them before anything is copied.
        let may_be_wanted = match filter {
            None => true,
            Some(SubjobFilter::InProgress) => !has_result,
            Some(SubjobFilter::Failed) => has_result && subjob.has_failed(),
        };
        let runs = may_be_wanted.then(|| running.runs(cluster, build, id))?;
        let is_idle = filter == Some(SubjobFilter::InProgress) && runs == Runs::No;
        (!is_idle).then(|| shapes::subjob(build, id, subjob, runs))
    };
    ids.filter_map(view).collect()
}
