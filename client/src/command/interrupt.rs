//! Ctrl-C: the first asks, the second is obeyed at once.

use crate::output;
use crate::trouble::Trouble;
use clusterrunner_client::exit_code::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether the user wants an end. SIGTERM counts like Ctrl-C.
pub(crate) struct Interrupt(CancellationToken);

impl Interrupt {
    /// Takes the signals from now on.
    pub(crate) fn listen() -> Result<Self, Trouble> {
        let failed = |error| Trouble::new(format!("could not listen for Ctrl-C: {error}"));
        let mut interrupts = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminations = signal(SignalKind::terminate()).map_err(failed)?;
        let token = CancellationToken::new();
        let first = token.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                }
                if first.is_cancelled() {
                    output::complain("quit at once");
                    std::process::exit(ExitCode::Canceled.number().into());
                }
                first.cancel();
            }
        });
        Ok(Self(token))
    }

    /// Whether the user has said so.
    pub(crate) fn has_come(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns once the user wants an end.
    pub(crate) async fn wait(&self) {
        self.0.cancelled().await;
    }

    /// Does `work` unless the user wants an end first.
    pub(crate) async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.0.run_until_cancelled(work).await
    }
}
