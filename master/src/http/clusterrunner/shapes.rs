//! Builds, subjobs and slaves as this API shows them. Pure.

mod accounts;
mod apps;
mod atom_rows;
mod atoms;
mod launching;
mod matrix;
mod outlook;
mod slaves;
mod steps;

pub(super) use accounts::{role, token, user};
pub(super) use apps::{app, app_config, app_with_releases};
pub(crate) use atom_rows::{ATOM_COLUMNS, AtomRow, atom_rows};
pub(crate) use atoms::{atoms, subjob};
pub(super) use launching::{instance, template};
pub(super) use outlook::{finish, is_foretold};
pub(crate) use slaves::{slave, slave_with_signs};
pub(super) use steps::{atomizers, merged, of_slave, steps_under_way, stored_step};

use crate::journal::EndedBuild;
use crate::read::running::{RunningInBuild, Runs};
use clusterrunner_common::api::{
    AtomView, BuildOnSlaveState, BuildResult, BuildStatus, BuildView, SettingUpView,
};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::http::clusterrunner::version::ApiVersion;
use clusterrunner_common::ids::SubjobId;
use clusterrunner_core::Cluster;
use clusterrunner_core::builds::build::{Build, BuildState};
use clusterrunner_core::builds::subjob::Subjob;
use clusterrunner_core::scheduling::kept_out::KeptOut;
use clusterrunner_core::slaves::slave::BuildOnSlave;
use indexmap::IndexMap;

/// A build, and what it waits for.
#[must_use]
pub(crate) fn build_of(cluster: &Cluster, known: &Build) -> BuildView {
    let mut view = build(known);
    view.slaves_setting_up = setting_up(cluster, known);
    for child in known
        .children
        .iter()
        .filter_map(|child| cluster.build(child.id))
    {
        view.num_atoms_in_progress += child.num_atoms_in_progress();
    }
    let kept_out = cluster.kept_out(known);
    if let Some(waits) = kept_out.and_then(|kept_out| waits(&kept_out, needs(known))) {
        let details = view.details.take().unwrap_or_default();
        view.details = Some(format!("{details} {waits}").trim_start().to_owned());
    }
    view
}

/// The same at a moment at which these atoms of the build run.
#[must_use]
pub(crate) fn build_at(
    cluster: &Cluster,
    known: &Build,
    running: &RunningInBuild,
    now: Timestamp,
) -> BuildView {
    BuildView {
        seconds_left: outlook::seconds_left(known, running, now),
        ..build_of(cluster, known)
    }
}

/// The slaves that set a build up now.
fn setting_up(cluster: &Cluster, build: &Build) -> Vec<SettingUpView> {
    if !build.is_coming() {
        return Vec::new();
    }
    let alive = cluster.slaves().filter(|slave| slave.is_alive());
    let setting_up = alive.filter_map(|slave| match slave.builds.get(&build.id)? {
        BuildOnSlave::SettingUp { since, .. } => Some(SettingUpView {
            slave_id: slave.id,
            url: slave.url.clone(),
            state: BuildOnSlaveState::SettingUp,
            since: since.map(Timestamp::as_unix_seconds),
        }),
        BuildOnSlave::Ready | BuildOnSlave::TearingDown => None,
    });
    setting_up.collect()
}

/// Why nothing of a build runs though something could.
fn waits(kept_out: &KeptOut, needs: Option<String>) -> Option<String> {
    let counts = [
        (kept_out.drained, "drained"),
        (kept_out.quarantined, "quarantined"),
        (kept_out.ending, "shutting down"),
        (kept_out.lost, "lost"),
    ];
    let counts = counts.iter().filter(|(number, _)| *number > 0);
    let counts: Vec<String> = counts
        .map(|(number, why)| format!("{number} {why}"))
        .collect();
    // Where no slave was kept out, the original's words are enough.
    let is_kept_out = kept_out.drained + kept_out.quarantined + kept_out.ending > 0;
    match needs {
        None => {
            is_kept_out.then(|| format!("It waits: no slave takes work: {}.", counts.join(", ")))
        }
        Some(needs) => {
            let counts = match counts.as_slice() {
                [] => String::new(),
                counts => format!(": {}", counts.join(", ")),
            };
            Some(format!(
                "It waits: no slave that takes work {needs}{counts}."
            ))
        }
    }
}

