//! Removes what the cluster has forgotten.

use crate::journal::{EndedBuilds, JournalError};
use crate::read::metrics::{Measured, Removed};
use crate::store::results::Results;
use clusterrunner_common::ids::BuildId;
use clusterrunner_core::command::Command;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// The pause after the disk refused to remove something.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// Removes what is left of forgotten builds, one build at a time. Clones share the turn.
#[derive(Clone, Debug)]
pub(crate) struct Remover {
    results: Results,
    ended: EndedBuilds,
    measured: Measured,
    turn: Arc<Semaphore>,
}

/// Something of a build can not be removed.
#[derive(Debug, thiserror::Error)]
enum RemovalError {
    #[error(transparent)]
    Results(#[from] io::Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl Remover {
    /// Removes results here, and builds there.
    #[must_use]
    pub(crate) fn new(results: Results, ended: EndedBuilds, measured: Measured) -> Self {
        Self {
            results,
            ended,
            measured,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Removes a build and says so; tries on while the disk refuses. `None` if it was told to stop:
    /// the next start asks again.
    pub(crate) async fn remove(self, build: BuildId, stop: CancellationToken) -> Option<Command> {
        while let Err(error) = self.try_to_remove(build).await {
            tracing::warn!(build.id = build.0, %error, "could not remove a build; retrying");
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(TRY_AGAIN) => {}
            }
        }
        self.measured.removed(Removed::Build);
        Some(Command::ReportCleared { build })
    }

    async fn try_to_remove(&self, build: BuildId) -> Result<(), RemovalError> {
        // The semaphore is never closed.
        let _turn = self.turn.acquire().await.ok();
        let (results, ended) = (self.results.clone(), self.ended.clone());
        spawn_blocking(move || {
            results.remove(build)?;
            Ok(ended.remove(build)?)
        })
        .await?
    }
}
