//! What the master is to be told about builds, and telling it until it has heard.

use super::delivery::is_of_registration;
use super::pacing::Pacing;
use crate::master::api::MasterApi;
use crate::master::registration::Registration;
use crate::master::retrying::Failures;
use clusterrunner_common::api::{SlaveState, StateReportBody};
use clusterrunner_common::ids::{BuildId, SlaveId};
use clusterrunner_common::lock::lock;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use reqwest::StatusCode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How many reports are under way at a time, each about another build.
const AT_A_TIME: usize = 16;

/// Reports that the master has not acknowledged: the newest about each build.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    by_build: BTreeMap<BuildId, (u64, StateReportBody)>,
    /// Numbers the reports, so that an answer is not taken for one to a newer report.
    last_number: u64,
    /// Answers to orders that can tell how the order ended.
    expected: BTreeMap<BuildId, oneshot::Sender<StateReportBody>>,
}

impl Waiting {
    /// Sends a good report with the answer to an order; gives any other back. That
    /// something failed is told until the master has heard it: ordered again, it might not fail again.
    fn answer(&mut self, build: BuildId, report: StateReportBody) -> Option<StateReportBody> {
        let is_well = matches!(report.state, SlaveState::SetupComplete | SlaveState::Idle)
            && report.reason.is_none();
        // One that is under way must not come after this one, told again.
        if !is_well || self.by_build.contains_key(&build) {
            return Some(report);
        }
        match self.expected.remove(&build) {
            Some(expected) => expected.send(report).err(),
            None => Some(report),
        }
    }
}

impl Reports {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    /// Has something told.
    pub(crate) fn put(&self, build: BuildId, report: StateReportBody) {
        let mut waiting = self.lock();
        let Some(report) = waiting.answer(build, report) else {
            return;
        };
        waiting.last_number += 1;
        let number = waiting.last_number;
        waiting.by_build.insert(build, (number, report));
        drop(waiting);
        self.changed.notify_one();
    }

    /// The next report about a build goes with the answer to an order, if it comes in time.
    pub(crate) fn expect(self: &Arc<Self>, build: BuildId) -> Expected {
        let (expected, sender) = Expected::new(Arc::clone(self), build);
        let mut waiting = self.lock();
        waiting.expected.retain(|_, other| !other.is_closed());
        // The answer to an older order is not waited for any more.
        waiting.expected.insert(build, sender);
        expected
    }

    /// Drops all that is not told yet.
    pub(crate) fn forget(&self) {
        let mut waiting = self.lock();
        waiting.by_build.clear();
        waiting.expected.clear();
    }

    /// The report that waits longest, of builds of which none is under way.
    fn oldest(&self, under_way: &BTreeSet<BuildId>) -> Option<(BuildId, u64, StateReportBody)> {
        let waiting = self.lock();
        let (build, (number, report)) = waiting
            .by_build
            .iter()
            .filter(|(build, _)| !under_way.contains(build))
            .min_by_key(|(_, (number, _))| *number)?;
        Some((*build, *number, report.clone()))
    }

    fn told(&self, build: BuildId, number: u64) {
        let mut waiting = self.lock();
        if waiting
            .by_build
            .get(&build)
            .is_some_and(|(n, _)| *n == number)
        {
            waiting.by_build.remove(&build);
        }
    }

