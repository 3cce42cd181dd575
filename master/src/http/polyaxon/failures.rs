//! Which step of a build failed: what the build printed last says it.

use super::Api;
use crate::consoles::Lines;
use clusterrunner_common::ids::{AtomId, BuildId, SubjobId};
use clusterrunner_common::templates::failure_in;
use clusterrunner_core::builds::build::Build;
use clusterrunner_core::builds::statuses::StatusCause;

/// A build of steps that failed.
#[derive(Debug)]
pub(super) struct Failed {
    build: BuildId,
}

impl Failed {
    /// The build, if it is one of steps and its steps came to an end that is a failure.
    pub(super) fn of(build: &Build) -> Option<Self> {
        build.request.specification.as_ref()?;
        let last = build.statuses().pop()?.cause;
        let has_failed = matches!(last, StatusCause::Finished { atoms_failed: 1.. });
        has_failed.then_some(Self { build: build.id })
    }

    /// The step that failed, and with which exit code; none where the build did not come to say it.
    pub(super) async fn cause(&self, api: &Api) -> Option<String> {
        let lines = Lines {
            max_lines: 1,
            offset_line: None,
        };
        let steps = (self.build, SubjobId(0), AtomId(0));
        // Without its console, its exit code is told.
        let printed = api.streams.consoles.piece(steps, None, lines).await.ok()?;
        failure_in(&printed.content)
    }
}
