//! Where a build stands, and when it came there.

use crate::builds::progress::Progress;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{BuildId, ProjectId};
use serde::{Deserialize, Serialize};

/// Where a build stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    /// It waits for its turn to be prepared.
    Queued,
    /// A preparer fetches its project and finds its atoms.
    Preparing,
    /// Its subjobs wait for a first slave.
    Prepared,
    /// Slaves were chosen and run its subjobs.
    Building(Progress),
    /// It is the parent of builds of a matrix, which are not all over.
    Split,
    /// All results are in, or so many atoms failed that the rest is not run; the archives are made.
    Archiving,
    /// The archives are there.
    Finished,
    /// It could not be run.
    Error {
        /// Why, for the user.
        reason: String,
    },
    /// A user canceled it.
    Canceled,
}

/// The key under which at most one preparation runs at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Preparation {
    /// A project that preparing changes.
    Project(ProjectId),
    /// The build alone: others of its project may be prepared at the same time.
    Build(BuildId),
}

/// How often a build was prepared, and what became of the master meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preparations {
    /// How often it was begun.
    pub attempts: u32,
    /// How often the master died meanwhile.
    pub deaths: u32,
    /// The master stopped the latest in order.
    pub is_stopped: bool,
}

/// When a build entered which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamps {
    /// It was accepted.
    pub queued: Option<Timestamp>,
    /// Its preparation began.
    pub preparing: Option<Timestamp>,
    /// Its subjobs were known.
    pub prepared: Option<Timestamp>,
    /// Its first slave was chosen.
    pub building: Option<Timestamp>,
    /// Its archives were there.
    pub finished: Option<Timestamp>,
    /// It failed.
    pub error: Option<Timestamp>,
    /// It was canceled.
    pub canceled: Option<Timestamp>,
}