    /// Tells the master until `stop`; of each build one report after the other.
    pub(crate) async fn deliver(
        &self,
        api: &MasterApi,
        registration: &Registration,
        stop: &CancellationToken,
    ) {
        let failures = Mutex::default();
        let failures = &failures;
        let tell = |build, report| self.tell(api, registration, build, report, failures);
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.tell_all(tell, registration.connects()) => {}
        }
    }

    /// Tells all that comes. `tell` makes one try and says whether the report is done with; after a failure the next ones
    /// wait a little, but no longer than until the master has registered this slave again (`connects` changes).
    async fn tell_all<T: Future<Output = bool>>(
        &self,
        tell: impl Fn(BuildId, StateReportBody) -> T,
        mut connects: watch::Receiver<Option<SlaveId>>,
    ) {
        let mut under_way = BTreeSet::new();
        let mut calls = FuturesUnordered::new();
        let mut pacing = Pacing::default();
        loop {
            while pacing.may_begin()
                && calls.len() < AT_A_TIME
                && let Some((build, number, report)) = self.oldest(&under_way)
            {
                under_way.insert(build);
                let spell = pacing.spell();
                let told = tell(build, report);
                calls.push(async move { (build, number, spell, told.await) });
            }
            // Calls under way go on while the next ones wait.
            tokio::select! {
                // Wakes up once for all that came meanwhile; what can not be begun waits for an end.
                () = self.changed.notified() => {}
                () = pacing.pause_is_over() => pacing.goes_on(),
                Ok(()) = connects.changed() => pacing.is_well(),
                Some((build, number, spell, told)) = calls.next() => {
                    under_way.remove(&build);
                    if told {
                        self.told(build, number);
                        pacing.is_well();
                    } else {
                        pacing.failed(spell);
                    }
                }
            }
        }
    }

    /// Makes one try; says whether the report is done with.
    async fn tell(
        &self,
        api: &MasterApi,
        registration: &Registration,
        build: BuildId,
        report: StateReportBody,
        failures: &Mutex<Failures>,
    ) -> bool {
        let id = registration.some_id().await;
        let state = report.state;
        let told = api.report(id, report).await;
        let mut failures = lock(failures);
        let Err(error) = told else {
            failures.are_over();
            return true;
        };
        // A wrong clock may come right.
        let may_succeed = error.status().is_none_or(|s| s == StatusCode::UNAUTHORIZED);
        if is_of_registration(&error) {
            // It was started again, and hears first what we have; or it does not know our key.
            registration.doubt();
            return false;
        }
        if may_succeed || error.is_passing() {
            if failures.is_new(&error) {
                tracing::warn!(build.id = %build, slave.id = %id, ?state, %error, "a report did not reach the master; retrying");
            }
            return false;
        }
        tracing::warn!(build.id = %build, slave.id = %id, ?state, %error, "the master refused a report");
        // If it forgot us, connecting again sets things right.
        registration.doubt();
        true
    }
}

/// An answer to an order, which can carry the next report about its build. A report that comes too late is told
/// as any other.
#[derive(Debug)]
pub(crate) struct Expected {
    reports: Arc<Reports>,
    build: BuildId,
    report: oneshot::Receiver<StateReportBody>,
}

impl Expected {
    fn new(reports: Arc<Reports>, build: BuildId) -> (Self, oneshot::Sender<StateReportBody>) {
        let (sender, report) = oneshot::channel();
        let expected = Self {
            reports,
            build,
            report,
        };
        (expected, sender)
    }

