//! Waiting for the network without waiting for ever.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::super::GitOptions;

/// What a transport could not do: one line for users, without control characters (libgit2 takes C strings).
#[derive(Debug)]
pub(super) struct Failure(String);

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text: String = text.into();
        Self(text.replace(char::is_control, " "))
    }

    /// For the reading and writing that libgit2 does. Noted, since libgit2 does not always hand the text on.
    pub(super) fn into_io(self) -> io::Error {
        super::note_failure(&self);
        io::Error::other(self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Runs one wait at a time on the calling thread, ended by the caller's token or by a time limit.
#[derive(Clone)]
pub(super) struct Wire {
    runtime: Arc<OwnedRuntime>,
    cancel: CancellationToken,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Duration,
}

/// A runtime that is not waited for when it goes: a name lookup may hang for long after the caller gave up.
struct OwnedRuntime(Option<Runtime>);

impl Drop for OwnedRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Wire {
    pub(super) fn new(options: &GitOptions, cancel: CancellationToken) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                Failure::new(format!("no network runtime could be started: {error}"))
            })?;
        Ok(Self {
            runtime: Arc::new(OwnedRuntime(Some(runtime))),
            cancel,
            connect_timeout: options.connect_timeout,
            idle_timeout: options.idle_timeout,
        })
    }

    /// Waits for `future`, at most for `limit`; `late` says what did not happen in time.
    pub(super) fn wait<T>(
        &self,
        limit: Duration,
        late: &str,
        future: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Some(runtime) = &self.runtime.0 else {
            return Err(Failure::new("the connection is closed"));
        };
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => Err(Failure::new("canceled")),
                outcome = tokio::time::timeout(limit, future) => outcome.unwrap_or_else(|_| {
                    Err(Failure::new(format!("{late} within {}", seconds(limit))))
                }),
            }
        })
    }

    /// Like [`wait`](Self::wait), but not ended by the caller's token: for cleaning up after a cancellation.
    pub(super) fn wait_even_if_canceled<T>(
        &self,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let runtime = self.runtime.0.as_ref()?;
        runtime.block_on(async { tokio::time::timeout(limit, future).await.ok() })
    }

    /// Makes what is called inside (starting processes, tasks) belong to this runtime.
    pub(super) fn enter<T>(&self, inside: impl FnOnce() -> T) -> T {
        match &self.runtime.0 {
            Some(runtime) => {
                let _entered = runtime.enter();
                inside()
            }
            None => inside(),
        }
    }
}

fn seconds(limit: Duration) -> String {
    if limit.subsec_millis() == 0 {
        format!("{} s", limit.as_secs())
    } else {
        format!("{:.1} s", limit.as_secs_f64())
    }
}
