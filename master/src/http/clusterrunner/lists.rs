//! Lists that may be very long as answers: the long ones are sent part by part as they are read.

use super::error::ApiError;
use super::private::hidden;
use super::{Api, Path, shapes};
use crate::read::lists::{AtBuild, AtSubjob, Part};
use crate::read::running::{RunningAtoms, RunningInBuild, Runs};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::response::Response;
use axum::{Extension, Json};
use clusterrunner_common::api::{BuildView, SubjobFilter, SubjobView};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::http::answers::Begun;
use clusterrunner_common::http::clusterrunner::page::{Newest, Page, PageOfRows, Wanted};
use clusterrunner_common::http::clusterrunner::routes::Reached;
use clusterrunner_common::http::clusterrunner::rules::{self, Streamed};
use clusterrunner_common::http::clusterrunner::version::ApiVersion;
use clusterrunner_common::ids::{BuildId, SubjobId};
use clusterrunner_common::turns::Turns;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::Caller;
use clusterrunner_core::builds::build::Build;
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Lists of so many bytes are held in memory and have an ETag; longer ones are sent as they are made. A few are begun
/// at a time.
const HELD: usize = 1 << 20;

/// What a request for a list speaks: decides what is listed as below it.
type Form = (Reached, ApiVersion);

/// What stands around the entries of a list.
struct Frame {
    before: String,
    after: String,
}

impl Frame {
    /// That of an object with nothing but the list `name`.
    fn of(name: &str, form: &Form) -> Self {
        Self::with(&format!("\"{name}\":["), "]", form)
    }

    /// That of an object with other fields before and after the list.
    fn with(before: &str, after: &str, (reached, version): &Form) -> Self {
        let children = reached.children(*version);
        Self {
            before: format!("{{{before}"),
            after: format!("{after},\"child_routes\":{children}}}"),
        }
    }
}

/// The text of a list while it is made.
struct Text {
    text: Vec<u8>,
    is_empty: bool,
    /// What comes after the list.
    after: String,
}

impl Text {
    fn begun(Frame { before, after }: Frame) -> Self {
        Self {
            text: before.into_bytes(),
            is_empty: true,
            after,
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
        self.text.extend_from_slice(self.after.as_bytes());
    }
}

/// The answer with a list, whose parts `part` gives.
async fn answer<T, C, F>(
    turns: &Turns,
    frame: Frame,
    first: C,
    mut part: impl FnMut(C) -> F + Send + 'static,
) -> Result<Response, ApiError>
where
    T: Serialize + Send + 'static,
    C: Send + 'static,
    F: Future<Output = Result<Part<T, C>, ApiError>> + Send + 'static,
{
    let turn = turns.take().await;
    let mut text = Text::begun(frame);
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
    newest: Newest,
    version: ApiVersion,
    reached: Reached,
) -> Result<Response, ApiError> {
    let turns = api.turns.clone();
    let part = move |at| some_builds(Arc::clone(&api), caller, at, version);
    let first = match newest {
        Newest::No => AtBuild::range(&page.range(usize::MAX)),
        Newest::Before(before, limit) => AtBuild::newest(before.map(BuildId), limit),
    };
    answer(
        &turns,
        Frame::of("builds", &(reached, version)),
        first,
        part,
    )
    .await
}

async fn some_builds(
    api: Arc<Api>,
    caller: Caller,
    at: AtBuild,
    version: ApiVersion,
) -> Result<Part<BuildView, AtBuild>, ApiError> {
    let shown = shown_now(&api.running);
    let some = api.builds.some(at, shown, shapes::ended_build);
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

/// How builds in the cluster are shown at this moment.
pub(super) fn shown_now(
    running: &RunningAtoms,
) -> impl Fn(&Cluster, &Build) -> BuildView + Clone + Send + Sync + 'static {
    let (running, now) = (running.clone(), Timestamp::now());
    move |cluster, build| {
        let running = match build.progress() {
            Some(_) => running.of(build.id),
            None => RunningInBuild::default(),
        };
        shapes::build_at(cluster, build, &running, now)
    }
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
            let mut some = api
                .builds
                .some_unfinished(at, shown_now(&api.running))
                .await?;
            let hidden = hidden(&api, caller, some.entries.iter().map(|build| build.id)).await?;
            some.entries.retain(|build| !hidden.contains(&build.id));
            Ok(some)
        }
    };
    let all = AtBuild::range(&(0..usize::MAX));
    answer(&turns, Frame::of("queue", &(reached, version)), all, part).await
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
    answer(
        &turns,
        Frame::of("subjobs", &(reached, version)),
        first,
        part,
    )
    .await
}

