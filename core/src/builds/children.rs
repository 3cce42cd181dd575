//! The builds that a matrix was split into, as their parent knows them.

use clusterrunner_common::ids::BuildId;
use clusterrunner_common::job::matrix::Combination;
use serde::{Deserialize, Serialize};

/// A build that a matrix was split into, as its parent knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Its id.
    pub id: BuildId,
    /// Its variables.
    pub combination: Combination,
    /// How far it is.
    pub state: ChildState,
    /// What it counts.
    pub counts: Counts,
}

/// How far a child is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildState {
    /// Nothing of it runs yet.
    #[default]
    Waiting,
    /// Its atoms run, or its archive is made.
    Building,
    /// It has run, and the counts say how it went.
    Finished {
        /// It had no atoms, which its job does not allow.
        lacks_atoms: bool,
    },
    /// It could not be run.
    Error {
        /// Why, or the beginning of that.
        reason: String,
    },
    /// It was canceled.
    Canceled,
}

/// What a build counts; its fields of these names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Its subjobs.
    pub num_subjobs: u64,
    /// Those that have a result.
    pub num_finished: u64,
    /// Its atoms.
    pub num_atoms: u64,
    /// Those that have a result.
    pub atoms_completed: u64,
    /// Those that failed.
    pub atoms_failed: u64,
    /// Those of them that did not end by themselves.
    pub atoms_in_trouble: u64,
    /// Those that passed only when they were run again.
    pub atoms_flaky: u64,
}
