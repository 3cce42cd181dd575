//! Counts builds that are archived: what each says of its atoms and tests goes into the histories, once. Beside the main
//! work, and read from the archive: the core does nothing for it.

mod runs;

use crate::coordinator::ClusterHandle;
use crate::journal::{Histories, HistoryJob, JournalError, Seen};
use crate::read::builds::{Builds, ReadError};
use crate::read::tested::{TestsError, TestsOfAtom, Walk};
use crate::store::results::Results;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId, SubjobId};
use clusterrunner_common::work::{BuildRequest, ProjectSource};
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::hunted::HuntTrials;
use clusterrunner_core::event::{BuildFact, Event, Fact};
use clusterrunner_core::history::{Ended, Failure, Tag};
use runs::runs_of;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, interval_at};

/// How many runs are stored at once.
const RUNS_AT_ONCE: usize = 4096;

/// How many builds share a flush of the disk.
const BUILDS_AT_ONCE: usize = 64;

/// After how many new atoms and tests a master looks for what is to be forgotten, whatever the time is: jobs whose
/// names change from build to build would fill the disk.
const FORGET_AFTER: usize = 200_000;

/// How many bytes the name of a job and its directory have together; of longer ones nothing is remembered.
const MAX_JOB: usize = 4096;

/// After how long a build is tried again that could not be counted.
const TRY_AGAIN: Duration = Duration::from_secs(5 * 60);

/// How long after its start a master first looks for what is to be forgotten, and how often then.
const FIRST_FORGET: Duration = Duration::from_secs(10 * 60);
const FORGET_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// A listener for the coordinator, and the builds that it hears of, for [`Historian::run`]. Without a bound, since an id
/// is all that waits.
pub(crate) fn listener() -> (
    impl FnMut(&[Event]) + Send + 'static,
    mpsc::UnboundedReceiver<BuildId>,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let listener = move |events: &[Event]| {
        for event in events {
            if let Fact::Build(build, BuildFact::Retired) = event.fact {
                // Nobody listens any more when the master goes down.
                sender.send(build).ok();
            }
        }
    };
    (listener, receiver)
}

