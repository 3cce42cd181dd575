//! How it goes with those who are told of builds, for those who operate the farm: what they were told, what fails, what
//! waits. Counted from the start of the master on; nothing secret, since whoever may read builds may read it.

use super::metrics::NoticeOutcome;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::BuildId;
use clusterrunner_common::work::BuildEvent;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The receivers of a master. Clones share them.
#[derive(Clone)]
pub(crate) struct Receivers(Arc<Look>);

type Look = dyn Fn() -> Vec<Standing> + Send + Sync;

impl fmt::Debug for Receivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receivers").finish_non_exhaustive()
    }
}

impl Default for Receivers {
    /// Nobody.
    fn default() -> Self {
        Self::new(Vec::new)
    }
}

impl Receivers {
    /// Those of which `look` says how it goes with them.
    pub(crate) fn new(look: impl Fn() -> Vec<Standing> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    /// All of them, in the order of the settings.
    #[must_use]
    pub(crate) fn standing(&self) -> Vec<Standing> {
        (self.0)()
    }
}

/// How it goes with a receiver.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// The name of its section.
    pub name: String,
    /// What it is: `webhook`, `github`, `gitlab`, `gitea`, or `command`.
    pub kind: &'static str,
    /// What it is told.
    pub events: Vec<BuildEvent>,
    /// Of which projects: patterns, none for all.
    pub projects: Vec<String>,
    /// How many notices wait.
    pub waiting: usize,
    /// In how long the next one is tried, where some wait.
    pub next_try: Option<Duration>,
    /// What came of others.
    pub record: Record,
}

/// What came of notices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    outcomes: [u64; NoticeOutcome::ALL.len()],
    /// The last notice that the receiver took.
    pub last_sent: Option<Sent>,
    /// The last attempt that failed.
    pub last_failure: Option<FailedAttempt>,
}

/// A notice that a receiver took, or was to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Of which build.
    pub build: BuildId,
    /// What the build had come to.
    pub event: BuildEvent,
    /// When it was sent.
    pub at: Timestamp,
}

/// An attempt that failed.
#[derive(Clone, Debug)]
pub(crate) struct FailedAttempt {
    /// What was to be told, and when that failed.
    pub sent: Sent,
    /// Which attempt it was, from 1.
    pub attempt: u32,
    /// Why it failed, without the receiver's words.
    pub what: String,
}

impl Record {
    /// How often something came of a notice, or of an attempt.
    #[must_use]
    pub(crate) fn number(&self, outcome: NoticeOutcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Counts what came of notices.
    pub(crate) fn count(&mut self, outcome: NoticeOutcome, number: u64) {
        self.outcomes[outcome as usize] += number;
    }
}
