//! Keeps what is over within its bounds: asks the cluster which builds go, removes what it has
//! forgotten, and removes copies of projects that nobody uses. All in the background, a little at a
//! time.

use crate::cluster::command::Command;
use crate::coordinator::ClusterHandle;
use crate::journal::{EndedBuilds, JournalError};
use crate::metrics::{Measured, Removed};
use crate::project_locks::ProjectLocks;
use crate::results::Results;
use clusterrunner_common::build_request::ProjectSource;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::git::GitUrl;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::kept_projects::{bound, find, remove_unnamed, unname};
use clusterrunner_common::retention::{BuildBounds, ProjectBounds};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often builds are looked at; most looks cost a list of ids.
const BUILDS_LOOK: Duration = Duration::from_secs(5);
/// How often projects are; measuring them reads all their directories.
const PROJECTS_LOOK: Duration = Duration::from_secs(600);
/// The pause after the disk refused to remove something.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// Removes what is left of forgotten builds, one build at a time. Clones share the turn.
#[derive(Clone, Debug)]
pub struct Remover {
    results: Results,
    ended: EndedBuilds,
    measured: Measured,
    turn: Arc<Semaphore>,
}

/// Something of a build can not be removed.
#[derive(Debug, thiserror::Error)]
enum RemovalError {
    #[error(transparent)]
    Results(#[from] io::Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl Remover {
    /// Removes results here, and builds there.
    #[must_use]
    pub fn new(results: Results, ended: EndedBuilds, measured: Measured) -> Self {
        Self {
            results,
            ended,
            measured,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Removes a build and says so; tries on while the disk refuses. `None` if it was told to stop:
    /// the next start asks again.
    pub async fn remove(self, build: BuildId, stop: CancellationToken) -> Option<Command> {
        while let Err(error) = self.try_to_remove(build).await {
            tracing::warn!(build.id = build.0, %error, "could not remove a build; trying on");
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(TRY_AGAIN) => {}
            }
        }
        self.measured.removed(Removed::Build);
        Some(Command::ReportCleared { build })
    }

    async fn try_to_remove(&self, build: BuildId) -> Result<(), RemovalError> {
        // The semaphore is never closed.
        let _turn = self.turn.acquire().await.ok();
        let (results, ended) = (self.results.clone(), self.ended.clone());
        spawn_blocking(move || {
            results.remove(build)?;
            Ok(ended.remove(build)?)
        })
        .await?
    }
}

/// Where the copies of projects are, and who uses which.
#[derive(Clone, Debug)]
pub struct Projects {
    /// The mirrors' directory.
    pub mirrors: PathBuf,
    /// The work trees' directory.
    pub work_trees: PathBuf,
    /// Who uses which work tree, and its mirror.
    pub locks: ProjectLocks,
    /// How much of them is kept.
    pub bounds: ProjectBounds,
}

/// Looks now and then whether something is beyond its bounds.
#[derive(Debug)]
pub struct Keeper {
    cluster: ClusterHandle,
    results: Results,
    bounds: BuildBounds,
    projects: Projects,
    measured: Measured,
    /// How large results of builds are that are over: that does not change any more.
    sizes: BTreeMap<BuildId, u64>,
    /// Builds of which only archives are left.
    thinned: BTreeSet<BuildId>,
}

impl Keeper {
    /// Nothing looked at yet.
    #[must_use]
    pub fn new(
        cluster: ClusterHandle,
        results: Results,
        bounds: BuildBounds,
        projects: Projects,
        measured: Measured,
    ) -> Self {
        Self {
            cluster,
            results,
            bounds,
            projects,
            measured,
            sizes: BTreeMap::new(),
            thinned: BTreeSet::new(),
        }
    }

    /// Works until `stop`. What is being removed then is removed to its end.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut builds = tokio::time::interval(BUILDS_LOOK);
        let mut projects = tokio::time::interval(PROJECTS_LOOK);
        builds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        projects.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = builds.tick() => self.look_at_builds().await,
                _ = projects.tick() => self.look_at_projects().await,
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

    async fn look_at_projects(&self) {
        let urls = self.cluster.read(|cluster| {
            let unfinished = cluster.builds().filter(|build| !build.is_over());
            let urls = unfinished.filter_map(|build| match &build.request.project {
                ProjectSource::Git { url, .. } => Some(url.clone()),
                ProjectSource::Directory { .. } => None,
            });
            urls.collect::<BTreeSet<String>>()
        });
        let Ok(urls) = urls.await else {
            return;
        };
        // Whether a path may be used was settled when the build was accepted.
        let names = urls.iter().filter_map(|url| GitUrl::parse(url, true).ok());
        let in_use: BTreeSet<OsString> = names.map(|url| url.directory_name().into()).collect();
        let (projects, measured) = (self.projects.clone(), self.measured.clone());
        let looked = spawn_blocking(move || projects.remove_surplus(&in_use, &measured)).await;
        if let Err(error) = looked.map_err(io::Error::other).and_then(|looked| looked) {
            tracing::warn!(%error, "could not look after the copies of projects");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::Coordinator;
    use crate::journal::Journal;
    use clusterrunner_common::build_request::BuildRequest;
    use std::path::Path;

    fn directory_build(directory: &str) -> BuildRequest {
        let params = serde_json::json!({"type": "directory", "project_directory": directory});
        BuildRequest::from_json(&params).unwrap()
    }

    fn projects(directory: &Path) -> Projects {
        Projects {
            mirrors: directory.join("repos"),
            work_trees: directory.join("work"),
            locks: ProjectLocks::default(),
            bounds: ProjectBounds {
                max_age: None,
                max_bytes: Some(1),
            },
        }
    }

    /// A master's core with one canceled build, of which a result is there.
    async fn with_canceled_build(
        directory: &Path,
        stop: &CancellationToken,
    ) -> (ClusterHandle, Results) {
        let journal = Journal::open(&directory.join("journal")).unwrap();
        let recovered = Coordinator::recover(journal, Duration::from_millis(200)).unwrap();
        let (coordinator, cluster, effects) = recovered;
        let stop = stop.clone();
        tokio::spawn(async move {
            // Nobody carries effects out here; they must go somewhere all the same.
            let _effects = effects;
            coordinator.run(stop).await.unwrap();
        });
        let request = Box::new(directory_build("/project"));
        cluster
            .command(Command::QueueBuild { request })
            .await
            .unwrap();
        let build = BuildId(1);
        cluster
            .command(Command::CancelBuild { build })
            .await
            .unwrap();
        let results = Results::new(directory.join("results")).unwrap();
        let of_build = directory.join("results/1");
        std::fs::create_dir_all(&of_build).unwrap();
        std::fs::write(of_build.join("blocks"), [0; 100]).unwrap();
        let is_put_away = || cluster.read(|cluster| cluster.ended().count() == 1);
        let put_away = async {
            while !is_put_away().await.unwrap() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), put_away)
            .await
            .unwrap();
        (cluster, results)
    }

    #[tokio::test]
    async fn results_without_an_archive_go_before_their_build() {
        let directory = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let (cluster, results) = with_canceled_build(directory.path(), &stop).await;
        let bounds = |max_partial_age| BuildBounds {
            max_bytes: Some(10),
            max_partial_age,
            ..BuildBounds::default()
        };
        let look = async |max_partial_age| {
            let (bounds, projects) = (bounds(max_partial_age), projects(directory.path()));
            let measured = Measured::default();
            let mut keeper =
                Keeper::new(cluster.clone(), results.clone(), bounds, projects, measured);
            keeper.look_at_builds().await;
            results.size(BuildId(1)).unwrap()
        };
        assert_eq!(look(None).await, 100);
        assert_eq!(look(Some(Duration::from_secs(3600))).await, 100);
        assert_eq!(look(Some(Duration::ZERO)).await, 0);
        // The build itself stays: it is the last one.
        let is_there = cluster.read(|cluster| cluster.is_ended(BuildId(1)));
        assert!(is_there.await.unwrap());
        stop.cancel();
    }

    #[test]
    fn only_projects_that_nobody_uses_go() {
        let directory = tempfile::tempdir().unwrap();
        let projects = projects(directory.path());
        for name in ["free", "prepared", "built"] {
            for parent in [&projects.mirrors, &projects.work_trees] {
                std::fs::create_dir_all(parent.join(name)).unwrap();
                std::fs::write(parent.join(name).join("file"), "text").unwrap();
            }
        }
        let prepared = projects
            .locks
            .try_lock(&projects.work_trees.join("prepared"));
        let built = BTreeSet::from([OsString::from("built")]);
        let measured = Measured::default();
        projects.remove_surplus(&built, &measured).unwrap();
        let left = |built: &BTreeSet<OsString>| {
            projects.remove_surplus(built, &measured).unwrap();
            let parents = [projects.mirrors.clone(), projects.work_trees.clone()];
            let found = find(&parents, false).unwrap();
            found
                .into_iter()
                .map(|project| project.name)
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(
            left(&built),
            ["built", "prepared"].map(OsString::from).into()
        );
        drop(prepared);
        assert_eq!(left(&built), built);
        assert!(left(&BTreeSet::new()).is_empty());
    }
}
