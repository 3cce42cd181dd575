//! How far a build is: which of its subjobs wait, and which a slave has.

use crate::builds::unstarted::Unstarted;
use clusterrunner_common::ids::{Attempt, SlaveId, SubjobId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Which subjobs still have no result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Those that no slave has, in the order in which they are handed out.
    pub unstarted: Unstarted,
    /// Those that no slave has and not every slave may have: suspects, those with a result that
    /// could not be used or is doubted, and those that went out too often. They go before the others.
    pub set_aside: BTreeSet<SubjobId>,
    /// Those that failed and are run again, once no other waits any more.
    #[serde(default, skip_serializing_if = "Unstarted::is_empty")]
    pub again: Unstarted,
    /// Those that a slave has: who, and the number of the hand-out.
    pub running: BTreeMap<SubjobId, (SlaveId, Attempt)>,
    /// Those whose result a slave has from an earlier life of it: who, and the number of the hand-out.
    pub kept: BTreeMap<SubjobId, (SlaveId, Attempt)>,
}
