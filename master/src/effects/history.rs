//! Counts builds that are archived: what each says of its atoms and tests goes into the histories, once. Beside the main
//! work, and read from the archive: the core does nothing for it.

use crate::coordinator::ClusterHandle;
use crate::core::builds::build::Build;
use crate::core::builds::hunted::HuntTrials;
use crate::core::event::{BuildFact, Event, Fact};
use crate::core::history::{Ended, Failure, Run, Tag};
use crate::journal::{Histories, HistoryJob, JournalError, Kind, Seen, What};
use crate::read::builds::{Builds, ReadError};
use crate::read::tested::{EndedAtom, TestsError, TestsOfAtom, Walk};
use crate::store::results::Results;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId, SubjobId};
use clusterrunner_common::junit::{ReportedTest, TestOutcome};
use clusterrunner_common::work::{BuildRequest, ProjectSource};
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

/// What an atom and its tests say.
fn runs_of(
    build: BuildId,
    (commit, told): (Option<Tag>, u32),
    tests: TestsOfAtom,
) -> Vec<(What, Run)> {
    let TestsOfAtom {
        atom,
        tests,
        failed_before,
    } = tests;
    let run = |ended, failed_before: usize, seconds: f64| Run {
        build,
        commit,
        told,
        ended,
        failed_before: u8::try_from(failed_before).unwrap_or(u8::MAX),
        hunted: HuntTrials::default(),
        ms: Duration::try_from_secs_f64(seconds).map_or(0, |time| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        }),
    };
    let ended = match atom.outcome {
        TestOutcome::Failed if !atom.is_flaky => Ended::Failed,
        _ => Ended::Passed,
    };
    let of_atom = What {
        kind: Kind::Atom,
        name: atom.value.clone(),
        class: None,
        atom: atom.command.as_str().into(),
    };
    // A long text, perhaps of very many tests.
    let value: Arc<str> = atom.value.as_str().into();
    let mut runs = vec![(of_atom, run(ended, atom.failed_attempts.len(), atom.time))];
    let reported = tests.into_iter().filter(|test| !is_atom(test, &atom));
    let failures = failures(&failed_before);
    for ((name, class), told) in merged(reported) {
        let before = failures.get(&(&*name, class.as_deref()));
        let before = before.copied().unwrap_or_default() + usize::from(told.is_flaky);
        let what = What {
            kind: Kind::Test,
            name,
            class,
            atom: Arc::clone(&value),
        };
        runs.push((what, run(told.ended, before, told.seconds)));
    }
    runs
}

/// Whether a test stands for its atom, which reported none.
fn is_atom(test: &ReportedTest, atom: &EndedAtom) -> bool {
    test.class.is_none() && test.file.is_none() && test.name == atom.value
}

/// In how many attempts a test failed.
fn failures(attempts: &[Vec<ReportedTest>]) -> BTreeMap<(&str, Option<&str>), usize> {
    let mut failures = BTreeMap::new();
    for tests in attempts {
        let failed = tests.iter();
        let failed = failed.filter(|test| test.outcome == TestOutcome::Failed);
        let names: BTreeSet<_> = failed
            .map(|test| (&*test.name, test.class.as_deref()))
            .collect();
        for name in names {
            *failures.entry(name).or_default() += 1;
        }
    }
    failures
}

/// What the reports of an atom say of one name.
struct Told {
    ended: Ended,
    is_flaky: bool,
    seconds: f64,
}