/// What a build asks for in a slave, if it asks for something.
fn needs(build: &Build) -> Option<String> {
    let labels = build.labels().map(|labels| {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        format!("has the labels {}", labels.join(", "))
    });
    let containers = build.needs_containers();
    let containers = containers.then(|| "runs containers, which the job's image needs".to_owned());
    let needs: Vec<String> = labels.into_iter().chain(containers).collect();
    (!needs.is_empty()).then(|| needs.join(" and "))
}

/// A build.
#[must_use]
pub(crate) fn build(build: &Build) -> BuildView {
    let num_subjobs = usize::try_from(build.num_subjobs()).unwrap_or(usize::MAX);
    assemble(build, num_subjobs, build.numbered_subjobs())
}

/// A build as a version of the API shows it.
#[must_use]
pub(crate) fn in_version(mut build: BuildView, version: ApiVersion) -> BuildView {
    if version == ApiVersion::V1 {
        build.result = build
            .result
            .filter(|result| *result != BuildResult::Canceled);
        let is_whole = build.status == BuildStatus::Finished;
        build.artifacts = build.artifacts.filter(|_| is_whole);
        build.project_id = None;
        build.started_by = None;
        build.finish = None;
        build.flaky_fails = false;
    } else if build.status.is_over() && build.num_subjobs > 0 {
        // Every subjob has one atom. The original says it of finished builds only.
        build.num_atoms = Some(build.num_subjobs);
    }
    build
}

/// A build that is archived.
#[must_use]
pub(crate) fn ended_build(ended: &EndedBuild) -> BuildView {
    let failed = ended.failed.iter().map(|(id, subjob)| (*id, subjob));
    let num_subjobs = match ended.build.is_parent() {
        true => usize::try_from(ended.build.num_subjobs()).unwrap_or(usize::MAX),
        false => ended.num_subjobs as usize,
    };
    assemble(&ended.build, num_subjobs, failed)
}

/// `subjobs` are at least those with failed atoms.
fn assemble<'a>(
    build: &'a Build,
    num_subjobs: usize,
    subjobs: impl Iterator<Item = (SubjobId, &'a Subjob)>,
) -> BuildView {
    let status = status_of(build, num_subjobs);
    let is_building = matches!(status, BuildStatus::Building | BuildStatus::Finished);
    BuildView {
        id: build.id,
        status,
        details: details(build, num_subjobs),
        error_message: match &build.state {
            BuildState::Error { reason } => Some(reason.clone()),
            _ => None,
        },
        num_atoms: is_building.then_some(build.num_atoms),
        num_subjobs: num_subjobs as u64,
        failed_atoms: failed_atoms(build, subjobs),
        result: match build.state {
            BuildState::Finished if build.atoms_failed == 0 => Some(BuildResult::NoFailures),
            BuildState::Finished => Some(BuildResult::Failure),
            BuildState::Canceled => Some(BuildResult::Canceled),
            _ => None,
        },
        request_params: build.request.to_params(),
        state_timestamps: state_timestamps(build),
        artifacts: has_archive(build).then(|| format!("/v1/build/{}/artifacts.tar.gz", build.id)),
        commit: build.plan.as_ref().and_then(|plan| plan.commit.clone()),
        job_name: build.plan.as_ref().map(|plan| plan.job_name.clone()),
        num_atoms_completed: build.atoms_completed,
        num_atoms_failed: build.atoms_failed,
        num_atoms_in_progress: build.num_atoms_in_progress(),
        num_atoms_in_trouble: build.atoms_in_trouble,
        retry_of: build.request.retry_of,
        failing: Some(build.atoms_failed > 0),
        num_atoms_not_run: Some(build.num_not_run()),
        num_atoms_flaky: Some(build.atoms_flaky),
        children: matrix::children(build),
        parent: build.parent(),
        matrix: build
            .request
            .part
            .as_ref()
            .map(|part| part.combination.clone()),
        warnings: build.warnings.clone(),
        lacks_atoms: build.lacks_atoms(),
        seconds_left: outlook::seconds_left(build, &RunningInBuild::default(), Timestamp(0)),
        finish: None,
        slaves_setting_up: Vec::new(),
        template: build
            .request
            .product
            .as_ref()
            .map(|product| product.name.clone()),
        project_id: Some(build.project),
        started_by: build.starter_name.clone(),
        flaky_fails: build.flaky_fails(),
    }
}

