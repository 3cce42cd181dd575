//! How long a build will still take. Pure.

use crate::read::running::RunningInBuild;
use clusterrunner_common::api::{BuildStatus, BuildView, FinishView};
use clusterrunner_common::clock::Timestamp;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::forecast::Finish;

/// What is left of a build at a moment at which these atoms of it run.
pub(super) fn seconds_left(build: &Build, running: &RunningInBuild, now: Timestamp) -> Option<f64> {
    // Of what slaves have, but do not say that it runs, nothing is done.
    let left_ms = build.left_ms(|subjob, attempt| {
        let atom = running.atom(subjob, attempt);
        atom.map_or(0, |atom| now.0.saturating_sub(atom.started_at_ms.0))
    })?;
    Some(left_ms as f64 / 1000.0)
}

/// Whether it is foretold when a build will end: slaves work on it.
pub(in crate::http::clusterrunner) fn is_foretold(build: &BuildView) -> bool {
    build.status == BuildStatus::Building && build.num_atoms != Some(build.num_atoms_completed)
}

/// When a build will end.
pub(in crate::http::clusterrunner) fn finish(finish: Finish) -> FinishView {
    let seconds = |ms: u64| ms as f64 / 1000.0;
    FinishView {
        median: seconds(finish.median),
        low: seconds(finish.low),
        high: seconds(finish.high),
    }
}
