//! Keeps what is over within its bounds: asks the cluster which builds go, removes what it has
//! forgotten, and removes copies of projects that are not in use. All in the background, a little at a
//! time.

mod remover;
#[cfg(test)]
mod tests;
mod working_trees;

pub(crate) use remover::Remover;

use crate::coordinator::ClusterHandle;
use crate::effects::project_locks::ProjectLocks;
use crate::journal::EndedBuilds;
use crate::read::metrics::{Measured, Removed};
use crate::store::own_repositories::OwnRepositories;
use crate::store::results::Results;
use crate::store::working_trees::WorkingTrees;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::disk::kept_projects::{bound, find, remove_unnamed, unname};
use clusterrunner_common::disk::retention::{BuildBounds, ProjectBounds};
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::ids::{BuildId, ProjectId};
use clusterrunner_common::work::ProjectSource;
use clusterrunner_core::builds::build::BuildState;
use clusterrunner_core::command::Command;
use clusterrunner_core::templates::bounds::TemplateBounds;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use working_trees::Needs;

/// How often builds are looked at; most looks cost a list of ids.
const BUILDS_LOOK: Duration = Duration::from_secs(5);
/// How often projects are; measuring them reads all their directories.
const PROJECTS_LOOK: Duration = Duration::from_secs(600);
/// How often working trees that were sent are: that reads what is noted of each.
const WORKING_TREES_LOOK: Duration = Duration::from_secs(60);

/// Where the copies of projects are, and who uses which.
#[derive(Clone, Debug)]
pub(crate) struct Projects {
    /// The mirrors' directory.
    pub mirrors: PathBuf,
    /// The work trees' directory.
    pub work_trees: PathBuf,
    /// Who uses which work tree, and its mirror.
    pub locks: ProjectLocks,
    /// How many are retained.
    pub bounds: ProjectBounds,
    /// The repositories of projects, which are no copies: they go with their projects.
    pub own: OwnRepositories,
    /// What clients have sent. It is no copy: it goes with the builds that need it.
    pub working_trees: WorkingTrees,
}

/// Looks now and then whether something is beyond its bounds.
#[derive(Debug)]
pub(crate) struct Keeper {
    cluster: ClusterHandle,
    results: Results,
    ended: EndedBuilds,
    bounds: BuildBounds,
    templates: TemplateBounds,
    projects: Projects,
    measured: Measured,
    /// How large results of builds are that are over: that does not change any more.
    sizes: BTreeMap<BuildId, u64>,
    /// Builds of which only archives are left.
    thinned: BTreeSet<BuildId>,
    /// The working trees that archived builds are of.
    needs: Needs,
}

impl Keeper {
    /// Nothing looked at yet.
    #[must_use]
    pub(crate) fn new(
        cluster: ClusterHandle,
        results: Results,
        ended: EndedBuilds,
        (bounds, templates): (BuildBounds, TemplateBounds),
        projects: Projects,
        measured: Measured,
    ) -> Self {
        Self {
            cluster,
            results,
            ended,
            bounds,
            templates,
            projects,
            measured,
            sizes: BTreeMap::new(),
            thinned: BTreeSet::new(),
            needs: Needs::default(),
        }
    }

