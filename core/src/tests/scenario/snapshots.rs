//! Snapshots of a scenario: a cluster that is stored and restored is the same.

use crate::Cluster;
use crate::builds::build::Build;
use crate::builds::subjob::Subjob;
use std::sync::Arc;

/// How many events there are from one snapshot to the next.
pub(super) const SNAPSHOT_EVERY: usize = 37;

/// A cluster as a snapshot stores it.
pub(super) struct Stored {
    cluster: String,
    builds: Vec<(String, String)>,
}

impl Stored {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let text = |build: &Build| {
            let subjobs: Vec<&Subjob> = build.subjobs.iter().map(Arc::as_ref).collect();
            let subjobs = serde_json::to_string(&subjobs).unwrap();
            (serde_json::to_string(build).unwrap(), subjobs)
        };
        Self {
            cluster: serde_json::to_string(cluster).unwrap(),
            builds: cluster.builds().map(text).collect(),
        }
    }

    pub(super) fn restored(&self) -> Cluster {
        let cluster: Cluster = serde_json::from_str(&self.cluster).unwrap();
        let builds = self.builds.iter().map(|(build, subjobs)| {
            let mut build: Build = serde_json::from_str(build).unwrap();
            let subjobs: Vec<Subjob> = serde_json::from_str(subjobs).unwrap();
            build.subjobs = subjobs.into_iter().map(Arc::new).collect();
            build
        });
        cluster.restore(builds)
    }
}
