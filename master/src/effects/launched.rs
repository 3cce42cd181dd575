//! Removes the files of templates and instances that are forgotten: snapshots, and what instances printed.

use crate::coordinator::ClusterHandle;
use crate::store::app_logs::AppLogs;
use crate::store::instance_logs::InstanceLogs;
use crate::store::templates::Snapshots;
use clusterrunner_common::ids::InstanceId;
use std::io;
use tokio::task::spawn_blocking;

/// What lies on the disk of templates and instances.
#[derive(Clone, Debug)]
pub(crate) struct Launched {
    /// The snapshots of templates.
    pub snapshots: Snapshots,
    /// What instances print.
    pub logs: InstanceLogs,
    /// What happens to apps and what their processes print.
    pub app_logs: AppLogs,
}

impl Launched {
    /// Removes a snapshot that no template consists of. A build may have left an equal one meanwhile: then it stays.
    pub(super) async fn remove_snapshot(&self, cluster: &ClusterHandle, digest: String) {
        let Some(going) = self.snapshots.begin_removal(&digest) else {
            return;
        };
        let wanted = digest.clone();
        let needed = cluster.read(move |cluster| cluster.snapshots().any(|kept| kept == wanted));
        match needed.await {
            Ok(false) => {}
            // Without an answer the master is going down: the next start removes it.
            Ok(true) | Err(_) => return self.snapshots.give_removal_up(&going),
        }
        let snapshots = self.snapshots.clone();
        let removed = spawn_blocking(move || snapshots.remove(going)).await;
        if let Err(error) = removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(digest, %error, "could not remove a snapshot; the next start does");
        }
    }

    /// Removes what an instance printed.
    pub(super) async fn remove_log(&self, instance: InstanceId) {
        let logs = self.logs.clone();
        let removed = spawn_blocking(move || logs.remove(instance)).await;
        if let Err(error) = removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(instance.id = instance.0, %error, "could not remove a log");
        }
    }
}
