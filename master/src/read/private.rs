//! Whether the farm has private projects: where it has none, nobody need look who may read what.

use clusterrunner_core::Cluster;
use clusterrunner_core::event::{Event, Fact};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Told of facts after the flush, as all that reads. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct PrivateProjects(Arc<AtomicBool>);

impl PrivateProjects {
    /// Takes facts in, and what the cluster has become.
    pub(crate) fn take_in(&self, cluster: &Cluster, events: &[Event]) {
        // A master that starts may have had some before.
        let may_differ = |event: &Event| matches!(event.fact, Fact::Project(..) | Fact::Farm(_));
        if events.iter().any(may_differ) {
            let exist = cluster.projects().any(|project| !project.is_public());
            self.0.store(exist, Ordering::Release);
        }
    }

    /// Whether there are any.
    #[must_use]
    pub(crate) fn exist(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
