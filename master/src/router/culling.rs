//! What is done regularly: idle connections to programs are closed, and the core learns which instances were used, so
//! that it ends those that are idle.

use super::Routes;
use crate::coordinator::ClusterHandle;
use clusterrunner_core::command::Command;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// Does so until `stop`.
pub(crate) async fn cull(cluster: ClusterHandle, routes: Routes, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        routes.close_idle();
        let Some(active) = routes.active() else {
            continue;
        };
        let since = routes.noted_since();
        let command = Command::CullInstances { since, active };
        if cluster.note(command).await.is_err() {
            return;
        }
    }
}
