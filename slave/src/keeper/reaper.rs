//! Waits for all children of this process: those that it started, and those that lost their parents.

use clusterrunner_common::lock::lock;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use std::collections::BTreeMap;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinError;

/// How a process ended; none while it runs.
type Statuses = BTreeMap<i32, Option<WaitStatus>>;

/// Knows how processes ended that were started through it. Clones know the same.
#[derive(Clone, Debug)]
pub(super) struct Reaper {
    statuses: Arc<Mutex<Statuses>>,
    /// Counts how often something ended.
    ended: Arc<watch::Sender<u64>>,
    /// Somebody else waits for children of its own.
    is_aside: Arc<AtomicBool>,
}

impl Reaper {
    /// Begins to wait. To be called where there is a runtime, before anything is started.
    pub(super) fn start() -> io::Result<Self> {
        let reaper = Self {
            statuses: Arc::default(),
            ended: Arc::default(),
            is_aside: Arc::default(),
        };
        let mut children = signal(SignalKind::child())?;
        let waiting = reaper.clone();
        tokio::spawn(async move {
            while children.recv().await.is_some() {
                waiting.reap();
            }
        });
        Ok(reaper)
    }

    /// Does something that starts processes and waits for them itself. Blocks another thread.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        self.is_aside.store(true, Ordering::SeqCst);
        let done = tokio::task::spawn_blocking(work).await;
        self.is_aside.store(false, Ordering::SeqCst);
        self.reap();
        done
    }

    fn reap(&self) {
        if self.is_aside.load(Ordering::SeqCst) {
            return;
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            // Others are not asked for.
            if let Some(known) = lock(&self.statuses).get_mut(&pid.as_raw_nonzero().get()) {
                *known = Some(status);
            }
        }
        self.ended.send_modify(|count| *count += 1);
    }

    /// Starts a process that can be waited for.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Pid> {
        // Nothing is waited for until its id is known.
        let mut statuses = lock(&self.statuses);
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        statuses.insert(pid.as_raw_nonzero().get(), None);
        Ok(pid)
    }

    /// Waits for the end of a process that was started here. To be asked once.
    pub(super) async fn wait(&self, pid: Pid) -> WaitStatus {
        let id = pid.as_raw_nonzero().get();
        let mut ended = self.ended.subscribe();
        loop {
            {
                let mut statuses = lock(&self.statuses);
                if let Some(Some(status)) = statuses.get(&id).copied() {
                    statuses.remove(&id);
                    return status;
                }
            }
            if ended.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until any process has ended.
    pub(super) async fn any_end(&self) {
        self.ended.subscribe().changed().await.ok();
    }
}
