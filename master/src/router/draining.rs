//! Ends instances that are retired, when they have answered all that they were asked before.

use super::Routes;
use crate::coordinator::ClusterHandle;
use clusterrunner_core::actor::Actor;
use clusterrunner_core::command::Command;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often it is looked for such instances.
const EVERY: Duration = Duration::from_millis(100);

/// Does so until `stop`.
pub(crate) async fn drain(cluster: ClusterHandle, routes: Routes, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for instance in routes.drained() {
            let by = Actor::Master;
            let command = Command::StopInstance { by, instance };
            // It may have ended meanwhile. Where it has not, the next look finds it again.
            if cluster.note(command).await.is_err() {
                return;
            }
        }
    }
}
