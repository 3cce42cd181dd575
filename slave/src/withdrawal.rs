//! Ending without losing work: the master is asked for nothing new, and ends this slave when all
//! that it runs is delivered and cleared away.

use crate::coordinator::{WorkHandle, WorkView};
use crate::master::api::MasterApi;
use crate::master::registration::Registration;
use crate::master::retrying::Backoff;
use tokio_util::sync::CancellationToken;

/// Waits until it is asked to withdraw, does so, and cancels `stop` where there is no master that
/// could; returns with `stop`.
pub(crate) async fn when_asked(
    api: &MasterApi,
    work: &WorkHandle,
    registration: &Registration,
    asked: &CancellationToken,
    stop: &CancellationToken,
) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = withdraw(api, work, registration, asked, stop) => {}
    }
}

async fn withdraw(
    api: &MasterApi,
    work: &WorkHandle,
    registration: &Registration,
    asked: &CancellationToken,
    stop: &CancellationToken,
) {
    asked.cancelled().await;
    tracing::info!(
        "draining: the slave ends once its running atoms are finished; a second signal ends it at once"
    );
    let mut backoff = Backoff::quick();
    let mut is_known = false;
    loop {
        // Said again and again: a master that was started anew, or lost us meanwhile, must know.
        let told = match registration.id() {
            Some(id) => api.withdraw(id).await,
            None => return stop.cancel(),
        };
        match told {
            Ok(()) if !is_known => {
                is_known = true;
                tracing::info!("the master gives no new work to this slave");
            }
            Ok(()) => {}
            Err(error) if is_idle(&work.view()) => {
                tracing::info!(%error, "no contact with the master, and nothing left to do");
                return stop.cancel();
            }
            Err(error) => {
                tracing::debug!(%error, "the master does not know yet that this slave ends");
            }
        }
        backoff.pause().await;
    }
}

fn is_idle(work: &WorkView) -> bool {
    work.current_build.is_none()
}
