//! Waiting for a condition: the only way in which tests here let time pass.

use std::time::{Duration, Instant};

/// How long anything may take that has no limit of its own. Far more than needed: a busy machine must
/// not fail a test, and a test that succeeds never waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Looks again and again until `condition` gives something.
///
/// # Panics
/// When it has given nothing for [`PATIENCE`]; `what` says in the message what was waited for.
pub(crate) async fn wait_for<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    wait_for_at_most(PATIENCE, what, condition).await
}

/// [`wait_for`] with a limit that the test is about.
///
/// # Panics
/// When `condition` has given nothing in time.
pub(crate) async fn wait_for_at_most<T>(
    limit: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(
            started.elapsed() < limit,
            "waited {limit:?} in vain for this: {what}"
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// [`wait_for`], and tells how long it took: `docs/reliability.md` has these figures.
///
/// # Panics
/// As [`wait_for`].
pub(crate) async fn measure<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    let found = wait_for(what, condition).await;
    eprintln!("measured: {what}: {:.1?}", started.elapsed());
    found
}

/// [`wait_for`] where nothing else goes on, such as in the clean-up of a test.
pub(crate) fn is_true_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !condition() {
        if started.elapsed() > limit {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}
