//! Builds, and the list of those of a project.

use super::Api;
use super::error::PolyaxonError;
use super::granted::{Granted, GrantedBuild, Reading};
use super::pages::{List, Page};
use super::query::Query;
use super::shapes::builds::{Around, BuildView, Details, Known, ListedBuild, ProjectNames};
use super::sort::{self, Sort};
use axum::Json;
use axum::extract::State;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::Cluster;
use clusterrunner_core::access::UserCaller;
use std::sync::Arc;

/// How many builds are looked at together.
const AT_ONCE: usize = 64;

/// A build.
pub(super) async fn build(
    State(api): State<Arc<Api>>,
    build: GrantedBuild<Reading>,
) -> Result<Json<BuildView>, PolyaxonError> {
    Ok(Json(shown(&api, &build).await?))
}

/// The object of a build as it stands now.
pub(super) async fn shown<N>(
    api: &Api,
    GrantedBuild { of, build }: &GrantedBuild<N>,
) -> Result<BuildView, PolyaxonError> {
    let seen = api.builds.seen(
        *build,
        |_, build| (Known::of(build), Details::of(build)),
        |archived| (Known::of(&archived.build), Details::of(&archived.build)),
    );
    let (known, details) = seen.await?;
    let caller = of.caller;
    let around = api.cluster.read(move |cluster| {
        let around = Around::of(cluster, &known, caller);
        (known, around)
    });
    let (known, around) = around.await?;
    Ok(details.view(&known, &around, of.place()))
}

/// The objects of some builds that a caller may read, of whichever projects.
pub(super) async fn views(
    api: &Api,
    caller: UserCaller,
    ids: &[BuildId],
) -> Result<Vec<BuildView>, PolyaxonError> {
    let mut views = Vec::with_capacity(ids.len());
    for some in ids.chunks(AT_ONCE) {
        let seen = api
            .builds
            .viewed(some, |build| (Known::of(build), Details::of(build)));
        let seen = seen.await?.into_iter();
        let look = move |cluster: &Cluster| {
            let views = seen.filter_map(|(id, (known, details))| {
                let project = cluster.project_of(id)?;
                let place = ProjectNames {
                    owner: cluster.owner_name(project.owner)?,
                    project: project.name(),
                };
                let around = Around::of(cluster, &known, caller);
                Some(details.view(&known, &around, place))
            });
            views.collect::<Vec<_>>()
        };
        views.extend(api.cluster.read(look).await?);
    }
    Ok(views)
}

impl<N> Granted<N> {
    /// Its names.
    fn place(&self) -> ProjectNames<'_> {
        ProjectNames {
            owner: &self.owner,
            project: self.project.name(),
        }
    }
}

/// The builds of a project, as its query and its order say.
pub(super) async fn of_project(
    State(api): State<Arc<Api>>,
    of: Granted<Reading>,
    page: Page,
) -> Result<Json<List<ListedBuild>>, PolyaxonError> {
    let sort = Sort::parse(page.parameter("sort").unwrap_or_default())?;
    let query = Query::parse(page.parameter("query").unwrap_or_default())?;
    let found = sorted(&api, &of, sort, &query).await?;
    let wanted = found.get(page.range(found.len())).unwrap_or_default();
    let mut builds = Vec::with_capacity(wanted.len());
    for some in wanted.chunks(AT_ONCE) {
        let known = looked_at(&api, &of, some).await?;
        let known = known.iter();
        builds.extend(known.map(|(known, around)| known.listed(around, of.place())));
    }
    Ok(Json(page.list(found.len(), builds)))
}

/// The builds that a query finds, in order.
async fn sorted(
    api: &Api,
    of: &Granted<Reading>,
    sort: Sort,
    query: &Query,
) -> Result<Vec<BuildId>, PolyaxonError> {
    let all = api.builds.of_project(of.project.id).await?;
    let mut found: Vec<sort::SortKey> = Vec::new();
    for some in all.chunks(AT_ONCE) {
        let known = looked_at(api, of, some).await?;
        let rows = known
            .iter()
            .map(|(known, around)| known.row(around, of.place()));
        let rows = rows.filter(|row| query.has(row));
        found.extend(rows.map(|row| sort.place(row.id, &row.moments)));
    }
    found.sort_unstable_by(|one, other| sort.compare(one, other));
    Ok(found.into_iter().map(|place| place.id).collect())
}

/// What is known of some builds; those that are forgotten meanwhile are left out.
async fn looked_at(
    api: &Api,
    of: &Granted<Reading>,
    ids: &[BuildId],
) -> Result<Vec<(Known, Around)>, PolyaxonError> {
    let known = api.builds.viewed(ids, Known::of).await?;
    let caller = of.caller;
    let around = api.cluster.read(move |cluster| {
        let known = known.into_iter().map(|(_, known)| {
            let around = Around::of(cluster, &known, caller);
            (known, around)
        });
        known.collect()
    });
    Ok(around.await?)
}
