//! What happens to the master and its journal.

use clusterrunner_common::ids::{Attempt, BuildId, Incarnation, SessionId, SlaveId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What happens to the master and its journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FarmFact {
    /// A master process began its work on this data directory.
    MasterStarted {
        /// The life of the process.
        life: SessionId,
        /// How many events there were before.
        after: u64,
    },
    /// The journal is a new one, was repaired, or is older than what slaves or stored results have seen.
    /// What was handed out before is void.
    IncarnationBegun {
        /// The incarnation that begins.
        incarnation: Incarnation,
        /// The highest build id that anybody named: new ids are higher.
        build: BuildId,
        /// The highest attempt that anybody named: new attempts of unfinished builds are higher.
        attempt: Attempt,
        /// The highest slave id that anybody named: new ids are higher.
        slave: SlaveId,
        /// What made it begin.
        cause: IncarnationCause,
    },
    /// A slave knows ids that another master gave: they are not given here.
    IdsReserved {
        /// Up to this one for builds,
        build: BuildId,
        /// and this one for slaves.
        slave: SlaveId,
    },
}

/// What makes an incarnation of the journal begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncarnationCause {
    /// The journal is a new one: nothing is wrong.
    NewJournal,
    /// The journal may lack events, as this sentence tells.
    EventsMissing(String),
}

impl fmt::Display for IncarnationCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NewJournal => "there was none before",
            Self::EventsMissing(reason) => reason,
        })
    }
}

impl fmt::Display for FarmFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MasterStarted { .. } => f.write_str("master started"),
            Self::IncarnationBegun {
                build,
                attempt,
                slave,
                cause,
                ..
            } => write!(
                f,
                "incarnation begun behind build {build}, attempt {attempt}, slave {slave}: {cause}"
            ),
            Self::IdsReserved { build, slave } => {
                write!(f, "ids reserved up to build {build}, slave {slave}")
            }
        }
    }
}