/// Tests of one name and class in an atom count as one, which failed if any of them did.
fn merged(tests: impl Iterator<Item = ReportedTest>) -> BTreeMap<(String, Option<String>), Told> {
    let mut merged = BTreeMap::new();
    for test in tests {
        let told = merged.entry((test.name, test.class)).or_insert(Told {
            ended: Ended::Skipped,
            is_flaky: false,
            seconds: 0.0,
        });
        told.ended = match (test.outcome, told.ended) {
            (TestOutcome::Failed, _) | (_, Ended::Failed) => Ended::Failed,
            (TestOutcome::Passed | TestOutcome::Flaky, _) | (_, Ended::Passed) => Ended::Passed,
            (TestOutcome::Skipped, Ended::Skipped) => Ended::Skipped,
        };
        told.is_flaky |= test.outcome == TestOutcome::Flaky;
        told.seconds += test.time.unwrap_or_default();
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use clusterrunner_common::ids::{AtomId, Attempt, SubjobId};

    const BUILD: BuildId = BuildId(4);

    fn test(name: &str, outcome: TestOutcome) -> ReportedTest {
        ReportedTest {
            name: name.to_owned(),
            class: Some("C".to_owned()),
            file: None,
            time: Some(0.25),
            outcome,
            message: None,
        }
    }

    fn atom(outcome: TestOutcome, failed_attempts: u32) -> EndedAtom {
        EndedAtom {
            subjob: SubjobId(0),
            atom: AtomId(0),
            attempt: Attempt(failed_attempts + 1),
            value: "a".to_owned(),
            command: "export A=a;".to_owned(),
            outcome,
            message: None,
            time: 1.5,
            failed_attempts: (1..=failed_attempts).map(Attempt).collect(),
            is_flaky: outcome == TestOutcome::Flaky,
        }
    }

    /// The name, how it ended, how often it had failed, and how long it took, of all that an atom and its reports say.
    fn told(
        atom: EndedAtom,
        reported: Vec<ReportedTest>,
        failed_before: Vec<Vec<ReportedTest>>,
    ) -> Vec<(String, Ended, u8, u64)> {
        let tests = TestsOfAtom {
            failed_before,
            ..atom.with(reported)
        };
        let runs = runs_of(BUILD, (None, 0), tests).into_iter();
        runs.map(|(what, run)| (what.name, run.ended, run.failed_before, run.ms))
            .collect()
    }

    fn expected(name: &str, ended: Ended, failed: u8, ms: u64) -> (String, Ended, u8, u64) {
        (name.to_owned(), ended, failed, ms)
    }

    #[test]
    fn an_atom_without_reports_says_something_of_itself_alone() {
        for (outcome, failed, ended) in [
            (TestOutcome::Passed, 0, Ended::Passed),
            (TestOutcome::Flaky, 2, Ended::Passed),
            (TestOutcome::Failed, 1, Ended::Failed),
        ] {
            let found = told(atom(outcome, failed), Vec::new(), Vec::new());
            let failed = u8::try_from(failed).unwrap();
            assert_eq!(found, [expected("a", ended, failed, 1500)]);
        }
        // Where a job says that flaky atoms count as failed.
        let strict = EndedAtom {
            is_flaky: true,
            ..atom(TestOutcome::Failed, 1)
        };
        let found = told(strict, Vec::new(), Vec::new());
        assert_eq!(found, [expected("a", Ended::Passed, 1, 1500)]);
    }

    #[test]
    fn tests_that_failed_before_are_told_from_their_neighbours() {
        use TestOutcome::{Failed, Flaky, Passed, Skipped};
        let reported = ["s", "t", "u"].map(|name| test(name, Passed));
        let before = [test("s", Passed), test("t", Failed), test("t", Failed)];
        let found = told(
            atom(Flaky, 1),
            reported.into_iter().chain([test("v", Skipped)]).collect(),
            vec![before.to_vec()],
        );
        let names = [
            expected("a", Ended::Passed, 1, 1500),
            expected("s", Ended::Passed, 0, 250),
            expected("t", Ended::Passed, 1, 250),
            expected("u", Ended::Passed, 0, 250),
            expected("v", Ended::Skipped, 0, 250),
        ];
        assert_eq!(found, names);
    }

    #[test]
    fn tests_of_one_name_count_as_one() {
        use TestOutcome::{Failed, Flaky, Passed};
        let reported = vec![test("t", Failed), test("t", Passed), test("u", Flaky)];
        let found = told(atom(Failed, 0), reported, Vec::new());
        let names = [
            expected("a", Ended::Failed, 0, 1500),
            expected("t", Ended::Failed, 0, 500),
            expected("u", Ended::Passed, 1, 250),
        ];
        assert_eq!(found, names);
    }
}