/// All atoms of a build as rows of one table.
pub(super) async fn atom_rows(
    State(api): State<Arc<Api>>,
    Path(id): Path<BuildId>,
    PageOfRows(page): PageOfRows,
    Wanted(filter): Wanted,
    version: ApiVersion,
    reached: Reached,
) -> Result<Response, ApiError> {
    match filter {
        None => {}
        Some(SubjobFilter::InProgress) => return running_rows(&api, id, page).await,
        Some(SubjobFilter::Failed) => {
            return Err(ApiError::invalid("'state' of atoms must be in_progress."));
        }
    }
    let of_live = |_: &Cluster, build: &Build| build.num_atoms;
    let total = api.builds.seen(id, of_live, |ended| ended.build.num_atoms);
    let total = total.await?;
    let (turns, builds, running) = (api.turns.clone(), api.builds.clone(), api.running.clone());
    let part = move |at| {
        let (builds, running) = (builds.clone(), running.of(id));
        async move {
            let of_live = move |cluster: &Cluster, build: &Build, numbers: Range<usize>| {
                let ids = numbers.filter_map(|number| u32::try_from(number).ok().map(SubjobId));
                let rows = ids.filter_map(|id| {
                    let runs = running.runs(cluster, build, id);
                    Some(shapes::atom_rows(build, id, build.subjob(id)?, runs))
                });
                rows.collect()
            };
            let some = builds.some_subjobs(id, at, of_live, |build, id, subjob| {
                shapes::atom_rows(build, id, subjob, Runs::at_end(build, id))
            });
            let Part { entries, next } = some.await?;
            let entries = entries.into_iter().flatten().collect();
            Ok(Part { entries, next })
        }
    };
    let columns = json!(shapes::ATOM_COLUMNS);
    let frame = Frame::with(
        &format!("\"columns\":{columns},\"rows\":["),
        &format!("],\"total\":{total}"),
        &(reached, version),
    );
    // Every subjob has one atom, so that a page of atoms is one of subjobs. None beyond the total is listed, were the
    // build prepared just now.
    let length = usize::try_from(total).unwrap_or(usize::MAX);
    let first = AtSubjob::page(move |subjobs| page.range(subjobs.min(length)));
    answer(&turns, frame, first, part).await
}

/// Those rows whose atoms run: few, however many atoms the build has.
async fn running_rows(api: &Api, id: BuildId, page: Page) -> Result<Response, ApiError> {
    let running = api.running.of(id);
    let of_live = move |cluster: &Cluster, build: &Build| {
        let subjobs: BTreeSet<SubjobId> = running.subjobs().collect();
        let rows = subjobs.into_iter().filter_map(|id| {
            let runs = running.runs(cluster, build, id);
            Some(shapes::atom_rows(build, id, build.subjob(id)?, runs))
        });
        let rows = rows.flatten().filter(shapes::AtomRow::runs);
        rows.collect::<Vec<_>>()
    };
    let rows = api.builds.seen(id, of_live, |_| Vec::new()).await?;
    let total = rows.len();
    let rows: Vec<_> = page.of(rows.into_iter()).collect();
    let body = json!({"columns": shapes::ATOM_COLUMNS, "rows": rows, "total": total});
    Ok(Json(body).into_response())
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
            Some(SubjobFilter::Failed) => has_result && build.has_failed(subjob),
        };
        let runs = may_be_wanted.then(|| running.runs(cluster, build, id))?;
        let is_idle = filter == Some(SubjobFilter::InProgress) && runs == Runs::No;
        (!is_idle).then(|| shapes::subjob(build, id, subjob, runs))
    };
    ids.filter_map(view).collect()
}