fn has_archive(build: &Build) -> bool {
    if build.state == BuildState::Finished {
        return true;
    }
    build.ended_early() && (build.num_finished > 0 || !build.cut_off.is_empty())
}

fn status_of(build: &Build, num_subjobs: usize) -> BuildStatus {
    match build.state {
        BuildState::Queued | BuildState::Preparing | BuildState::Prepared => BuildStatus::Queued,
        // Without atoms no slave was ever chosen, and the original never shows such a build at work.
        BuildState::Archiving if num_subjobs == 0 => BuildStatus::Queued,
        BuildState::Building(_) | BuildState::Split | BuildState::Archiving => {
            BuildStatus::Building
        }
        BuildState::Finished => BuildStatus::Finished,
        BuildState::Error { .. } => BuildStatus::Error,
        BuildState::Canceled => BuildStatus::Canceled,
    }
}

fn details(build: &Build, num_subjobs: usize) -> Option<String> {
    build.plan.as_ref()?;
    if build.is_parent() {
        return Some(matrix::details(build, num_subjobs));
    }
    if num_subjobs == 0 {
        return Some(match build.request.product {
            Some(_) => "There is an equal template already: nothing had to be run.".to_owned(),
            None => "This build has no atoms: its atomizers printed nothing.".to_owned(),
        });
    }
    let (done, total) = (build.num_finished, num_subjobs);
    let percent = 100.0 * done as f64 / total as f64;
    let cut_short = match build.is_cut_short() {
        true => format!(
            " The other {} were not run, since {} had failed.",
            build.num_not_run(),
            build.atoms_failed
        ),
        false => String::new(),
    };
    Some(format!(
        "{done} of {total} subjobs are complete ({percent:.1}%).{cut_short}"
    ))
}

/// The original shows an empty list for a canceled build, whatever failed before.
fn failed_atoms<'a>(
    build: &'a Build,
    subjobs: impl Iterator<Item = (SubjobId, &'a Subjob)>,
) -> Option<Vec<AtomView>> {
    match build.state {
        BuildState::Finished => {}
        BuildState::Canceled => return Some(Vec::new()),
        _ => return None,
    }
    // Mostly there are none, and there may be very many subjobs.
    let failed = usize::try_from(build.atoms_failed).unwrap_or(usize::MAX);
    let has_failed = |(_, subjob): &(SubjobId, &Subjob)| build.has_failed(subjob);
    let subjobs = subjobs.filter(has_failed).take(failed);
    let atoms = subjobs.flat_map(|(id, subjob)| atoms(build, id, subjob, Runs::No));
    let atoms = atoms.filter(AtomView::has_failed);
    Some(atoms.take(failed).collect())
}

/// By increasing time, states that were not entered last; as in the original.
fn state_timestamps(build: &Build) -> IndexMap<String, Option<f64>> {
    let times = &build.timestamps;
    let mut entries = [
        ("queued", times.queued),
        ("preparing", times.preparing),
        ("prepared", times.prepared),
        ("building", times.building),
        ("finished", times.finished),
        ("error", times.error),
        ("canceled", times.canceled),
    ];
    entries.sort_by_key(|(_, time)| (time.is_none(), *time));
    let entry = |(name, time): (&str, Option<Timestamp>)| {
        (name.to_owned(), time.map(Timestamp::as_unix_seconds))
    };
    entries.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_build_says_which_slaves_are_kept_out() {
        let none = KeptOut::default();
        let lost = KeptOut { lost: 2, ..none };
        let some = KeptOut {
            drained: 1,
            quarantined: 2,
            ending: 3,
            lost: 4,
        };
        let gpu = || Some("has the labels gpu".to_owned());
        let check = |kept_out, needs, expected: Option<&str>| {
            assert_eq!(waits(&kept_out, needs).as_deref(), expected);
        };
        check(none, None, None);
        check(lost, None, None);
        let counts = "1 drained, 2 quarantined, 3 shutting down, 4 lost";
        let expected = format!("It waits: no slave takes work: {counts}.");
        check(some, None, Some(&expected));
        let expected = "It waits: no slave that takes work has the labels gpu";
        check(none, gpu(), Some(&format!("{expected}.")));
        check(lost, gpu(), Some(&format!("{expected}: 2 lost.")));
        check(some, gpu(), Some(&format!("{expected}: {counts}.")));
    }
}