/// Why a build does not count yet.
#[derive(Debug, thiserror::Error)]
enum CountError {
    #[error(transparent)]
    Tests(#[from] TestsError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the task that counts builds failed: {0}")]
    Task(#[from] JoinError),
}

impl From<ReadError> for CountError {
    fn from(error: ReadError) -> Self {
        Self::Tests(error.into())
    }
}

impl CountError {
    /// It is not there any more, or about to go.
    fn is_of_a_build_that_goes(&self) -> bool {
        matches!(self, Self::Tests(TestsError::Build(ReadError::Refused(_))))
    }

    fn is_of_a_master_that_goes(&self) -> bool {
        matches!(self, Self::Tests(TestsError::Build(ReadError::Gone(_))))
    }
}

/// A build that is to count.
struct OfBuild {
    job: HistoryJob,
    of: Failure,
    /// See [`Run::told`].
    told: u32,
    /// Whether it is a user's working tree: what failed there says nothing of what others have.
    is_of_working_tree: bool,
    hunted: BTreeMap<SubjobId, HuntTrials>,
}

/// Counts builds.
#[derive(Debug)]
pub(crate) struct Historian {
    /// The builds.
    pub builds: Builds,
    /// What their atoms reported.
    pub results: Results,
    /// Where they count.
    pub histories: Histories,
}

impl Historian {
    /// Counts the builds that an earlier life of the master has left, and those that it hears of, until the other side is
    /// closed. What waits then is counted by the next life.
    pub(crate) async fn run(self, mut heard: mpsc::UnboundedReceiver<BuildId>) {
        let mut waiting = self.left().await;
        let mut forget = interval_at(Instant::now() + FIRST_FORGET, FORGET_INTERVAL);
        let mut try_again = interval_at(Instant::now() + TRY_AGAIN, TRY_AGAIN);
        let (mut failed, mut warned, mut added) = (BTreeSet::new(), HashSet::new(), 0);
        loop {
            while let Ok(build) = heard.try_recv() {
                waiting.insert(build);
            }
            if heard.is_closed() {
                return;
            }
            tokio::select! {
                biased;
                _ = forget.tick() => {
                    self.forget().await;
                    continue;
                }
                _ = try_again.tick() => {
                    waiting.append(&mut failed);
                    continue;
                }
                () = std::future::ready(()), if !waiting.is_empty() => {}
                build = heard.recv() => {
                    waiting.extend(build);
                    continue;
                }
            }
            let mut counted = Vec::new();
            while let Some(build) = waiting.pop_first() {
                match self.learn(build).await {
                    Ok(number) => {
                        counted.push(build);
                        added += number;
                    }
                    Err(error) if error.is_of_a_build_that_goes() => counted.push(build),
                    Err(error) if error.is_of_a_master_that_goes() => return,
                    Err(error) => {
                        if warned.insert(build) {
                            tracing::warn!(build.id = build.0, %error, "could not count a build");
                        }
                        failed.insert(build);
                    }
                }
                if counted.len() == BUILDS_AT_ONCE || heard.is_closed() {
                    break;
                }
            }
            if !counted.is_empty() {
                let histories = self.histories.clone();
                told(spawn_blocking(move || histories.count(&counted)).await);
            }
            if added > FORGET_AFTER {
                added = 0;
                self.forget().await;
            }
        }
    }

    /// The archived builds that do not count yet.
    async fn left(&self) -> BTreeSet<BuildId> {
        let histories = self.histories.clone();
        let counted = spawn_blocking(move || histories.counted()).await;
        let Some(counted) = told(counted) else {
            return BTreeSet::new();
        };
        let archived = archived(&self.builds.cluster).await.unwrap_or_default();
        archived.difference(&counted).copied().collect()
    }

    async fn forget(&self) {
        let projects = self.builds.cluster.read(|cluster| {
            let projects = cluster.projects().map(|project| project.id);
            projects.collect::<BTreeSet<ProjectId>>()
        });
        // Without an answer the master is going down.
        let (Ok(projects), Some(builds)) = (projects.await, archived(&self.builds.cluster).await)
        else {
            return;
        };
        let histories = self.histories.clone();
        let forgetting =
            spawn_blocking(move || histories.forget(Timestamp::now(), &projects, &builds));
        told(forgetting.await);
    }

    /// Takes what a build says into account. How many atoms and tests were not known before.
    async fn learn(&self, id: BuildId) -> Result<usize, CountError> {
        let Some(OfBuild {
            job,
            of,
            told,
            is_of_working_tree,
            hunted,
        }) = self.of(id).await?
        else {
            return Ok(0);
        };
        let walk = Walk::begin(self.builds.clone(), self.results.clone(), id);
        let mut walk = walk.await?.with_failed_attempts();
        let tag = of.commit.as_deref().and_then(Tag::of);
        let (mut seen, mut added) = (Seen::default(), 0);
        let hunted = Arc::new(hunted);
        while !walk.is_over() {
            let hunted = Arc::clone(&hunted);
            let visit = move |runs: &mut Vec<_>, tests: TestsOfAtom| {
                let hunted = hunted.get(&tests.atom.subjob).copied();
                let first = runs.len();
                runs.extend(runs_of(id, (tag, told), tests));
                // Of reports in runs that leave nothing nothing is known.
                if let Some((of_atom, hunted)) = runs.get_mut(first).zip(hunted) {
                    of_atom.1.hunted = hunted;
                }
                if is_of_working_tree {
                    runs.retain(|(_, run)| run.ended == Ended::Passed && !run.is_flaky());
                }
                match runs.len() < RUNS_AT_ONCE {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            };
            let runs = walk.go_on(None, Vec::new(), visit).await?;
            let histories = self.histories.clone();
            let (job, of) = (job.clone(), of.clone());
            let learning = spawn_blocking(move || {
                let added = histories.learn(&job, &of, &runs, &mut seen)?;
                Ok::<_, JournalError>((seen, added))
            });
            let new;
            (seen, new) = learning.await??;
            added += new;
        }
        Ok(added)
    }

    async fn of(&self, id: BuildId) -> Result<Option<OfBuild>, CountError> {
        let Some(ended) = self.builds.archived.build(id).await? else {
            return Ok(None);
        };
        let build = ended.build;
        // Atoms in a chosen order and company, such as the trials of a bisection, say nothing of other builds.
        let job = job_of(&build).filter(|_| !build.request.in_order);
        let Some((job, plan)) = job.zip(build.plan) else {
            return Ok(None);
        };
        let told = told_beside_the_commit(&build.request);
        let times = build.timestamps;
        let over = times.finished.or(times.error).or(times.canceled);
        let hunted = |atom: &SubjobId| (*atom, build.hunted.of(*atom));
        Ok(Some(OfBuild {
            job,
            hunted: build.hunted.atoms.keys().map(hunted).collect(),
            of: Failure {
                build: id,
                commit: plan.commit,
                at: over.unwrap_or(Timestamp(0)),
            },
            told,
            is_of_working_tree: build.request.working_tree.is_some(),
        }))
    }
}

/// The job that a build is of, once that is known; none where its name is too long.
pub(super) fn job_of(build: &Build) -> Option<HistoryJob> {
    let inside = match &build.request.project {
        ProjectSource::Git {
            project_directory, ..
        } => project_directory.clone().unwrap_or_default(),
        ProjectSource::Directory { .. } | ProjectSource::Own { .. } => String::new(),
    };
    let name = &build.plan.as_ref()?.job_name;
    let name = build.request.job_of_atoms(name).into_owned();
    let is_short = inside.len() + name.len() <= MAX_JOB;
    is_short.then_some(HistoryJob {
        project: build.project,
        inside,
        name,
    })
}

/// Stands for what a request says beside its commit that atoms may depend on; 0 where that is nothing.
fn told_beside_the_commit(request: &BuildRequest) -> u32 {
    let is_plain =
        request.env.is_empty() && request.config.is_none() && request.remote_files.is_empty();
    if is_plain {
        return 0;
    }
    // In whatever order they were named.
    let env: BTreeMap<_, _> = request.env.iter().collect();
    let files: BTreeMap<_, _> = request.remote_files.iter().collect();
    let told = serde_json::json!([env, request.config, files]);
    let hash = Sha256::digest(told.to_string());
    let (first, _) = hash.split_first_chunk().unwrap_or((&[0; 4], &[]));
    u32::from_be_bytes(*first).max(1)
}

async fn archived(cluster: &ClusterHandle) -> Option<BTreeSet<BuildId>> {
    let archived = cluster.read(|cluster| cluster.ended().map(|(id, _)| id).collect());
    archived.await.ok()
}

/// What came of work on the disk; trouble is logged.
fn told<T>(outcome: Result<Result<T, JournalError>, JoinError>) -> Option<T> {
    match outcome {
        Ok(Ok(done)) => Some(done),
        Ok(Err(error)) => {
            tracing::warn!(%error, "could not store the history of atoms");
            None
        }
        Err(error) => {
            tracing::error!(%error, "the task that stores the history of atoms failed");
            None
        }
    }
}
