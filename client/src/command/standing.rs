//! How a build stands, in words.

use super::progress::Stage;
use crate::output::text::duration;
use crate::output::{BAD, GOOD, NOTICE};
use anstyle::Style;
use clusterrunner_common::api::build_request::WORKING_TREE;
use clusterrunner_common::api::{BuildResult, BuildStatus, BuildView};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::work::WorkingTree;
use serde_json::Value;

/// The state of a build, and how it is shown.
pub(super) fn build_state(build: &BuildView) -> (Style, &'static str) {
    match build.status {
        BuildStatus::Queued => match Stage::of(build) {
            Stage::Preparing => (NOTICE, "preparing"),
            Stage::WaitingForSlave => (NOTICE, "waiting for a slave"),
            _ => (NOTICE, "queued"),
        },
        BuildStatus::Building if is_setting_up(build) => (NOTICE, "setting up"),
        BuildStatus::Building if build.failing == Some(true) => (BAD, "failing"),
        status => build_state_of(status, build.result, build.lacks_atoms),
    }
}

/// The state of a build of which nothing more is known.
pub(super) fn build_state_of(
    status: BuildStatus,
    result: Option<BuildResult>,
    lacks_atoms: bool,
) -> (Style, &'static str) {
    match status {
        BuildStatus::Queued => (NOTICE, "queued"),
        BuildStatus::Building => (NOTICE, "building"),
        BuildStatus::Finished if lacks_atoms => (BAD, "no atoms"),
        BuildStatus::Finished if result == Some(BuildResult::NoFailures) => (GOOD, "passed"),
        BuildStatus::Finished => (BAD, "failed"),
        BuildStatus::Error => (BAD, "error"),
        BuildStatus::Canceled => (NOTICE, "canceled"),
    }
}

/// Whether nothing of a build runs because slaves still set it up.
fn is_setting_up(build: &BuildView) -> bool {
    let begun = build.num_atoms_completed + build.num_atoms_in_progress;
    begun == 0 && !build.slaves_setting_up.is_empty()
}

pub(super) fn atoms(build: &BuildView) -> String {
    match build.num_atoms {
        None if build.num_atoms_completed > 0 => format!("{} done", build.num_atoms_completed),
        None => "-".to_owned(),
        Some(atoms) if build.status == BuildStatus::Finished => atoms.to_string(),
        Some(atoms) => format!("{} of {atoms}", build.num_atoms_completed),
    }
}

/// How many of its atoms were not run, where some were not though it is finished.
pub(super) fn not_run(build: &BuildView) -> String {
    match build.num_atoms_not_run {
        Some(rest) if rest > 0 && build.status == BuildStatus::Finished => {
            format!(", {rest} not run")
        }
        Some(_) | None => String::new(),
    }
}

/// How many of its atoms are flaky, where some are.
pub(super) fn flaky(build: &BuildView) -> String {
    match build.num_atoms_flaky {
        None | Some(0) => String::new(),
        Some(flaky) => format!(", {flaky} flaky"),
    }
}

pub(super) fn failed_atoms(build: &BuildView) -> u64 {
    let listed = build.failed_atoms.as_ref().map_or(0, Vec::len);
    build
        .num_atoms_failed
        .max(u64::try_from(listed).unwrap_or(u64::MAX))
}

/// When the build was in which state, as far as known, in the order in which it was there.
fn entered(build: &BuildView) -> Vec<(&str, f64)> {
    let mut entered: Vec<(&str, f64)> = build
        .state_timestamps
        .iter()
        .filter_map(|(state, at)| Some((state.as_str(), (*at)?)))
        .collect();
    entered.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    entered
}

/// How long the build was in each state it has left.
pub(super) fn stages(build: &BuildView) -> Vec<(String, f64)> {
    let entered = entered(build);
    entered
        .windows(2)
        .map(|pair| (pair[0].0.to_owned(), pair[1].1 - pair[0].1))
        .collect()
}

/// How long the build has been in the state that it is in; nothing where it stays there.
pub(super) fn present(build: &BuildView) -> Option<(String, f64)> {
    let entered = entered(build);
    let (state, at) = entered.last().filter(|_| !build.status.is_over())?;
    let since = Timestamp::now().as_unix_seconds() - at;
    Some(((*state).to_owned(), since.max(0.0)))
}

/// Seconds from its acceptance to its end, or until now.
pub(super) fn took(build: &BuildView) -> Option<f64> {
    let entered = entered(build);
    let (_, first) = entered.first()?;
    let (_, last) = entered.last()?;
    let end = if build.status.is_over() {
        *last
    } else {
        Timestamp::now().as_unix_seconds()
    };
    Some(end - first)
}

pub(super) fn began(build: &BuildView) -> String {
    match entered(build).first() {
        Some((_, at)) => format!("{} ago", duration(Timestamp::now().as_unix_seconds() - at)),
        None => "-".to_owned(),
    }
}

/// The job of a build, as far as it is known.
pub(super) fn job(build: &BuildView) -> Option<&str> {
    let asked = build.request_params.get("job_name");
    build.job_name.as_deref().or(asked.and_then(Value::as_str))
}

/// What is built, in a few words: `Unit of https://example.org/a.git, branch main`.
pub(super) fn project(build: &BuildView) -> String {
    let param = |name: &str| build.request_params.get(name).and_then(Value::as_str);
    let number = build.request_params.get("project").and_then(Value::as_u64);
    let mut text = match (param("url"), param("project_directory"), number) {
        (Some(url), _, _) => url.to_owned(),
        (None, Some(directory), _) => directory.to_owned(),
        // Code that was uploaded has no address.
        (None, None, Some(number)) => format!("project {number}"),
        (None, None, None) => "-".to_owned(),
    };
    if let Some(template) = &build.template {
        text = format!("template {template} of {text}");
    } else if let Some(job) = job(build) {
        text = format!("{job} of {text}");
    }
    let tree = working_tree(build);
    for name in ["branch", "hash"] {
        // The commit of a working tree says nothing to a reader.
        let is_told = name != "hash" || tree.is_none();
        if let Some(value) = param(name).filter(|_| is_told) {
            text = format!("{text}, {name} {value}");
        }
    }
    match tree {
        Some(tree) => format!("{text}, {tree}"),
        None => text,
    }
}

/// The working tree that a build is of, if it is of one.
pub(super) fn working_tree(build: &BuildView) -> Option<WorkingTree> {
    let tree = build.request_params.get(WORKING_TREE)?;
    serde_json::from_value(tree.clone()).ok()
}
