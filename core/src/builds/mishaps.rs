//! The mishaps of a subjob: lost slaves, unusable and doubted results. Few subjobs have any, so memory keeps mishaps
//! apart from their subjob; the journal stores them among the subjob's fields (`subjob/stored`).
//!
//! **A subjob is blamed** when a slave dies while it holds the subjob, unless the slave announced its end or the
//! master restarted meanwhile.
//! After the second such death it is *suspect*: it runs alone on a slave that is reserved for it. If that slave dies
//! too, it is *poison*: its atoms fail, and the build goes on.

use crate::builds::few::Few;
use crate::builds::outcome::AtomOutcome;
use clusterrunner_common::clock::Timestamp;
use clusterrunner_common::ids::{AtomId, Attempt, ExecutorIndex, SlaveId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A subjob runs alone once so many slaves were lost with it.
pub const ISOLATE_AFTER: u32 = 2;

/// A subjob is not run again once so many slaves were lost with it; the last ran nothing else.
pub const POISON_AFTER: u32 = 3;

/// What went wrong with a subjob so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mishaps {
    /// Why its last hand-out brought no result.
    pub last_return: Option<String>,
    /// Why its last slave was lost, once that made it poison.
    pub last_loss: Option<String>,
    /// How many slaves died while they held it, running or prefetched.
    pub slaves_lost: u32,
    /// How many of its hand-outs brought no result although the slave stayed alive.
    pub wasted: u32,
    /// Slaves that sent a result of it that could not be used.
    pub unusable_from: BTreeSet<SlaveId>,
    /// Whose failed result of it is doubted.
    pub doubted_from: Option<SlaveId>,
    /// Its failed results after which it was run again, the oldest first.
    pub failed: Vec<FailedAttempt>,
    /// Whether the master restarted after the latest hand-out: a slave that is lost now may have died before it
    /// started the subjob.
    pub outlived_master: bool,
}

/// A result of a subjob that failed and does not count, since the subjob was run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// The hand-out, under which lies what it left.
    pub attempt: Attempt,
    /// The slave that ran the subjob.
    pub slave: SlaveId,
    /// The executor of the slave, where the slave has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<ExecutorIndex>,
    /// One outcome for each atom.
    pub outcomes: Few<AtomOutcome>,
}

/// An atom that ran when its build ended early, as its slave had last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutRun {
    /// The atom.
    pub atom: AtomId,
    /// The executor of the slave that ran it.
    pub executor: ExecutorIndex,
    /// When it started.
    pub started_at: Timestamp,
}

pub(super) static NONE: Mishaps = Mishaps {
    last_return: None,
    last_loss: None,
    slaves_lost: 0,
    wasted: 0,
    unusable_from: BTreeSet::new(),
    doubted_from: None,
    failed: Vec::new(),
    outlived_master: false,
};
