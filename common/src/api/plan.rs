//! How long a build takes with how many slaves, as `/v2/builds/BUILD/plan` shows it. All of it is ours.

use super::FinishView;
use crate::ids::BuildId;
use serde::{Deserialize, Serialize};

/// `{"plan": ...}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanBody {
    /// How long it takes.
    pub plan: PlanView,
}

/// How long a build takes with how many slaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// The build that was named.
    pub build_id: BuildId,
    /// Whether it is about a new build of the same atoms, since this one is over or has not begun; else it is about the
    /// rest of this one.
    pub is_anew: bool,
    /// How many atoms are to be run.
    pub num_atoms: u64,
    /// How many slaves are there for it now.
    pub num_slaves: u64,
    /// How many executors each further slave has: as many as most slaves have.
    pub executors_per_slave: u32,
    /// Some numbers of slaves, from few to many, the present one and the next one among them; none where nothing is
    /// known of how long its atoms take.
    pub choices: Vec<PlanChoice>,
    /// How many seconds one slave more saves, beside those that are there or that were asked for.
    pub next_slave_saves: Option<f64>,
    /// The fewest slaves with which it likely ends in the time that was asked for; null if no number of slaves is enough,
    /// or no time was asked for.
    pub under: Option<PlanChoice>,
}

/// How long a build takes with a number of slaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanChoice {
    /// How many slaves.
    pub num_slaves: u64,
    /// How many executors they have together.
    pub num_executors: u64,
    /// When it ends, from now on.
    pub finish: FinishView,
}
