//! Which moment of which master an order belongs to, so that a slave can tell a master whose journal was
//! repaired or restored from the one that it worked for.

use crate::ids::{Attempt, BuildId, Incarnation, SessionId, SlaveId};
use serde::{Deserialize, Serialize};

/// A moment of a master's journal. Each order to a slave carries one, and so does the answer to a slave
/// that connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterMark {
    /// The incarnation of the journal: orders of another one mean nothing under this one.
    pub incarnation: Incarnation,
    /// The life of the master's process.
    pub session_id: SessionId,
    /// How many events the journal had. It only grows, unless an older journal takes its place.
    pub position: u64,
    /// What only this master can make of all that: a slave that brings the mark back proves with it that there was such a
    /// moment. None of a master of before proofs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// The most that a slave has seen of one incarnation of a master. A journal of that incarnation which knows
/// less is older than what happened in the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The latest moment of it.
    pub last: MasterMark,
    /// The highest id of a build that it named.
    #[serde(default = "no_build")]
    pub build: BuildId,
    /// The highest number of a hand-out that it gave.
    #[serde(default = "no_attempt")]
    pub attempt: Attempt,
    /// The registration that it gave.
    #[serde(default = "no_slave")]
    pub slave: SlaveId,
}

fn no_build() -> BuildId {
    BuildId(0)
}

fn no_attempt() -> Attempt {
    Attempt(0)
}

fn no_slave() -> SlaveId {
    SlaveId(0)
}

impl Seen {
    /// What is seen of a master with the first word of it.
    #[must_use]
    pub fn first(last: MasterMark) -> Self {
        Self {
            last,
            build: no_build(),
            attempt: no_attempt(),
            slave: no_slave(),
        }
    }

    /// Takes in what was seen besides, of the same incarnation.
    pub fn add(&mut self, other: &Self) {
        if other.last.position > self.last.position {
            self.last = other.last.clone();
        }
        self.build = self.build.max(other.build);
        self.attempt = self.attempt.max(other.attempt);
        self.slave = self.slave.max(other.slave);
    }
}
