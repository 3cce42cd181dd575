//! Keeps mirrors of repositories within their bounds. All else that builds leave goes with them.

use super::sources::Sources;
use crate::data_directory::DataDirectory;
use clusterrunner_common::disk::retention::ProjectBounds;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often mirrors are looked at; measuring them reads all their directories.
const LOOK: Duration = Duration::from_secs(600);

/// Works until `stop`.
pub(crate) async fn keep(
    sources: &Arc<Sources>,
    data: &Arc<DataDirectory>,
    bounds: ProjectBounds,
    stop: &CancellationToken,
) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        let (sources, data) = (Arc::clone(sources), Arc::clone(data));
        let looked = spawn_blocking(move || sources.mirrors.remove_surplus(&data, &bounds));
        let looked = looked
            .await
            .map_err(io::Error::other)
            .and_then(|looked| looked);
        if let Err(error) = looked {
            tracing::warn!(%error, "could not check the mirrors of repositories");
        }
    }
}
