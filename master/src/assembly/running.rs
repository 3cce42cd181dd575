//! The tasks beside the server.

use super::ServeError;
use crate::coordinator::Coordinator;
use crate::effects::dispatcher::Dispatcher;
use crate::effects::retention::Keeper;
use crate::journal::JournalError;
use clusterrunner_core::effect::Effect;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The tasks beside the server.
pub(super) struct Running {
    coordinating: JoinHandle<Result<(), JournalError>>,
    dispatching: JoinHandle<()>,
    keeping: JoinHandle<()>,
    learning: JoinHandle<()>,
    /// Ends the coordinator.
    end: CancellationToken,
}

impl Running {
    /// Starts all. If the coordinator ends first, its journal has failed, and if the dispatcher breaks off nothing
    /// works any more: all must go then, which the guards see to also where a task panics.
    pub(super) fn start(
        coordinator: Coordinator,
        (dispatcher, effects): (Dispatcher, mpsc::UnboundedReceiver<Effect>),
        keeper: Keeper,
        learning: impl Future<Output = ()> + Send + 'static,
        stop: &CancellationToken,
    ) -> Self {
        let end = CancellationToken::new();
        let coordinating = tokio::spawn({
            let (end, with_all) = (end.clone(), stop.clone().drop_guard());
            async move {
                let _with_all = with_all;
                Box::pin(coordinator.run(end)).await
            }
        });
        let dispatching = tokio::spawn({
            let (stop, with_all) = (stop.clone(), stop.clone().drop_guard());
            async move {
                let _with_all = with_all;
                dispatcher.run(effects, stop).await;
            }
        });
        Self {
            coordinating,
            dispatching,
            keeping: tokio::spawn(keeper.run(stop.clone())),
            // It ends with the coordinator, which alone tells it something.
            learning: tokio::spawn(learning),
            end,
        }
    }

    /// Waits for the end of all. The coordinator goes last, so that the others can report to the end.
    pub(super) async fn end(self) -> Result<(), ServeError> {
        self.dispatching.await?;
        self.keeping.await?;
        self.end.cancel();
        self.coordinating.await??;
        self.learning.await?;
        Ok(())
    }
}
