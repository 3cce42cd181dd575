//! The tasks that tell receivers, one for each: a slow receiver keeps up nobody else.

use super::command::CommandSurroundings;
use super::newest::Newest;
use super::queue::{Failure, Next, Notice};
use super::sender::Sender;
use super::target::Target;
use super::watcher::{self, Waiting};
use crate::journal::{JournalError, Notified};
use crate::read::builds::Builds;
use crate::read::metrics::{Measured, NoticeOutcome};
use crate::read::receivers::{FailedAttempt, Sent};
use clusterrunner_common::clock::{Timestamp, random_bytes};
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::lock::lock;
use clusterrunner_common::settings::{NotifyReceiver, OnFinish};
use clusterrunner_common::text::printable::plain;
use clusterrunner_common::work::BuildEvent;
use clusterrunner_core::builds::build::Build;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

/// How often a worker looks for what is too old.
const LOOK: Duration = Duration::from_secs(60);

/// After how many marks those of builds that are settled altogether are dropped.
const MARKS: usize = 256;

/// How many archived builds are looked at together at the start.
const LEFT_AT_ONCE: usize = 64;

/// The tasks of all receivers.
#[derive(Debug, Default)]
pub struct Workers(pub(super) JoinSet<()>);

impl Workers {
    /// Waits for the end of all, which comes after the stop of the master.
    pub async fn end(mut self) {
        while let Some(ended) = self.0.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task that sends notifications failed");
            }
        }
    }
}

/// Tells one receiver.
pub(super) struct Worker {
    pub(super) target: Arc<Target>,
    pub(super) waiting: Waiting,
    pub(super) builds: Builds,
    pub(super) notified: Notified,
    pub(super) measured: Measured,
    pub(super) means: Means,
    /// The beginning of the addresses of pages.
    pub(super) public_url: Arc<str>,
    pub(super) stop: CancellationToken,
    /// Of which build the status of a commit was set last.
    pub(super) newest: Newest,
    /// Archived builds that are not settled, and up to where they are; those that could not be read stay.
    pub(super) left: Vec<Left>,
}

/// An archived build of which not everything is settled, and up to where it is.
pub(super) type Left = (BuildId, Option<BuildEvent>);

/// What a receiver is told with.
pub(super) enum Means {
    Request(NotifyReceiver, Sender),
    Command(OnFinish, CommandSurroundings),
}

/// What came of an attempt.
pub(super) enum Outcome {
    /// The receiver has it.
    Told(String),
    /// There is nothing to tell.
    Nothing(&'static str),
    /// It does not; why, and what it said, which only the log has.
    Failed(Failure, String, String),
    /// The master is going down.
    Stopped,
}

impl Worker {
    pub(super) async fn run(mut self) {
        self.take_in_left().await;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut marks = 0;
        loop {
            // Also where there is always something to send.
            lock(&self.waiting.queue).expire(self.waiting.now());
            marks += self.note().await;
            if marks >= MARKS {
                marks = 0;
                self.tidy().await;
            }
            let next = lock(&self.waiting.queue).next(self.waiting.now());
            let wait = match next {
                Next::Tell(notice, attempt) => {
                    if self.stop.is_cancelled() {
                        return;
                    }
                    self.tell(&notice, attempt).await;
                    continue;
                }
                Next::Wait(wait) => Some(wait),
                Next::Idle => None,
            };
            let waited = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.waiting.news.notified() => {}
                () = waited => {}
                _ = look.tick() => {}
            }
        }
    }

    /// Takes in what an earlier life of the master has left of archived builds.
    async fn take_in_left(&mut self) {
        let left = std::mem::take(&mut self.left);
        for left in left.chunks(LEFT_AT_ONCE) {
            let ids = left.iter().map(|(id, _)| *id).collect();
            let read = self
                .builds
                .archived
                .builds(ids, |ended| ended.build.clone());
            match read.await {
                Ok(builds) => self.take_in_archived(&builds, left),
                // One that is damaged must not take others along.
                Err(_) => self.take_in_one_by_one(left).await,
            }
        }
        lock(&self.waiting.queue).expire(self.waiting.now());
    }

    async fn take_in_one_by_one(&mut self, left: &[Left]) {
        for (id, mark) in left {
            match self.builds.archived.build(*id).await {
                Ok(Some(ended)) => self.take_in_archived(&[ended.build], &[(*id, *mark)]),
                Ok(None) => {}
                Err(error) => {
                    self.left.push((*id, *mark));
                    let (receiver, build) = (&self.target.name, id.0);
                    tracing::warn!(%receiver, build.id = build, %error, "could not read a build to tell of");
                }
            }
        }
    }

    fn take_in_archived(&self, builds: &[Build], left: &[Left]) {
        for build in builds {
            let mark = left.iter().find(|(id, _)| *id == build.id);
            let mark = mark.and_then(|(_, mark)| *mark);
            watcher::push(&self.target, &self.waiting, build, mark, Timestamp::now());
        }
    }

