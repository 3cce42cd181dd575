//! A report that goes with the answer to the order that it is about.

use super::Reports;
use clusterrunner_common::api::{SlaveState, StateReportBody};
use clusterrunner_common::ids::BuildId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Somebody who can tell the master the next report about a build. What is not taken in time is told
/// as any other.
#[derive(Debug)]
pub(crate) struct Expected {
    reports: Arc<Reports>,
    build: BuildId,
    report: oneshot::Receiver<StateReportBody>,
}

impl Expected {
    pub(super) fn new(
        reports: Arc<Reports>,
        build: BuildId,
    ) -> (Self, oneshot::Sender<StateReportBody>) {
        let (sender, report) = oneshot::channel();
        let expected = Self {
            reports,
            build,
            report,
        };
        (expected, sender)
    }

    /// What is to be told, if it comes soon. Whoever takes it tells it; should the master not hear it,
    /// it orders the same again, and is told again.
    pub(crate) async fn within(mut self, limit: Duration) -> Option<SlaveState> {
        let report = tokio::time::timeout(limit, &mut self.report).await;
        Some(report.ok()?.ok()?.state)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.report.close();
        // It came in the moment in which nobody waited for it any more.
        if let Ok(report) = self.report.try_recv() {
            self.reports.put(self.build, report);
        }
    }
}
