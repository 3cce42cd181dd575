//! What a slave says of its instances.

use clusterrunner_common::ids::{Generation, InstanceId};
use clusterrunner_common::work::ReportedState;
use std::collections::BTreeSet;

/// All instances that a slave has, as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedInstances {
    /// How many it runs at a time.
    pub max_instances: u32,
    /// Whether it can run images.
    pub runs_images: bool,
    /// All that it has.
    pub instances: Vec<ReportedInstance>,
    /// The digests of the snapshots that it has whole.
    pub snapshots: BTreeSet<String>,
}

/// An instance, as its slave says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedInstance {
    /// The instance.
    pub id: InstanceId,
    /// The placement that the slave was ordered.
    pub generation: Generation,
    /// Where it stands there.
    pub state: ReportedState,
    /// How often its process was started again under this placement. The number never gets less.
    pub restarts: u32,
}
