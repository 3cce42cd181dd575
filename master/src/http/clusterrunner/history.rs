//! What earlier builds say of an atom or a test, and which are flaky.

use super::Api;
use super::error::ApiError;
use crate::core::Cluster;
use crate::core::access::{Access, Caller, Subject, access};
use crate::core::history::{Beta, Ended, Failure, Run, Verdict};
use crate::journal::{Entry, Histories, HistoryJob, JournalError, Kind};
use axum::extract::State;
use axum::{Extension, Json};
use clusterrunner_common::api::history::{
    DurationsView, FailedView, FlakinessView, FlakyBody, FlakyVerdict, HistoryBody, HistoryKind,
    HistoryView, RunView,
};
use clusterrunner_common::http::clusterrunner::page::PageOfTests;
use clusterrunner_common::http::clusterrunner::wanted_history::{WantedHistory, WantedJobs};
use clusterrunner_common::ids::ProjectId;
use clusterrunner_common::junit::TestOutcome;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// A job, and the name of its project.
type Job = (HistoryJob, String);

/// What has a name.
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    wanted: WantedHistory,
) -> Result<Json<HistoryBody>, ApiError> {
    let WantedHistory { name, kind, of } = wanted;
    let kinds = match kind {
        Some(HistoryKind::Atom) => &[Kind::Atom][..],
        Some(HistoryKind::Test) => &[Kind::Test],
        None => &[Kind::Atom, Kind::Test],
    };
    let found = entries(&api, caller, of, move |histories, job| {
        let mut found = Vec::new();
        for kind in kinds {
            found.extend(histories.named(job, *kind, &name)?);
        }
        Ok(found)
    });
    let found = found.await?;
    let history = found.into_iter().map(|(job, entry)| view(&job, entry));
    Ok(Json(HistoryBody {
        history: history.collect(),
    }))
}

/// What is flaky or may be.
pub(super) async fn flaky(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    PageOfTests(page): PageOfTests,
    wanted: WantedJobs,
) -> Result<Json<FlakyBody>, ApiError> {
    let found = entries(&api, caller, wanted, |histories, job| {
        histories.with_flakes(job)
    });
    let found = found.await?;
    let mut flaky: Vec<HistoryView> = found
        .into_iter()
        .map(|(job, entry)| view(&job, entry))
        .collect();
    // Stable: what is equally flaky keeps the order of the store.
    flaky.sort_by(|one, other| rank(other).total_cmp(&rank(one)));
    Ok(Json(FlakyBody {
        total: flaky.len() as u64,
        flaky: page.of(flaky.into_iter()).collect(),
    }))
}

/// The flaky ones have a lower end that no other one has.
fn rank(view: &HistoryView) -> f64 {
    view.flakiness.low
}

/// What `find` finds in the jobs that are wanted and that the caller may know of.
async fn entries(
    api: &Api,
    caller: Caller,
    wanted: WantedJobs,
    find: impl Fn(&Histories, &HistoryJob) -> Result<Vec<Entry>, JournalError> + Send + 'static,
) -> Result<Vec<(Arc<Job>, Entry)>, ApiError> {
    let histories = api.histories.clone();
    let jobs = blocking(move || histories.jobs()).await?;
    let projects = jobs.iter().map(|job| job.project).collect::<Vec<_>>();
    let look = move |cluster: &Cluster| named(cluster, caller, projects);
    let projects = api.cluster.read(look).await?;
    let jobs = jobs.into_iter().filter_map(move |job| {
        let name = projects.get(&job.project)?;
        let is_wanted = wanted.job.as_ref().is_none_or(|wanted| *wanted == job.name)
            && wanted
                .project
                .as_ref()
                .is_none_or(|wanted| wanted == name || *wanted == job.project.to_string());
        is_wanted.then(|| Arc::new((job, name.clone())))
    });
    let jobs: Vec<Arc<Job>> = jobs.collect();
    let (histories, turn) = (api.histories.clone(), api.turns.take().await);
    blocking(move || {
        let _turn = turn;
        let mut found = Vec::new();
        for job in jobs {
            let entries = find(&histories, &job.0)?;
            found.extend(entries.into_iter().map(|entry| (Arc::clone(&job), entry)));
        }
        Ok(found)
    })
    .await
}

/// The names of those of some projects that are there and that the caller may read. Whoever has come here may read what
/// is public.
fn named(
    cluster: &Cluster,
    caller: Caller,
    projects: Vec<ProjectId>,
) -> BTreeMap<ProjectId, String> {
    let projects = projects.into_iter().filter_map(|id| cluster.project(id));
    let readable =
        projects.filter(|project| access(caller, Subject::Project(project), true) >= Access::Read);
    readable
        .map(|project| (project.id, project.name.clone()))
        .collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = spawn_blocking(work).await;
    Ok(done.map_err(JournalError::from)??)
}

fn view((job, project): &Job, entry: Entry) -> HistoryView {
    let (memory, what) = (entry.memory, entry.what);
    let trials = memory.trials();
    let believed = Beta::after(&trials);
    let (low, high) = believed.interval();
    let durations = memory.durations_ms([0.1, 0.5, 0.9, 1.0]);
    HistoryView {
        kind: match what.kind {
            Kind::Atom => HistoryKind::Atom,
            Kind::Test => HistoryKind::Test,
        },
        name: what.name,
        class: what.class,
        atom: (what.kind == Kind::Test).then_some(what.atom),
        project_id: job.project,
        project: project.clone(),
        job: job.name.clone(),
        runs: memory.runs.iter().map(run_view).collect(),
        durations: durations.map(|times| {
            let [p10, median, p90, max] = times.map(seconds);
            DurationsView {
                p10,
                median,
                p90,
                max,
            }
        }),
        flakiness: FlakinessView {
            verdict: match Beta::verdict(&trials) {
                Verdict::Stable => FlakyVerdict::Stable,
                Verdict::Suspicious => FlakyVerdict::Suspicious,
                Verdict::Flaky => FlakyVerdict::Flaky,
            },
            rate: rounded(believed.mean()),
            low: rounded(low),
            high: rounded(high),
            trials: trials.all(),
            flakes: trials.flakes(),
        },
        first_failed: memory.first_failed.map(failed_view),
        last_failed: memory.last_failed.map(failed_view),
    }
}

fn run_view(run: &Run) -> RunView {
    RunView {
        build_id: run.build,
        commit: run.commit.map(|tag| tag.to_string()),
        outcome: match run.ended {
            Ended::Passed if run.is_flaky() => TestOutcome::Flaky,
            Ended::Passed => TestOutcome::Passed,
            Ended::Failed => TestOutcome::Failed,
            Ended::Skipped => TestOutcome::Skipped,
        },
        failed_attempts: run.failed_before.into(),
        time: seconds(run.ms),
    }
}

fn failed_view(failure: Failure) -> FailedView {
    FailedView {
        build_id: failure.build,
        commit: failure.commit,
        at: seconds(failure.at.0),
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// To a millionth: more digits say nothing.
fn rounded(probability: f64) -> f64 {
    (probability * 1e6).round() / 1e6
}
