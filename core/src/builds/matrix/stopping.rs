//! What is left of a matrix when so many atoms of all its builds have failed that the rest is not run.
//!
//! A build of which atoms have failed ends as one without a matrix would: with the results that it has. One that has no
//! failure is canceled, however much of it has passed, since one that ended without all its results must not look as if
//! it had passed.

use crate::Cluster;
use crate::builds::build::{Build, BuildState};
use crate::event::{BuildFact, Fact};
use clusterrunner_common::ids::BuildId;
use std::collections::BTreeSet;

impl Cluster {
    /// The next child that ends since its parent has failed enough.
    pub(crate) fn next_stop_in_matrix(&self) -> Option<Fact> {
        let parents = self.failed_enough.iter();
        let parents = parents.filter_map(|id| self.builds.get(id));
        let open = parents.flat_map(|parent| {
            let open = parent.children.iter();
            open.filter(|child| !child.state.is_over())
        });
        let mut open = open.filter_map(|child| self.builds.get(&child.id));
        open.find_map(|child| Some(Fact::Build(child.id, stop(child)?)))
    }

    pub(crate) fn derived_failed_enough(&self) -> BTreeSet<BuildId> {
        let builds = self.builds.values().filter(|build| is_to_stop(build));
        builds.map(|build| build.id).collect()
    }
}

/// Whether what is left of a parent's matrix is not run.
pub(super) fn is_to_stop(parent: &Build) -> bool {
    parent.state == BuildState::Split && parent.has_failed_enough()
}

/// How a child ends early; nothing if it is at its end anyway.
fn stop(child: &Build) -> Option<BuildFact> {
    let is_done = child.num_unstarted() == 0 && child.num_running() == 0 && child.num_kept() == 0;
    match child.state {
        BuildState::Queued | BuildState::Preparing => Some(BuildFact::Canceled),
        BuildState::Prepared | BuildState::Building(_) if is_done => None,
        BuildState::Building(_) if child.atoms_failed > 0 => Some(BuildFact::ArchivingStarted),
        BuildState::Prepared | BuildState::Building(_) => Some(BuildFact::Canceled),
        BuildState::Split
        | BuildState::Archiving
        | BuildState::Finished
        | BuildState::Error { .. }
        | BuildState::Canceled => None,
    }
}
