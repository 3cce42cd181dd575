//! What earlier builds say of an atom or a test, and which are flaky.

use super::Api;
use super::error::ApiError;
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
use clusterrunner_core::Cluster;
use clusterrunner_core::access::{Access, Caller, Subject, access};
use clusterrunner_core::history::{Beta, Ended, Failure, Run, Verdict};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// A job, and the name of its project.
type Job = (HistoryJob, String);

/// How many atoms and tests of one name are shown.
const MAX_SHOWN: usize = 500;

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
    let history = look(&api, caller, of, move |histories, jobs| {
        let mut history = Vec::new();
        for job in &jobs {
            for kind in kinds {
                let found = histories.named(&job.0, *kind, &name)?;
                history.extend(found.into_iter().map(|entry| view(job, entry)));
            }
            if history.len() >= MAX_SHOWN {
                break;
            }
        }
        history.truncate(MAX_SHOWN);
        Ok(history)
    });
    let history = history.await?;
    Ok(Json(HistoryBody { history }))
}

/// What is flaky or may be.
pub(super) async fn flaky(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    PageOfTests(page): PageOfTests,
    wanted: WantedJobs,
) -> Result<Json<FlakyBody>, ApiError> {
    let body = look(&api, caller, wanted, move |histories, jobs| {
        let (mut found, mut ranks) = (Vec::new(), HashMap::new());
        for (number, job) in jobs.iter().enumerate() {
            histories.with_flakes(&job.0, |place, entry| {
                let trials = entry.memory.trials();
                let numbers = (trials.flakes(), trials.all());
                let rank = ranks.entry(numbers);
                let rank = *rank.or_insert_with(|| Beta::after(&trials).interval().0);
                found.push((rank, number, place));
            })?;
        }
        // The flaky ones have a lower end that no other one has. What is equally flaky keeps the order of the store.
        found.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
        let total = found.len() as u64;
        let mut flaky = Vec::new();
        for (_, number, place) in page.of(found.into_iter()) {
            let entry = histories.at(&place)?;
            flaky.extend(entry.map(|entry| view(&jobs[number], entry)));
        }
        Ok(FlakyBody { flaky, total })
    });
    Ok(Json(body.await?))
}

/// Whether a job is meant by a name: its own, or that of a job of whose matrix it is a combination.
fn is_job(name: &str, wanted: &str) -> bool {
    let rest = name.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with(" [") && rest.ends_with(']')))
}

/// Looks at the jobs that are wanted and that the caller may know of, while other work goes on.
async fn look<T: Send + 'static>(
    api: &Api,
    caller: Caller,
    wanted: WantedJobs,
    look: impl FnOnce(&Histories, Vec<Job>) -> Result<T, JournalError> + Send + 'static,
) -> Result<T, ApiError> {
    let (histories, turn) = (api.histories.clone(), api.turns.take().await);
    let jobs = blocking(move || histories.jobs()).await?;
    let projects = jobs.iter().map(|job| job.project).collect::<Vec<_>>();
    let projects = move |cluster: &Cluster| named(cluster, caller, projects);
    let projects = api.cluster.read(projects).await?;
    let jobs = jobs.into_iter().filter_map(move |job| {
        let name = projects.get(&job.project)?;
        let is_wanted = wanted
            .job
            .as_ref()
            .is_none_or(|wanted| is_job(&job.name, wanted))
            && wanted
                .project
                .as_ref()
                .is_none_or(|wanted| wanted == name || *wanted == job.project.to_string());
        is_wanted.then(|| (job, name.clone()))
    });
    let (histories, jobs) = (api.histories.clone(), jobs.collect());
    blocking(move || {
        let _turn = turn;
        look(&histories, jobs)
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
        atom: (what.kind == Kind::Test).then(|| what.atom.to_string()),
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
            hunted: memory.hunted(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_job_means_all_combinations_of_its_matrix() {
        for (name, wanted, expected) in [
            ("Unit", "Unit", true),
            ("Unit [PY=3.12 OS=a]", "Unit", true),
            ("Unit [PY=3.12 OS=a]", "Unit [PY=3.12 OS=a]", true),
            ("Unit [PY=3.12 OS=a]", "Unit [PY=3.12]", false),
            ("Unit tests", "Unit", false),
            ("Units [A=1]", "Unit", false),
            ("Unit", "Unit [A=1]", false),
        ] {
            assert_eq!(is_job(name, wanted), expected, "{name} {wanted}");
        }
    }
}
