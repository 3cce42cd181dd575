//! The bodies that master, slave and client exchange: shapes without behaviour.
//!
//! Names and shapes are those of the original's `/v1` API; what is ours beside them says so.

pub mod accounts;
pub mod apps;
pub mod artifacts;
mod atoms;
pub mod audit;
pub mod build_request;
mod builds;
pub mod explanation;
pub mod history;
pub mod instances;
pub mod launching;
mod lenient;
pub mod plan;
pub mod pools;
pub mod projects;
pub mod receivers;
mod refusals;
pub mod secrets;
pub mod slave_keys;
mod slave_protocol;
mod slaves;
mod steps;
mod tested;
pub mod working_trees;

pub use crate::process::console::ConsoleBody;
pub use atoms::*;
pub use builds::*;
pub use refusals::{ErrorBody, ErrorCode, ORIGINALS_UNKNOWN_BUILD, ORIGINALS_UNKNOWN_SLAVE};
pub use slave_protocol::*;
pub use slaves::*;
pub use steps::{StepEnd, StepKind, StepReport, StepState, StepView, StepsBody};
pub use tested::{TestCounts, TestView, TestsBody};

use serde::{Deserialize, Serialize};

/// The version of the slave protocol that this program speaks beside the original's; a peer that
/// does not name one speaks the original's.
pub const PROTOCOL: u32 = 5;

/// Answer to a write that has nothing else to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    /// `SUCCESS`.
    pub status: String,
}

impl Default for Success {
    fn default() -> Self {
        Self {
            status: "SUCCESS".to_owned(),
        }
    }
}

/// `GET /v1` of a master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterBody {
    /// The master.
    pub master: MasterView,
}

/// The master about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterView {
    /// `Master service is up.`
    pub status: String,
    /// All slaves it knows.
    pub slaves: Vec<SlaveView>,
}

/// `GET .../version` of both daemons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionBody {
    /// The program's version.
    pub version: String,
    /// The API's version.
    pub api_version: u32,
}
