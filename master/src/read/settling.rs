//! Waiting until what was asked for has come about: containers of the newest release are up, or have settled into another
//! state.

use crate::coordinator::{ClusterHandle, Gone};
use crate::read::awaiting;
use crate::read::feed::Feed;
use clusterrunner_common::ids::ProjectId;
use clusterrunner_core::Cluster;
use clusterrunner_core::apps::app::App;
use clusterrunner_core::event::Fact;
use clusterrunner_core::instances::instance::{Instance, InstanceState, Purpose};
use clusterrunner_core::instances::placing::Wait;
use std::collections::BTreeSet;
use std::time::Duration;

/// Waits until an app has settled, for so long at most. What has not settled by then is seen in the list of containers.
///
/// # Errors
/// The master is going down.
pub(crate) async fn settled(
    (cluster, feed): (&ClusterHandle, &Feed),
    patience: Duration,
    project: ProjectId,
) -> Result<(), Gone> {
    let look = move |cluster: &Cluster| {
        let is_settled = cluster
            .app(project)
            .is_none_or(|app| is_settled(cluster, app));
        is_settled.then_some(())
    };
    let settled = awaiting::seen(cluster, feed, counts, look);
    let in_time = tokio::time::timeout(patience, settled).await;
    in_time.unwrap_or(Ok(()))
}

/// Whether a fact may bring about that an app settles.
fn counts(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::Instance(..) | Fact::App(..) | Fact::Slave(..) | Fact::Template(..)
    )
}

/// Whether nothing more is to be waited for.
fn is_settled(cluster: &Cluster, app: &App) -> bool {
    let newest = app.newest().version;
    let all = || cluster.app_instances(app.project);
    let is_newest = |instance: &&Instance| instance.purpose.release() == Some(newest);
    // Of these the older ones stay: what is to replace them does not come up.
    let failed = all()
        .filter(is_newest)
        .filter(|new| new.state != InstanceState::Up);
    let failed: BTreeSet<(&str, u32)> = failed.filter_map(place).collect();
    all().all(|instance| match is_newest(&instance) {
        true => has_settled(cluster, instance),
        false => !instance.retired && place(instance).is_some_and(|at| failed.contains(&at)),
    })
}

/// The process type and the number.
fn place(instance: &Instance) -> Option<(&str, u32)> {
    match &instance.purpose {
        Purpose::App { process, num, .. } => Some((process, *num)),
        Purpose::Launch | Purpose::Run { .. } => None,
    }
}

fn has_settled(cluster: &Cluster, instance: &Instance) -> bool {
    match instance.state {
        // Once no slave is there that it could wait for, nothing is to be waited for here.
        InstanceState::Initialized => match cluster.waits_for(instance) {
            Some(Wait::NoSlot) => false,
            Some(Wait::NoSlave | Wait::NoneCallable | Wait::NoTags | Wait::NoContainerRuntime) => {
                true
            }
            None => false,
        },
        InstanceState::Created => false,
        InstanceState::Up => !instance.retired,
        InstanceState::Crashed
        | InstanceState::Down
        | InstanceState::Error
        | InstanceState::Destroyed => true,
    }
}
