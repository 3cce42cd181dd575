//! Which calls are made again, and when.

use clusterrunner_common::caller::CallError;
use reqwest::StatusCode;
use std::time::Duration;

pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a slave may leave a call unanswered. Its signs of life say only that it reaches the
/// master; where the master does not reach it, builds must not wait for it for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the same call may succeed later. A signature can be too old for a moment only, when
/// clocks or restarts are in play.
pub(super) fn may_pass(error: &CallError) -> bool {
    error.is_passing()
        || error.status() == Some(StatusCode::UNAUTHORIZED)
        || matches!(error, CallError::Insecure { .. })
}
