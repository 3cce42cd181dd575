//! The builds of a project, wherever they are, part by part.

use super::builds::{Builds, ReadError};
use super::lists::Part;
use clusterrunner_common::ids::{BuildId, ProjectId};
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::Build;
use std::collections::BTreeMap;

/// How many builds of the farm one look at the cluster goes through: some 100 µs.
const GONE_THROUGH_AT_ONCE: usize = 1000;

/// How many builds one look takes along.
const VIEWED_AT_ONCE: usize = 64;

impl Builds {
    /// The ids of all builds of a project, the oldest first.
    ///
    /// # Errors
    /// The master is going down.
    pub async fn of_project(&self, project: ProjectId) -> Result<Vec<BuildId>, ReadError> {
        let (mut ids, mut next) = (Vec::new(), Some(BuildId(0)));
        while let Some(first) = next {
            let look = move |cluster: &Cluster| some_of_project(cluster, project, first);
            let part = self.cluster.read(look).await?;
            ids.extend(part.entries);
            next = part.next;
        }
        Ok(ids)
    }

    /// The ids of builds of a project, the newest first: at most `limit`, of those before `before` where that is said. A
    /// short list goes through few builds of the farm.
    ///
    /// # Errors
    /// The master is going down.
    pub async fn newest_of(
        &self,
        project: ProjectId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<BuildId>, ReadError> {
        let mut ids = Vec::new();
        let mut next = before.unwrap_or(u64::MAX).checked_sub(1).map(BuildId);
        while let Some(last) = next.filter(|_| ids.len() < limit) {
            let wanted = limit - ids.len();
            let look = move |cluster: &Cluster| some_until(cluster, project, last, wanted);
            let part = self.cluster.read(look).await?;
            ids.extend(part.entries);
            next = part.next;
        }
        Ok(ids)
    }

    /// The newest build of each project that has one.
    ///
    /// # Errors
    /// The master is going down.
    pub async fn newest_of_projects(&self) -> Result<BTreeMap<ProjectId, BuildId>, ReadError> {
        let (mut newest, mut next) = (BTreeMap::new(), Some(BuildId(0)));
        while let Some(first) = next {
            let look = move |cluster: &Cluster| some_with_projects(cluster, first);
            let part = self.cluster.read(look).await?;
            newest.extend(part.entries);
            next = part.next;
        }
        Ok(newest)
    }

    /// The build whose matrix a build is of, or the build itself: what says how its project stands.
    ///
    /// # Errors
    /// The master is going down.
    pub async fn whole_of(&self, id: BuildId) -> Result<BuildId, ReadError> {
        let look = move |cluster: &Cluster| cluster.whole_of(id);
        Ok(self.cluster.read(look).await?)
    }

    /// What `view` makes of each of these builds that is kept, in the order in which they are named. The view of an
    /// archived build has no subjobs.
    ///
    /// # Errors
    /// The master is going down, or a record can not be read.
    pub async fn viewed<T: Send + 'static>(
        &self,
        ids: &[BuildId],
        view: fn(&Build) -> T,
    ) -> Result<Vec<(BuildId, T)>, ReadError> {
        let mut views = Vec::with_capacity(ids.len());
        for some in ids.chunks(VIEWED_AT_ONCE) {
            let wanted = some.to_vec();
            let looked = self.cluster.read(move |cluster| {
                let wanted = wanted.into_iter().filter(|id| !cluster.is_deleted(*id));
                let wanted: Vec<BuildId> = wanted.collect();
                let live = wanted.iter().filter_map(|id| cluster.build(*id));
                let live: BTreeMap<_, _> = live.map(|build| (build.id, view(build))).collect();
                let archived = wanted.into_iter().filter(|id| cluster.is_ended(*id));
                (live, archived.collect::<Vec<_>>())
            });
            let (mut found, archived) = looked.await?;
            if !archived.is_empty() {
                let read = self.archived.builds(archived, move |archived| {
                    (archived.build.id, view(&archived.build))
                });
                found.extend(read.await?);
            }
            views.extend(some.iter().filter_map(|id| Some((*id, found.remove(id)?))));
        }
        Ok(views)
    }
}

fn some_of_project(
    cluster: &Cluster,
    project: ProjectId,
    first: BuildId,
) -> Part<BuildId, BuildId> {
    let Part { entries, next } = some_with_projects(cluster, first);
    let own = entries.into_iter().filter(|(of, _)| *of == project);
    let entries = own.map(|(_, id)| id).collect();
    Part { entries, next }
}

/// Builds of a project down from one; where to go on, if there may be more.
fn some_until(
    cluster: &Cluster,
    project: ProjectId,
    last: BuildId,
    wanted: usize,
) -> Part<BuildId, BuildId> {
    let (mut entries, mut seen) = (Vec::new(), None);
    let builds = cluster.all_builds_until(last);
    for (number, (id, build)) in (1..).zip(builds.take(GONE_THROUGH_AT_ONCE)) {
        let of = match build {
            Some(build) => Some(build.project),
            None => cluster.project_id_of(id),
        };
        entries.extend((of == Some(project)).then_some(id));
        if entries.len() == wanted {
            return Part {
                entries,
                next: None,
            };
        }
        seen = Some(id).filter(|_| number == GONE_THROUGH_AT_ONCE);
    }
    let next = seen.and_then(|seen| seen.0.checked_sub(1)).map(BuildId);
    Part { entries, next }
}

fn some_with_projects(cluster: &Cluster, first: BuildId) -> Part<(ProjectId, BuildId), BuildId> {
    let (mut entries, mut last) = (Vec::new(), None);
    let builds = cluster.all_builds_from(first);
    for (number, (id, build)) in (1..).zip(builds.take(GONE_THROUGH_AT_ONCE)) {
        let of = match build {
            Some(build) => Some(build.project),
            None => cluster.project_id_of(id),
        };
        entries.extend(of.map(|of| (of, id)));
        last = Some(id).filter(|_| number == GONE_THROUGH_AT_ONCE);
    }
    let next = last.map(|last| BuildId(last.0 + 1));
    Part { entries, next }
}