    /// The report, if it comes soon. The caller tells it; should the master not hear it,
    /// it orders the same again, and is told again.
    pub(crate) async fn within(mut self, limit: Duration) -> Option<SlaveState> {
        let report = tokio::time::timeout(limit, &mut self.report).await;
        Some(report.ok()?.ok()?.state)
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.report.close();
        // It came in the moment in which the answer did not wait for it any more.
        if let Ok(report) = self.report.try_recv() {
            self.reports.put(self.build, report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_build_has_one_report_under_way_and_keeps_no_other_waiting() {
        let reports = Reports::default();
        let report = |state| StateReportBody {
            state,
            build_id: None,
            session_id: None,
            reason: None,
        };
        reports.put(BuildId(1), report(SlaveState::SetupComplete));
        reports.put(BuildId(2), report(SlaveState::SetupComplete));
        let oldest = |under_way: &[u64]| {
            let under_way = under_way.iter().copied().map(BuildId).collect();
            let (build, number, report) = reports.oldest(&under_way)?;
            Some((build.0, number, report.state))
        };
        assert_eq!(oldest(&[]), Some((1, 1, SlaveState::SetupComplete)));
        assert_eq!(oldest(&[1]), Some((2, 2, SlaveState::SetupComplete)));
        assert_eq!(oldest(&[1, 2]), None);
        // What is newer is told after it, not lost with it.
        reports.put(BuildId(1), report(SlaveState::Idle));
        reports.told(BuildId(1), 1);
        assert_eq!(oldest(&[2]), Some((1, 3, SlaveState::Idle)));
        reports.told(BuildId(1), 3);
        reports.told(BuildId(2), 2);
        assert_eq!(oldest(&[]), None);
    }

    fn of(state: SlaveState, reason: Option<&str>) -> StateReportBody {
        StateReportBody {
            state,
            build_id: None,
            session_id: None,
            reason: reason.map(str::to_owned),
        }
    }

    fn waiting(reports: &Reports) -> Option<SlaveState> {
        let (_, number, report) = reports.oldest(&BTreeSet::new())?;
        reports.told(BuildId(1), number);
        Some(report.state)
    }

    /// All that was under way when the master died fails together. It is told soon after the master is there again, not
    /// after a pause for each.
    #[tokio::test]
    async fn many_calls_that_fail_together_are_one_failure() {
        let reports = Reports::default();
        for build in 1..=AT_A_TIME as u64 {
            reports.put(BuildId(build), of(SlaveState::SetupComplete, None));
        }
        let (_registered, connects) = watch::channel(None);
        let (tries, all_told) = (Cell::new(0), Notify::new());
        let tell = |_, _| {
            tries.set(tries.get() + 1);
            if tries.get() == 2 * AT_A_TIME {
                all_told.notify_one();
            }
            std::future::ready(tries.get() > AT_A_TIME)
        };
        let told = async {
            tokio::select! {
                () = reports.tell_all(tell, connects) => {}
                () = all_told.notified() => {}
            }
        };
        // With a pause for each it is a minute.
        tokio::time::timeout(Duration::from_secs(30), told)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_report_that_is_expected_goes_with_the_answer() {
        let reports = Arc::new(Reports::default());
        let expected = reports.expect(BuildId(1));
        reports.put(BuildId(1), of(SlaveState::Idle, None));
        assert_eq!(waiting(&reports), None);
        let told = expected.within(Duration::from_secs(60)).await;
        assert_eq!(told, Some(SlaveState::Idle));
        // One, and of that build.
        reports.put(BuildId(1), of(SlaveState::SetupComplete, None));
        assert_eq!(waiting(&reports), Some(SlaveState::SetupComplete));
        let expected = reports.expect(BuildId(2));
        reports.put(BuildId(1), of(SlaveState::Idle, None));
        assert_eq!(waiting(&reports), Some(SlaveState::Idle));
        drop(expected);
    }

    #[tokio::test]
    async fn what_nobody_answers_with_is_told_all_the_same() {
        let reports = Arc::new(Reports::default());
        let expected = reports.expect(BuildId(1));
        assert_eq!(expected.within(Duration::ZERO).await, None);
        reports.put(BuildId(1), of(SlaveState::SetupComplete, None));
        assert_eq!(waiting(&reports), Some(SlaveState::SetupComplete));
        let expected = reports.expect(BuildId(1));
        reports.put(BuildId(1), of(SlaveState::SetupComplete, None));
        assert_eq!(waiting(&reports), None);
        drop(expected);
        assert_eq!(waiting(&reports), Some(SlaveState::SetupComplete));
    }

    #[tokio::test]
    async fn trouble_and_what_follows_an_untold_report_is_told_until_it_is_heard() {
        let reports = Arc::new(Reports::default());
        for trouble in [
            of(SlaveState::SetupFailed, Some("no")),
            of(SlaveState::Idle, Some("teardown_build failed")),
        ] {
            let expected = reports.expect(BuildId(1));
            let state = trouble.state;
            reports.put(BuildId(1), trouble);
            assert_eq!(waiting(&reports), Some(state));
            assert_eq!(expected.within(Duration::ZERO).await, None);
        }
        reports.put(BuildId(1), of(SlaveState::SetupComplete, None));
        let expected = reports.expect(BuildId(1));
        reports.put(BuildId(1), of(SlaveState::Idle, None));
        assert_eq!(expected.within(Duration::ZERO).await, None);
        assert_eq!(waiting(&reports), Some(SlaveState::Idle));
        // What a new master forgets, nobody says.
        let expected = reports.expect(BuildId(1));
        reports.forget();
        assert_eq!(expected.within(Duration::from_secs(60)).await, None);
    }
}
