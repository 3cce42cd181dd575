//! Why a build took so long, as `/v2/builds/BUILD/explanation` shows it. All of it is ours.

use crate::ids::{AtomId, BuildId, SubjobId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// `{"explanation": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplanationBody {
    /// Where the time went.
    pub explanation: Explanation,
}

/// Where the time of a build went: parts that add up to the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The build.
    pub build_id: BuildId,
    /// Whether it is over; else the whole goes to this moment.
    pub is_over: bool,
    /// The whole in seconds, from when the build was queued.
    pub seconds: f64,
    /// Its parts, in the order of time.
    pub parts: Vec<ExplainedPart>,
    /// How many executors ran its atoms.
    pub num_executors: u64,
    /// The atom that took longest.
    pub longest_atom: Option<LongestAtom>,
    /// What its idle executors did beside it; not there where they did nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hunting: Option<Hunting>,
}

/// Atoms that ran again on idle executors, to find flaky ones. It is no part of the time: nothing waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hunting {
    /// How many times an atom ran, also where it was ended.
    pub runs: u64,
    /// How long executors did that, all together, in seconds.
    pub executor_seconds: f64,
    /// How many of the runs say something of flakiness.
    pub trials: u64,
    /// How many of these were flakes.
    pub flakes: u64,
}

/// A part of the time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedPart {
    /// What the time was for.
    pub name: PartName,
    /// How long, in seconds.
    pub seconds: f64,
}

/// An atom and how long it took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LongestAtom {
    /// Its subjob.
    pub subjob_id: SubjobId,
    /// Its id in the subjob.
    pub atom_id: AtomId,
    /// How long it took.
    pub seconds: f64,
}

/// What a part of the time was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartName {
    /// The build waited for its turn to be prepared.
    Queue,
    /// The master fetched the project.
    Fetch,
    /// The master ran the atomizers.
    Atomizer,
    /// No slave was free.
    WaitingForSlaves,
    /// The first slave fetched the commit and ran the set-up.
    SetUp,
    /// Of a parent only: the builds of its matrix ran.
    Matrix,
    /// What the atoms would have taken, had they been shared out evenly.
    Atoms,
    /// What batches took that did not settle their atoms, so that these ran again. Not there where none did.
    BatchesInVain,
    /// By how much the longest atom is longer than that.
    LongestAtom,
    /// Executors had nothing left to run, or not yet, while others ran.
    Imbalance,
    /// Between the first atom and the last one, none ran at all: hand-outs were on their way, or slaves or the master were
    /// away.
    NothingRan,
    /// Only atoms ran that had been lost or doubted before.
    Retries,
    /// The last results came to the master, and the archive was made.
    Upload,
    /// A part that a newer master tells.
    #[serde(other)]
    Other,
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "waiting for its turn",
            Self::Fetch => "fetch",
            Self::Atomizer => "atomizer",
            Self::WaitingForSlaves => "waiting for slaves",
            Self::SetUp => "set-up",
            Self::Matrix => "builds of the matrix",
            Self::Atoms => "atoms, shared out evenly",
            Self::BatchesInVain => "batches whose atoms ran again",
            Self::LongestAtom => "longest atom beyond that",
            Self::Imbalance => "imbalance",
            Self::NothingRan => "nothing ran",
            Self::Retries => "retries",
            Self::Upload => "upload",
            Self::Other => "something else",
        })
    }
}