    /// Brings marks to disk; how many.
    async fn note(&self) -> usize {
        let (settled, given_up, length) = {
            let mut queue = lock(&self.waiting.queue);
            (queue.take_settled(), queue.take_given_up(), queue.length())
        };
        let receiver = &self.target.name;
        self.measured.notices_wait(receiver, length);
        if given_up > 0 {
            self.count(NoticeOutcome::GivenUp, given_up);
            tracing::warn!(%receiver, number = given_up, "gave up notifications: they were too old, or too many waited");
        }
        let number = settled.len();
        if number > 0 {
            let (notified, receiver) = (self.notified.clone(), receiver.clone());
            let newest = self.newest.take_fresh();
            let fresh = newest.clone();
            let noted = spawn_blocking(move || {
                // First: what is settled is not sent again, and an older build must find it then.
                notified.set_newest(&receiver, &newest)?;
                notified.settle(&receiver, &settled)
            });
            let noted = noted.await;
            if !matches!(noted, Ok(Ok(()))) {
                self.newest.put_back(fresh);
            }
            self.stored(noted);
        }
        number
    }

    fn count(&self, outcome: NoticeOutcome, number: u64) {
        self.measured.notices(&self.target.name, outcome, number);
        lock(&self.waiting.record).count(outcome, number);
    }

    /// Drops marks that say nothing any more.
    async fn tidy(&self) {
        if !self.left.is_empty() {
            return;
        }
        let open = self.builds.cluster.read(|cluster| {
            let open = cluster.builds().filter(|build| !build.is_over());
            let latest = cluster.builds().map(|build| build.id).max();
            (open.map(|build| build.id).min(), latest)
        });
        // Without an answer the master is going down. What ended before the look is in the queue, or settled.
        let Ok((open, latest)) = open.await else {
            return;
        };
        let waits = lock(&self.waiting.queue).first_unsettled();
        let first = open.into_iter().chain(waits).min();
        let through = match (first, latest) {
            (Some(first), _) => BuildId(first.0.saturating_sub(1)),
            (None, Some(latest)) => latest,
            (None, None) => return,
        };
        let (notified, receiver) = (self.notified.clone(), self.target.name.clone());
        self.newest.forget_through(through);
        let settled = spawn_blocking(move || notified.settle_through(&receiver, through));
        self.stored(settled.await);
    }

    fn stored(&self, stored: Result<Result<(), JournalError>, tokio::task::JoinError>) {
        let receiver = &self.target.name;
        match stored {
            Ok(Ok(())) => {}
            // Told again after the next start: the id says so.
            Ok(Err(error)) => {
                tracing::warn!(%receiver, %error, "could not note which notifications were sent");
            }
            Err(error) => tracing::error!(%receiver, %error, "a task of notifications failed"),
        }
    }

    async fn tell(&self, notice: &Notice, attempt: u32) {
        let receiver = &self.target.name;
        let (build, event) = (notice.build.0, notice.event);
        match self.attempt(notice).await {
            Outcome::Told(what) => {
                lock(&self.waiting.queue).settle(notice);
                self.count(NoticeOutcome::Sent, 1);
                lock(&self.waiting.record).last_sent = Some(sent(notice));
                match attempt {
                    1 => tracing::debug!(%receiver, build.id = build, %event, "told: {what}"),
                    _ => {
                        tracing::info!(%receiver, build.id = build, %event, attempt, "told: {what}");
                    }
                }
            }
            Outcome::Nothing(why) => {
                lock(&self.waiting.queue).skip(notice);
                self.count(NoticeOutcome::Skipped, 1);
                tracing::debug!(%receiver, build.id = build, %event, "not told: {why}");
            }
            Outcome::Failed(failure, what, answer) => {
                self.failed((notice, attempt), failure, what, &answer);
            }
            Outcome::Stopped => {}
        }
    }

    fn failed(
        &self,
        (notice, attempt): (&Notice, u32),
        failure: Failure,
        what: String,
        answer: &str,
    ) {
        let receiver = &self.target.name;
        let (build, event) = (notice.build.0, notice.event);
        let [chance] = random_bytes::<1>();
        let chance = f64::from(chance) / f64::from(u8::MAX);
        let now = self.waiting.now();
        let is_given_up = lock(&self.waiting.queue).fail(notice, failure, now, chance);
        self.count(NoticeOutcome::Failed, 1);
        let said = match answer {
            "" => plain(&what).into_owned(),
            answer => plain(&format!("{what}: {answer}")).into_owned(),
        };
        if is_given_up {
            self.count(NoticeOutcome::Refused, 1);
            tracing::error!(%receiver, build.id = build, %event, attempt, "gave a notification up, since it is refused again and again: {said}");
        } else if attempt.is_power_of_two() {
            // Once, and then again and again but rarely.
            tracing::warn!(%receiver, build.id = build, %event, attempt, "could not notify, and tries again: {said}");
        } else {
            tracing::debug!(%receiver, build.id = build, %event, attempt, "could not notify: {said}");
        }
        lock(&self.waiting.record).last_failure = Some(FailedAttempt {
            sent: sent(notice),
            attempt,
            what,
        });
    }
}

/// That a notice is sent now.
fn sent(notice: &Notice) -> Sent {
    Sent {
        build: notice.build,
        event: notice.event,
        at: Timestamp::now(),
    }
}