    /// Works until `stop`. What is being removed then is removed to its end.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut builds = tokio::time::interval(BUILDS_LOOK);
        let mut projects = tokio::time::interval(PROJECTS_LOOK);
        builds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut working_trees = tokio::time::interval(WORKING_TREES_LOOK);
        projects.set_missed_tick_behavior(MissedTickBehavior::Delay);
        working_trees.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = builds.tick() => {
                    self.look_at_builds().await;
                    self.look_at_own_repositories().await;
                }
                _ = projects.tick() => self.look_at_projects().await,
                _ = working_trees.tick() => self.look_at_working_trees().await,
            }
        }
    }

    async fn look_at_builds(&mut self) {
        // Without an answer the master is going down.
        let Ok(ended) = self.cluster.read(|cluster| cluster.ended().collect()).await else {
            return;
        };
        let ended: BTreeMap<BuildId, Timestamp> = ended;
        self.sizes.retain(|build, _| ended.contains_key(build));
        self.thinned.retain(|build| ended.contains_key(build));
        self.remove_partial_results(&ended).await;
        if self.bounds.max_bytes.is_some() {
            self.measure(&ended).await;
        }
        let forget = Command::ForgetBuilds {
            bounds: self.bounds,
            sizes: self.sizes.clone(),
        };
        self.cluster.command(forget).await.ok();
        let forget = Command::ForgetTemplates {
            bounds: self.templates,
        };
        self.cluster.command(forget).await.ok();
    }

    async fn measure(&mut self, ended: &BTreeMap<BuildId, Timestamp>) {
        let new = ended.keys().filter(|build| !self.sizes.contains_key(build));
        let new: Vec<BuildId> = new.copied().collect();
        let results = self.results.clone();
        let measured = spawn_blocking(move || {
            let size = |build: BuildId| match results.size(build) {
                Ok(size) => Some((build, size)),
                Err(error) => {
                    tracing::warn!(build.id = build.0, %error, "could not measure results");
                    None
                }
            };
            new.into_iter().filter_map(size).collect::<Vec<_>>()
        });
        // A task that broke off is told of where it did.
        self.sizes.extend(measured.await.unwrap_or_default());
    }

    /// What was never made an archive of, and what a master left that died between the two.
    async fn remove_partial_results(&mut self, ended: &BTreeMap<BuildId, Timestamp>) {
        let Some(most) = self.bounds.max_partial_age else {
            return;
        };
        let now = Timestamp::now();
        let old = ended.iter().filter(|(_, since)| since.until(now) >= most);
        let old = old.map(|(build, _)| *build);
        let old: Vec<BuildId> = old.filter(|build| !self.thinned.contains(build)).collect();
        if old.is_empty() {
            return;
        }
        let (old, kept) = self.without_an_archive(old).await;
        self.thinned.extend(kept);
        let (results, measured) = (self.results.clone(), self.measured.clone());
        let thinned = spawn_blocking(move || {
            let thin = |build: &BuildId| match results.remove_partial(*build) {
                Ok(0) => true,
                Ok(files) => {
                    measured.removed(Removed::PartialResults);
                    tracing::info!(
                        build.id = build.0,
                        files,
                        "results of a build without an archive are removed"
                    );
                    true
                }
                Err(error) => {
                    tracing::warn!(build.id = build.0, %error, "could not remove results");
                    false
                }
            };
            old.into_iter().filter(thin).collect::<Vec<_>>()
        });
        for build in thinned.await.unwrap_or_default() {
            self.sizes.remove(&build);
            self.thinned.insert(build);
        }
    }

    /// Those of some builds that never had an archive, and those that have one. The journal tells: files may be
    /// damaged, and what is left of the results of a finished build must stay.
    async fn without_an_archive(&self, builds: Vec<BuildId>) -> (Vec<BuildId>, Vec<BuildId>) {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for build in builds {
            match self.ended.build(build).await {
                Ok(Some(ended)) if ended.build.state == BuildState::Finished => with.push(build),
                Ok(Some(_)) => without.push(build),
                // It is being removed, or that is not known: the next look is soon.
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(build.id = build.0, %error, "its results are retained");
                    with.push(build);
                }
            }
        }
        (without, with)
    }

    /// Removes the repositories of projects that are gone.
    async fn look_at_own_repositories(&self) {
        let own = self.projects.own.clone();
        let found = spawn_blocking(move || own.all()).await;
        let found = match found.map_err(io::Error::other).and_then(|found| found) {
            Ok(found) if found.is_empty() => return,
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "could not list the repositories of projects");
                return;
            }
        };
        // Looked up after they were listed: a project that begins meanwhile is not among them.
        let gone = self.cluster.read(move |cluster| {
            let is_gone = |project: &ProjectId| cluster.project(*project).is_none();
            found.into_iter().filter(is_gone).collect::<Vec<_>>()
        });
        for project in gone.await.unwrap_or_default() {
            match self.projects.own.remove(project).await {
                Ok(()) => tracing::info!(
                    project = project.0,
                    "the code of a removed project is removed"
                ),
                Err(error) => {
                    tracing::warn!(project = project.0, %error, "could not remove the code of a project");
                }
            }
        }
    }

    async fn look_at_projects(&self) {
        let urls = self.cluster.read(|cluster| {
            let unfinished = cluster.builds().filter(|build| !build.is_over());
            let urls = unfinished.filter_map(|build| match &build.request.project {
                ProjectSource::Git { url, .. } => Some(url.clone()),
                ProjectSource::Directory { .. } | ProjectSource::Own { .. } => None,
            });
            urls.collect::<BTreeSet<String>>()
        });
        let Ok(urls) = urls.await else {
            return;
        };
        // Whether a path may be used was settled when the build was accepted.
        let names = urls.iter().filter_map(|url| GitUrl::parse(url, true).ok());
        let names = names.flat_map(|url| [url.directory_name(), url.sent_directory_name()]);
        let in_use: BTreeSet<OsString> = names.map(OsString::from).collect();
        let (projects, measured) = (self.projects.clone(), self.measured.clone());
        let looked = spawn_blocking(move || projects.remove_surplus(&in_use, &measured)).await;
        if let Err(error) = looked.map_err(io::Error::other).and_then(|looked| looked) {
            tracing::warn!(%error, "could not check the copies of projects");
        }
    }
}

impl Projects {
    /// Removes what is beyond the bounds and not in use. Blocks.
    fn remove_surplus(&self, in_use: &BTreeSet<OsString>, measured: &Measured) -> io::Result<()> {
        // Work trees go first: they are of no use without their mirror.
        let parents = [self.work_trees.clone(), self.mirrors.clone()];
        remove_unnamed(&parents)?;
        let found = find(&parents, self.bounds.max_bytes.is_some())?;
        bound(&found, &self.bounds, Timestamp::now(), |project| {
            if in_use.contains(&project.name) {
                return false;
            }
            let Some(_only_user) = self.locks.try_lock(&self.work_trees.join(&project.name)) else {
                return false;
            };
            let name = project.name.to_string_lossy();
            if let Err(error) = unname(&parents, &project.name) {
                tracing::warn!(project = %name, %error, "could not remove the copy of a project");
                return false;
            }
            measured.removed(Removed::Project);
            tracing::info!(project = %name, bytes = project.bytes, "the copy of a project is removed");
            true
        });
        remove_unnamed(&parents)
    }
}
