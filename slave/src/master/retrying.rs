//! Calls that are made again: how long to wait, and which failure is worth a line in the log.

use clusterrunner_common::caller::CallError;
use reqwest::StatusCode;
use std::time::Duration;

/// First pause after a failed call that is made again until it succeeds.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Growing pauses between tries.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    /// Pauses of 0.2 s, doubling up to 5 s.
    pub(crate) fn quick() -> Self {
        Self(FIRST_PAUSE)
    }

    /// Pauses of 1 s, doubling up to 5 s.
    pub(crate) fn slow() -> Self {
        Self(Duration::from_secs(1))
    }

    /// Waits for the next try.
    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }

    /// How long the next pause is, for who waits otherwise.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// Tells a new kind of failure from the same one again: each is worth a line in the log once, not
/// at every try.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    last: Option<Kind>,
}

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A call failed, with this status if there was an answer.
    Call(Option<StatusCode>),
    /// Another master answers.
    OtherMaster,
}

impl Failures {
    /// Whether this failure is of another kind than the last one.
    pub(crate) fn is_new(&mut self, error: &CallError) -> bool {
        self.is_of_new_kind(Kind::Call(error.status()))
    }

    /// The same where another master answers.
    pub(crate) fn is_other_master(&mut self) -> bool {
        self.is_of_new_kind(Kind::OtherMaster)
    }

    fn is_of_new_kind(&mut self, kind: Kind) -> bool {
        self.last.replace(kind) != Some(kind)
    }

    /// All is well; says whether it was not.
    pub(crate) fn are_over(&mut self) -> bool {
        self.last.take().is_some()
    }
}
