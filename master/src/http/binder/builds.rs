//! Builds: starting one, and how far the newest build of each name is.

use super::Api;
use super::body::Fields;
use super::callers::{KeyHolder, Reader, Starter};
use super::error::BinderError;
use super::shapes::builds::{BuildView, Known};
use super::source;
use super::visible::may_see;
use crate::consoles::Lines;
use crate::coordinator::Gone;
use crate::http::caller::actor;
use axum::Json;
use axum::extract::{Path, State};
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_common::process::variables::Variables;
use clusterrunner_common::settings::ImagePolicy;
use clusterrunner_common::templates::{Recipe, failure_in};
use clusterrunner_common::work::ProjectSource;
use clusterrunner_common::work::product_build::product_build;
use clusterrunner_core::Cluster;
use clusterrunner_core::command::Command;
use clusterrunner_core::event::{BuildFact, Event, Fact};
use std::sync::Arc;

/// The field with the URL of the repository, and another name for it.
const REPOSITORY: [&str; 2] = ["repository", "repo"];

/// How many builds are looked at together.
const AT_ONCE: usize = 64;

/// Accepts a build: answered once it is on disk.
pub(super) async fn start(
    State(api): State<Arc<Api>>,
    Starter(caller): Starter,
    fields: Fields,
) -> Result<Json<BuildView>, BinderError> {
    let [field, other] = REPOSITORY;
    let given = match fields.text(field)? {
        Some(given) => given,
        None => fields.text(other)?.ok_or(BinderError::Missing(field))?,
    };
    let is_forced = fields.truth("force")?;
    let named = source::named(given, api.allow_local_sources)?;
    api.space.check(0)?;
    let recipe = Recipe {
        needs_image: api.image_policy == ImagePolicy::Require,
        ..Recipe::default()
    };
    let project = ProjectSource::Git {
        url: named.url.clone(),
        remote: None,
        branch: named.branch.clone(),
        hash: None,
        project_directory: None,
    };
    let shown = match source::without_credentials(&named.url) == named.url {
        true => given.to_owned(),
        false => source::shown(&project).map_or_else(String::new, |(text, _)| text),
    };
    let variables = Variables::default();
    let request = product_build(project, &named.name, &recipe, variables, is_forced);
    let events = api.cluster.command(Command::QueueBuild {
        by: actor(caller),
        request: Box::new(request),
    });
    let events = events.await?;
    let (name, at) = events.iter().find_map(claimed).ok_or(Gone)?;
    let view = BuildView::begun(name, &named.display_name, &shown, at);
    Ok(Json(view))
}

/// The name that a queued build has got, and when it was queued.
fn claimed(event: &Event) -> Option<(&str, clusterrunner_common::clock::Timestamp)> {
    match &event.fact {
        Fact::Build(_, BuildFact::Queued { request, .. }) => {
            Some((&request.product.as_ref()?.name, event.at))
        }
        _ => None,
    }
}

/// The newest build of a name.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Reader(caller): Reader,
    Path(name): Path<String>,
) -> Result<Json<BuildView>, BinderError> {
    let wanted = name.clone();
    let look = move |cluster: &Cluster| {
        let known = cluster.template_name(&wanted);
        let known = known.filter(|known| may_see(cluster, caller, known));
        known.map(|known| known.build)
    };
    let build = api.cluster.read(look).await?;
    let build = build.ok_or(BinderError::NoBuildInfo)?;
    let of_live = |_: &Cluster, build: &_| Known::of(build);
    let known = api
        .builds
        .seen(build, of_live, |archived| Known::of(&archived.build));
    let known = known.await?;
    let printed = printed_cause(&api, &known).await;
    Ok(Json(known.view(&name, printed)))
}

/// The route of what no build can be called.
pub(super) async fn none() -> Result<(), BinderError> {
    Err(BinderError::NoBuildInfo)
}

/// The newest build of each name.
pub(super) async fn all(
    State(api): State<Arc<Api>>,
    KeyHolder(caller): KeyHolder,
) -> Result<Json<Vec<BuildView>>, BinderError> {
    let look = move |cluster: &Cluster| {
        let names = cluster.template_names();
        let names = names.filter(|(_, known)| may_see(cluster, caller, known));
        let names = names.map(|(name, known)| (known.build, name.to_owned()));
        names.collect::<Vec<(BuildId, String)>>()
    };
    let mut names = api.cluster.read(look).await?;
    names.sort_unstable();
    let mut views = Vec::with_capacity(names.len());
    for some in names.chunks(AT_ONCE) {
        let ids: Vec<BuildId> = some.iter().map(|(build, _)| *build).collect();
        for (build, known) in api.builds.viewed(&ids, Known::of).await? {
            let named = some.binary_search_by_key(&build, |(build, _)| *build);
            let Some((_, name)) = named.ok().and_then(|at| some.get(at)) else {
                continue;
            };
            let printed = printed_cause(&api, &known).await;
            views.push(known.view(name, printed));
        }
    }
    Ok(Json(views))
}

/// Why a build failed, from the last line that it printed; none where that says nothing.
async fn printed_cause(api: &Api, known: &Known) -> Option<String> {
    if !known.has_printed_cause() {
        return None;
    }
    let last = Lines {
        max_lines: 1,
        offset_line: None,
    };
    let place = (known.build, SubjobId(0), AtomId(0));
    let printed = api.printed.0.piece(place, None, last).await.ok()?;
    failure_in(&printed.content)
}
