//! A build that was split into the builds of a matrix, and these.

use clusterrunner_common::api::{BuildResult, BuildStatus, ChildView};
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::build::BuildState;
use clusterrunner_core::builds::children::{Child, ChildState};

/// The builds of its matrix.
pub(super) fn children(build: &Build) -> Vec<ChildView> {
    build.children.iter().map(child).collect()
}

fn child(child: &Child) -> ChildView {
    let counts = child.counts;
    let (status, result) = match &child.state {
        ChildState::Waiting => (BuildStatus::Queued, None),
        ChildState::Building => (BuildStatus::Building, None),
        ChildState::Finished { .. } if counts.atoms_failed > 0 => {
            (BuildStatus::Finished, Some(BuildResult::Failure))
        }
        ChildState::Finished { .. } => (BuildStatus::Finished, Some(BuildResult::NoFailures)),
        ChildState::Error { .. } => (BuildStatus::Error, None),
        ChildState::Canceled => (BuildStatus::Canceled, None),
    };
    ChildView {
        build_id: child.id,
        name: child.combination.to_string(),
        matrix: child.combination.clone(),
        status,
        result,
        error_message: match &child.state {
            ChildState::Error { reason } => Some(reason.clone()),
            _ => None,
        },
        lacks_atoms: child.state == ChildState::Finished { lacks_atoms: true },
        num_atoms: counts.num_atoms,
        num_atoms_completed: counts.atoms_completed,
        num_atoms_failed: counts.atoms_failed,
        num_atoms_flaky: counts.atoms_flaky,
    }
}

/// That not all was run, once it is over.
fn not_run(build: &Build) -> String {
    let mut children = build.children.iter();
    let is_any_canceled = children.any(|child| child.state == ChildState::Canceled);
    let is_cut_short =
        build.is_over() && build.state != BuildState::Canceled && build.has_failed_enough();
    if !is_cut_short || !(is_any_canceled || build.num_not_run() > 0) {
        return String::new();
    }
    let why = match build.num_children_in_error() {
        0 => format!("{} had failed", build.atoms_failed),
        errors => format!(
            "{} had failed, and {errors} could not be run",
            build.atoms_failed
        ),
    };
    format!(" The rest was not run, since {why}.")
}

/// How far all of them are.
pub(super) fn details(build: &Build, num_subjobs: usize) -> String {
    let over = build.children.iter();
    let over = over.filter(|child| child.state.is_over()).count();
    let total = build.children.len();
    let of_matrix = format!(
        "{over} of {total} builds of the matrix are over.{}",
        not_run(build)
    );
    if num_subjobs == 0 {
        return of_matrix;
    }
    let percent = 100.0 * build.num_finished as f64 / num_subjobs as f64;
    format!(
        "{} of {num_subjobs} subjobs are complete ({percent:.1}%). {of_matrix}",
        build.num_finished
    )
}
