//! Lists that may be very long. They are looked at part by part, so that nobody who reads one keeps the
//! coordinator from its work, and the long ones are sent part by part: each part as it stood when its
//! turn came.

use super::error::ApiError;
use super::{Api, Path, kept};
use crate::core::AtWork;
use crate::core::builds::build::Subjob;
use crate::core::command::Refusal;
use crate::read::views;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use clusterrunner_common::api::{BuildView, SubjobView};
use clusterrunner_common::http::answers::Begun;
use clusterrunner_common::http::clusterrunner::page::Page;
use clusterrunner_common::http::clusterrunner::routes::Reached;
use clusterrunner_common::http::clusterrunner::rules::{self, Streamed};
use clusterrunner_common::http::clusterrunner::version::ApiVersion;
use clusterrunner_common::http::turns::Turns;
use clusterrunner_common::ids::{BuildId, SubjobId};
use futures_util::stream;
use serde::Serialize;
use std::io;
use std::sync::Arc;

/// How many builds one look at the cluster takes along.
const BUILDS_AT_ONCE: usize = 64;

/// How many subjobs one look takes along.
const SUBJOBS_AT_ONCE: usize = 256;

/// How many subjobs of a build that is put away are read at a time.
const ENDED_AT_ONCE: usize = 4096;

/// Lists of so many bytes are held in memory and have an ETag; longer ones are sent as they are made. A few are begun
/// at a time.
const HELD: usize = 1 << 20;

/// What a request for a list speaks: decides what is listed as below it.
type Form = (Reached, ApiVersion);

/// Some entries of a list, and where to go on; nowhere after the last one.
struct Part<T, C> {
    entries: Vec<T>,
    next: Option<C>,
}

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

/// Whoever reads a list that breaks off sees the connection end.
fn broken(error: &ApiError) -> io::Error {
    tracing::debug!(%error, "a list broke off while it was sent");
    io::Error::other(error.to_string())
}

/// Where a list of builds goes on: with the first build that is not before this one, after some more
/// were left out, and how many may still come.
#[derive(Clone, Copy)]
struct AtBuild {
    first: BuildId,
    skip: usize,
    left: usize,
}

impl AtBuild {
    fn of(page: Page) -> Self {
        let wanted = page.range(usize::MAX);
        Self {
            first: BuildId(0),
            skip: wanted.start,
            left: wanted.len(),
        }
    }

    fn take(self) -> usize {
        self.left.min(BUILDS_AT_ONCE)
    }

    /// After `last`, if a whole part was there.
    fn next(self, last: Option<BuildId>, found: usize) -> Option<Self> {
        let next = Self {
            first: BuildId(last?.0 + 1),
            skip: 0,
            left: self.left - found,
        };
        (found == BUILDS_AT_ONCE && next.left > 0).then_some(next)
    }
}

pub(super) async fn builds(
    State(api): State<Arc<Api>>,
    page: Page,
    version: ApiVersion,
    reached: Reached,
) -> Result<Response, ApiError> {
    let turns = api.turns.clone();
    let part = move |at| some_builds(Arc::clone(&api), at);
    answer(
        &turns,
        ("builds", &(reached, version)),
        AtBuild::of(page),
        part,
    )
    .await
}

async fn some_builds(api: Arc<Api>, at: AtBuild) -> Result<Part<BuildView, AtBuild>, ApiError> {
    let looked = api.cluster.read(move |cluster| {
        let (mut live, mut ended, mut last) = (Vec::new(), Vec::new(), None);
        let builds = cluster.all_builds_from(at.first);
        for (id, build) in builds.skip(at.skip).take(at.take()) {
            last = Some(id);
            match build {
                Some(build) => live.push(views::build_of(cluster, build)),
                None => ended.push(id),
            }
        }
        (live, ended, last)
    });
    let (mut entries, ended, last) = looked.await?;
    let next = at.next(last, entries.len() + ended.len());
    if !ended.is_empty() {
        entries.extend(api.ended.builds(ended, views::ended_build).await?);
        entries.sort_by_key(|build| build.id);
    }
    for build in &mut entries {
        build.warnings.extend(api.results.damages(build.id));
    }
    Ok(Part { entries, next })
}

pub(super) async fn queue(
    State(api): State<Arc<Api>>,
    version: ApiVersion,
    reached: Reached,
) -> Result<Response, ApiError> {
    let turns = api.turns.clone();
    let part = move |at| some_of_queue(Arc::clone(&api), at);
    let all = AtBuild::of(Page::ALL);
    answer(&turns, ("queue", &(reached, version)), all, part).await
}

async fn some_of_queue(api: Arc<Api>, at: AtBuild) -> Result<Part<BuildView, AtBuild>, ApiError> {
    let looked = api.cluster.read(move |cluster| {
        let unfinished = cluster.builds_from(at.first).filter(|b| !b.is_over());
        let views = unfinished.map(|build| views::build_of(cluster, build));
        views.take(at.take()).collect()
    });
    let entries: Vec<BuildView> = looked.await?;
    let next = at.next(entries.last().map(|build| build.id), entries.len());
    Ok(Part { entries, next })
}

pub(super) async fn subjobs(
    State(api): State<Arc<Api>>,
    Path(id): Path<BuildId>,
    page: Page,
    version: ApiVersion,
    reached: Reached,
) -> Result<Response, ApiError> {
    let turns = api.turns.clone();
    let part = move |given| some_subjobs(Arc::clone(&api), id, page, given);
    answer(&turns, ("subjobs", &(reached, version)), 0, part).await
}

/// The subjobs of a page of which so many were given already.
async fn some_subjobs(
    api: Arc<Api>,
    id: BuildId,
    page: Page,
    given: usize,
) -> Result<Part<SubjobView, usize>, ApiError> {
    let part_of = move |length, at_once| {
        let wanted = page.range(length);
        let start = wanted.end.min(wanted.start.saturating_add(given));
        let end = wanted.end.min(start.saturating_add(at_once));
        let next = (end < wanted.end).then_some(given + at_once);
        (start..end, next)
    };
    let live = kept::live(&api, id, move |cluster, build| {
        let mut at_work = AtWork::of(cluster, build);
        let (numbers, next) = part_of(build.subjobs.len(), SUBJOBS_AT_ONCE);
        let ids = numbers.filter_map(|number| u32::try_from(number).ok().map(SubjobId));
        let view = |id| {
            let subjob = build.subjob(id)?;
            let runs = at_work.includes(id, subjob);
            Some(views::subjob(build, id, subjob, runs))
        };
        let entries = ids.filter_map(view).collect();
        Ok(Part { entries, next })
    });
    if let Some(part) = live.await? {
        return Ok(part);
    }
    let found = api
        .ended
        .subjobs(id, move |length| part_of(length, ENDED_AT_ONCE).0);
    let (ended, subjobs) = found.await?.ok_or(Refusal::ForgottenBuild(id))?;
    let view = |(id, subjob): &(SubjobId, Subjob)| views::subjob(&ended.build, *id, subjob, false);
    let (_, next) = part_of(ended.num_subjobs as usize, ENDED_AT_ONCE);
    let entries = subjobs.iter().map(view).collect();
    Ok(Part { entries, next })
}
