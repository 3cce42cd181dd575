//! The executors: a thread for each, which runs one subjob after the other.

use crate::run::event_log::SubjobEvents;
use crate::run::subjob_executor::{Means, SubjobExecutor};
use crate::work::{BROKE_OFF, HandOut, RunOrder, RunOutcome};
use clusterrunner_common::ids::{BuildId, ExecutorIndex};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// One OS thread for each executor, started once. When this is dropped what they run is killed, and
/// they end.
#[derive(Debug)]
pub(crate) struct Executors {
    /// Not bounded: the work hands an executor one subjob at a time.
    mailboxes: Vec<mpsc::Sender<Mail>>,
    threads: Vec<thread::JoinHandle<()>>,
    closing: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Mail {
    Run(Box<Assignment>),
    /// Nothing of this build runs any more.
    Over(BuildId),
}

#[derive(Debug)]
struct Assignment {
    order: RunOrder,
    stop: CancellationToken,
    events: SubjobEvents,
}

impl Executors {
    /// Starts `number` executors. `ended` is told each end and how long that took, on the executor's own
    /// thread; if it gives the same executor more to run, the thread goes on at once.
    ///
    /// # Errors
    /// When a thread can not be started.
    pub(crate) fn start(
        number: u32,
        means: &Means,
        ended: impl Fn(HandOut, RunOutcome, Duration) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let ended = Arc::new(ended);
        let mut executors = Self {
            mailboxes: Vec::new(),
            threads: Vec::new(),
            closing: Arc::default(),
        };
        for index in 0..number {
            let closing = Arc::clone(&executors.closing);
            let mut executor = SubjobExecutor::new(ExecutorIndex(index), means.clone(), closing);
            let ended = Arc::clone(&ended);
            let (mailbox, mails) = mpsc::channel();
            let thread = thread::Builder::new()
                .name(format!("executor-{index}"))
                .spawn(move || {
                    for mail in mails {
                        match mail {
                            Mail::Run(assignment) => carry_out(&mut executor, *assignment, &*ended),
                            Mail::Over(build) => executor.end_worker(build),
                        }
                    }
                })?;
            executors.mailboxes.push(mailbox);
            executors.threads.push(thread);
        }
        Ok(executors)
    }

    /// Has a subjob run until its end, or `stop`. Never blocks: the order goes into the mailbox of its
    /// executor's thread.
    #[expect(
        clippy::expect_used,
        reason = "the work hands out only to executors that there are, and their threads outlive every panic"
    )]
    pub(crate) fn run(&self, order: RunOrder, stop: CancellationToken, events: SubjobEvents) {
        let index = usize::try_from(order.executor.0).unwrap_or(usize::MAX);
        let mailbox = self.mailboxes.get(index);
        let mailbox = mailbox.expect("the work hands out only to executors that there are");
        let assignment = Assignment {
            order,
            stop,
            events,
        };
        mailbox
            .send(Mail::Run(Box::new(assignment)))
            .expect("a thread stays for as long as it has a mailbox");
    }

    /// Has all executors end what they keep ready for a build that is over.
    pub(crate) fn end_workers(&self, build: BuildId) {
        for mailbox in &self.mailboxes {
            // An executor that has ended has no workers.
            mailbox.send(Mail::Over(build)).ok();
        }
    }
}

impl Drop for Executors {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        self.mailboxes.clear();
        let own = thread::current().id();
        // One that is at its end itself can not be waited for.
        for thread in self
            .threads
            .drain(..)
            .filter(|one| one.thread().id() != own)
        {
            if thread.join().is_err() {
                tracing::error!("an executor failed");
            }
        }
    }
}

fn carry_out(
    executor: &mut SubjobExecutor,
    assignment: Assignment,
    ended: &impl Fn(HandOut, RunOutcome, Duration),
) {
    let Assignment {
        order,
        stop,
        events,
    } = assignment;
    let (hand_out, started) = (order.hand_out, Instant::now());
    let run = AssertUnwindSafe(|| executor.run(order, &stop, &events));
    let outcome = catch_unwind(run).unwrap_or_else(|_| {
        tracing::error!(%hand_out, "a part of the slave panicked while a subjob ran");
        let afresh = AssertUnwindSafe(|| executor.start_afresh(hand_out.build));
        // The thread goes on, whatever is left: no other can take its place.
        if catch_unwind(afresh).is_err() {
            tracing::error!(%hand_out, "a part of the slave panicked while it began afresh");
        }
        RunOutcome::Trouble(BROKE_OFF.to_owned())
    });
    let took = started.elapsed();
    if catch_unwind(AssertUnwindSafe(|| ended(hand_out, outcome, took))).is_err() {
        tracing::error!(%hand_out, "a part of the slave panicked at the end of a subjob");
    }
}

#[cfg(test)]
mod tests;
